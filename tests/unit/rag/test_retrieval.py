from collections.abc import Sequence
from typing import Any

import pytest

from rag.documents import Chunk, Document, Hit, Passage, Point, SparseVector
from rag.fakes import HashEmbedder, MemoryIndex, OverlapReranker, TermEncoder
from rag.ports import Scope
from rag.retrieval.retrieval import Reranking, Retriever, to_passages


def hit(name: str, score: float, *, table: str = "", ordinal: int = 0) -> Hit:
    document = Document(id=name, source="s", title=name, text="", uri="u", scope=table, kind="row" if table else "file")
    chunk = Chunk(id=f"{name}-{ordinal}", document=document, ordinal=ordinal, text=name, start=0, end=1)
    return Hit(chunk=chunk, score=score)


class Found:
    """An index that finds what it was given."""

    def __init__(self, *hits: Hit) -> None:
        self.hits = list(hits)

    def query(self, dense: Sequence[float], sparse: SparseVector, *, scope: Scope, limit: int) -> list[Hit]:
        return self.hits[:limit]

    def visible(self, ids: Sequence[str], scope: Scope) -> set[str]:
        return set(ids)


class Backwards:
    def rank(self, question: str, hits: Sequence[Hit], *, timeout_s: float) -> list[Hit]:
        return list(reversed(hits))


def order(*hits: Hit, per_document: int = 8, reranking: Reranking | None = None) -> list[str]:
    retriever = Retriever(
        embedder=HashEmbedder(),
        sparse=TermEncoder(),
        index=Found(*hits),
        per_document=per_document,
        reranking=reranking,
    )
    return [hit.chunk.id for hit in retriever.hits("?", scope=Scope(), limit=100)]


def test_rows_that_only_link_do_not_hide_the_row_that_they_link_to() -> None:
    links = [hit(f"near-{i}", 0.9 - i / 100, table="near") for i in range(6)]
    assert order(*links, hit("park", 0.7, table="sight"))[:4] == ["near-0-0", "near-1-0", "near-2-0", "park-0"]


def test_a_row_that_is_much_worse_does_not_come_forward() -> None:
    tracks = [hit(f"track-{i}", 0.9, table="track") for i in range(6)]
    assert order(*tracks, hit("other", 0.2, table="album"))[-1] == "other-0"


def test_pages_of_documents_keep_their_order() -> None:
    pages = [hit(f"page-{i}", 0.9 - i / 100) for i in range(6)]
    assert order(*pages, hit("row", 0.8, table="t")) == [*(f"page-{i}-0" for i in range(6)), "row-0"]


def test_nothing_is_lost_but_what_a_document_has_too_much_of() -> None:
    chunks = [hit("long", 1 - i / 10, ordinal=i) for i in range(5)]
    assert order(*chunks, hit("short", 0.1), per_document=2) == ["long-0", "long-1", "short-0"]


@pytest.mark.parametrize(("top", "first"), [(2, "b-0"), (3, "c-0")])
def test_only_the_top_is_reranked(top: int, first: str) -> None:
    hits = [hit(name, score) for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.7))]
    assert order(*hits, reranking=Reranking(reranker=Backwards(), top=top, timeout_s=1))[0] == first


def test_another_table_comes_forward_only_after_three_rows_of_one() -> None:
    links = [hit(f"near-{i}", 0.9 - i / 100, table="near") for i in range(2)]
    assert order(*links, hit("park", 0.6, table="sight"), hit("near-2", 0.5, table="near")) == [
        "near-0-0", "near-1-0", "park-0", "near-2-0",
    ]  # fmt: skip


def test_a_page_after_three_rows_of_one_table_may_come_forward() -> None:
    links = [hit(f"near-{i}", 0.9 - i / 100, table="near") for i in range(5)]
    assert order(*links, hit("page", 0.8))[3] == "page-0"


def test_nothing_found_is_not_reranked() -> None:
    assert order(reranking=Reranking(reranker=OverlapReranker(), top=3, timeout_s=1)) == []


def test_synonyms_are_searched_for_beside_the_question() -> None:
    index = MemoryIndex(dense_weight=0)
    record = hit("record", 0).chunk
    index.upsert([Point(chunk=record, dense=[1.0] + [0.0] * 31, sparse=TermEncoder().encode(["record"])[0])])
    retriever = Retriever(embedder=HashEmbedder(), sparse=TermEncoder(), index=index)
    scores = [retriever.hits("album", scope=Scope(), limit=5, expansion=word)[0].scores for word in ("", "record")]
    assert ["bm25" in each for each in scores] == [False, True]


def part(start: int, text: str, *, score: float = 0.5, document: str = "d", page: int = 1, **more: Any) -> Hit:
    found = Document(
        id=document, source=more.pop("source", "s"), title="D", text="", uri="u", kind=more.pop("kind", "file")
    )
    chunk = Chunk(
        id=f"{document}-{start}", document=found, ordinal=start, text=text, start=start, end=start + len(text), page=page,
        context=more.pop("context", ""), tokens=7,
    )  # fmt: skip
    return Hit(chunk=chunk, score=score, scores={"dense": score, **more})


def test_chunks_that_touch_become_one_passage_in_the_order_of_the_text() -> None:
    hits = [part(6, "Three.", score=0.9, bm25=2.0), part(0, "One. ", score=0.3, bm25=4.0), part(5, "\n", score=0.5)]
    (joined,) = to_passages(hits)
    assert (joined.text, joined.start, joined.end) == ("One. \nThree.", 0, 12)
    assert (joined.score, joined.scores) == (0.9, {"dense": 0.9, "bm25": 4.0})
    assert joined.chunk_ids == ("d-0", "d-5", "d-6")
    assert joined.tokens == 0


def test_a_chunk_alone_keeps_the_count_of_its_tokens() -> None:
    assert [passage.tokens for passage in to_passages([part(0, "One.")])] == [7]


@pytest.mark.parametrize("other", [{"document": "e"}, {"source": "t"}, {"page": 2}, {"context": "D > B"}])
def test_what_belongs_to_another_document_page_or_heading_is_not_joined(other: dict[str, Any]) -> None:
    assert len(to_passages([part(0, "One."), part(4, "Two and three.", **other)])) == 2


def test_passages_come_in_the_order_of_their_best_hit() -> None:
    hits = [part(4, "Two.", score=0.9), part(50, "Fifty.", score=0.8), part(0, "One.", score=0.7)]
    assert [passage.start for passage in to_passages(hits)] == [0, 50]


def test_a_page_that_repeats_a_better_one_is_dropped_and_a_row_never() -> None:
    text = "Records can be returned within thirty days of the invoice. "
    assert texts(to_passages([part(0, text), part(0, text, document="copy")])) == [text]
    assert len(to_passages([part(0, text, kind="row"), part(0, text, document="copy", kind="row")])) == 2
    assert len(to_passages([part(0, text, kind="row"), part(0, text, document="copy")])) == 2
    assert len(to_passages([part(0, text), part(0, f"Opened {text} and tea", document="more")])) == 2


def texts(passages: Sequence[Passage]) -> list[str]:
    return [passage.text for passage in passages]

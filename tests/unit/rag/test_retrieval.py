from collections.abc import Sequence

import pytest

from rag.documents import Chunk, Document, Hit, SparseVector
from rag.fakes import HashEmbedder
from rag.ports import Scope
from rag.retrieval.retrieval import Reranking, Retriever


def hit(name: str, score: float, *, table: str = "", ordinal: int = 0) -> Hit:
    document = Document(id=name, source="s", title=name, text="", uri="u", scope=table, kind="row" if table else "file")
    chunk = Chunk(id=f"{name}-{ordinal}", document=document, ordinal=ordinal, text=name, start=0, end=1)
    return Hit(chunk=chunk, score=score)


class Found:
    """An index that finds what it was given, and an encoder of nothing."""

    name = "found"

    def __init__(self, *hits: Hit) -> None:
        self.hits = list(hits)

    def query(self, dense: Sequence[float], sparse: SparseVector, *, scope: Scope, limit: int) -> list[Hit]:
        return self.hits[:limit]

    def encode(self, texts: Sequence[str], *, query: bool = False) -> list[SparseVector]:
        return [SparseVector(indices=(), values=()) for _ in texts]

    def upsert(self, points: object) -> None: ...

    def delete(self, ids: object) -> None: ...


class Backwards:
    def rank(self, question: str, hits: Sequence[Hit], *, timeout_s: float) -> list[Hit]:
        return list(reversed(hits))


def order(*hits: Hit, per_document: int = 8, reranking: Reranking | None = None) -> list[str]:
    found = Found(*hits)
    retriever = Retriever(
        embedder=HashEmbedder(), sparse=found, index=found, per_document=per_document, reranking=reranking
    )
    return [hit.chunk.id for hit in retriever.hits("?", scope=Scope(), limit=100)]


def test_rows_that_only_link_do_not_hide_the_row_that_they_link_to():
    links = [hit(f"near-{i}", 0.9 - i / 100, table="near") for i in range(6)]
    assert order(*links, hit("park", 0.7, table="sight"))[:4] == ["near-0-0", "near-1-0", "near-2-0", "park-0"]


def test_a_row_that_is_much_worse_does_not_come_forward():
    tracks = [hit(f"track-{i}", 0.9, table="track") for i in range(6)]
    assert order(*tracks, hit("other", 0.2, table="album"))[-1] == "other-0"


def test_pages_of_documents_keep_their_order():
    pages = [hit(f"page-{i}", 0.9 - i / 100) for i in range(6)]
    assert order(*pages, hit("row", 0.8, table="t")) == [*(f"page-{i}-0" for i in range(6)), "row-0"]


def test_nothing_is_lost_but_what_a_document_has_too_much_of():
    chunks = [hit("long", 1 - i / 10, ordinal=i) for i in range(5)]
    assert order(*chunks, hit("short", 0.1), per_document=2) == ["long-0", "long-1", "short-0"]


@pytest.mark.parametrize(("top", "first"), [(2, "b-0"), (3, "c-0")])
def test_only_the_top_is_reranked(top: int, first: str):
    hits = [hit(name, score) for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.7))]
    assert order(*hits, reranking=Reranking(reranker=Backwards(), top=top, timeout_s=1))[0] == first

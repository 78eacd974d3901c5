"""Searching the current collection: limits, the breaker, and a re-index meanwhile."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from rag.documents import Hit
from rag.errors import IndexMoved, IndexUnavailable, QuestionError
from rag.fakes import OverlapReranker
from rag.lazy import Lazy
from rag.ports import Identity, Scope
from rag.retrieval.likeness import Scale
from rag.retrieval.retrieval import Reranking
from service.asking.searcher import Found, Searcher, most_evidence
from service.collection import Binding, Collection
from service.settings.sections import RetrievalSettings
from service.threads import Threads
from tests.unit.service.conftest import STORES, MemoryCollection, binding, memory_of

QUESTION = "When does the Edmonton store open?"


def searcher(
    collection: Collection | None = None,
    *,
    reranking: Reranking | None = None,
    synonyms: dict[str, Sequence[str]] | None = None,
    **settings: Any,
) -> Searcher:
    return Searcher(
        collection or Collection(binding),
        RetrievalSettings(**settings),
        synonyms=synonyms or {},
        reranking=Lazy(lambda: reranking),
        threads=Threads("search", 1),
    )


def find(made: Searcher, question: str = QUESTION, limit: int = 10) -> Found:
    return made.search(made.understand(question), limit=limit, scope=Scope())


def names(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.document.id for hit in hits]


def test_what_is_left_of_a_question_is_asked() -> None:
    assert searcher().clean("  Who\0 is it?\ud800\n") == "Who is it?"


@pytest.mark.parametrize("question", ["", " \n", "\0", "\ud800"])
def test_a_question_that_says_nothing_is_refused(question: str) -> None:
    with pytest.raises(QuestionError, match="The question is empty"):
        searcher().clean(question)


def test_a_question_may_have_so_many_characters_and_no_more() -> None:
    made = searcher(max_question_chars=10)
    assert made.clean(" " + 10 * "x") == 10 * "x"
    with pytest.raises(QuestionError, match=r"has 11 characters; 10 are allowed \(retrieval.max_question_chars\)"):
        made.clean(11 * "x")


def test_the_best_chunks_are_found_and_no_more_than_asked_for() -> None:
    assert names(searcher().retrieve(QUESTION, k=1, scope=Scope())) == ["0.md"]
    assert len(searcher().retrieve(QUESTION, k=5, scope=Scope())) == len(STORES)


def test_a_retrieval_looks_at_as_many_chunks_as_are_configured_though_few_are_wanted() -> None:
    limits: list[int] = []

    class Noting(MemoryCollection):
        def query(self, dense: Any, sparse: Any, *, scope: Scope, limit: int) -> list[Hit]:
            limits.append(limit)
            return super().query(dense, sparse, scope=scope, limit=limit)

    made = searcher(Collection(lambda: binding(index=Noting(STORES))), limit=20)
    made.retrieve(QUESTION, k=1, scope=Scope())
    made.retrieve(QUESTION, k=30, scope=Scope())
    assert limits == [20, 30]


def test_a_longer_search_takes_more_chunks_of_a_document() -> None:
    text = "\n\n".join(f"The Edmonton store opens at eleven on day {day}. {'x' * 350}" for day in range(6))
    made = searcher(Collection(lambda: binding((text,))), limit=2, per_document=1)
    assert [len(find(made, limit=limit).hits) for limit in (2, 4, 6)] == [1, 2, 3]


def test_nothing_is_found_outside_the_scope() -> None:
    scope = Scope(identity=Identity(tenant="other"))
    assert searcher().retrieve(QUESTION, k=5, scope=scope) == []


def test_synonyms_are_searched_for_too() -> None:
    made = searcher(Collection(lambda: binding(("Vinyl is sold here.",))), synonyms={"records": ["vinyl"]})
    hit = find(made, "records").hits[0]
    assert "bm25" in hit.scores
    assert "bm25" not in find(searcher(Collection(lambda: binding(("Vinyl is sold here.",)))), "records").hits[0].scores


def test_hits_are_reranked_where_that_is_configured() -> None:
    reranking = Reranking(reranker=OverlapReranker(), top=10, timeout_s=1)
    assert "rerank" in find(searcher(reranking=reranking)).hits[0].scores
    assert "rerank" not in find(searcher()).hits[0].scores


def test_an_index_that_failed_three_times_in_a_row_is_left_alone_for_a_while() -> None:
    index = MemoryCollection(fails=IndexUnavailable("away"))
    made = searcher(Collection(lambda: binding(index=index)))
    for _ in range(3):
        with pytest.raises(IndexUnavailable, match="away"):
            find(made)
    with pytest.raises(IndexUnavailable, match=r"failed 3 times in a row, and will be tried again soon"):
        find(made)
    assert index.requests == ["query"] * 3


def test_a_search_that_succeeds_closes_the_breaker() -> None:
    index = MemoryCollection(STORES)
    made = searcher(Collection(lambda: binding(index=index)))
    for fails in (IndexUnavailable("away"), IndexUnavailable("away"), None, IndexUnavailable("away")):
        index.fails = fails
        if fails is None:
            find(made)
            continue
        with pytest.raises(IndexUnavailable, match="away"):
            find(made)
    index.fails = None
    assert find(made).hits


def test_an_error_that_is_not_the_indexs_does_not_open_the_breaker() -> None:
    index = MemoryCollection(fails=ValueError("a bug"))
    made = searcher(Collection(lambda: binding(index=index)))
    for _ in range(5):
        with pytest.raises(ValueError, match="a bug"):
            find(made)


def test_a_search_goes_over_to_the_new_collection_and_says_what_it_used() -> None:
    old, new = binding(), binding(("The Edmonton store opens at noon.",))
    memory_of(old).leave()
    made = searcher(Collection(lambda: old, lambda: new))
    found = find(made)
    assert found.binding is new
    assert found.hits[0].chunk.text == "The Edmonton store opens at noon."


def test_a_re_index_that_cannot_be_followed_counts_as_an_index_that_failed() -> None:
    index = MemoryCollection(fails=IndexMoved("re-indexed"))
    made = searcher(Collection(lambda: binding(index=index)))
    for _ in range(3):
        with pytest.raises(IndexMoved):
            find(made)
    with pytest.raises(IndexUnavailable, match="3 times in a row"):
        find(made)


def test_a_search_in_another_collection_leaves_the_current_one_alone() -> None:
    current, other = binding(), binding(("Elsewhere it is told.",))
    made = searcher(Collection(lambda: current))
    found = made.search_in(other, made.understand("told elsewhere"), limit=5, scope=Scope())
    assert (names(found.hits), found.binding) == (["0.md"], other)
    assert memory_of(current).requests == []


def test_what_is_visible_is_asked_of_the_collection_that_is_there_now() -> None:
    old, new = binding(), binding()
    ids = [hit.chunk.id for hit in find(searcher(Collection(lambda: new))).hits]
    memory_of(old).leave()
    made = searcher(Collection(lambda: old, lambda: new))
    assert made.visible([*ids, "gone"], Scope()) == set(ids)


def test_evidence_is_weighed_on_the_scale_of_the_collection_that_was_searched() -> None:
    question = searcher().understand("Wann macht das Geschäft auf?")

    def evidence_on(bound: Binding) -> float:
        found = searcher().search_in(bound, question, limit=5, scope=Scope())
        return most_evidence(question, found)

    assert evidence_on(binding(scale=Scale(floor=-1.0, top=-0.9))) > evidence_on(binding()) == 0.0


def test_without_a_passage_there_is_no_evidence() -> None:
    made = searcher()
    assert most_evidence(made.understand(QUESTION), Found(hits=[], binding=binding())) == 0.0


def test_searches_run_in_threads_of_their_own() -> None:
    name = asyncio.run(searcher().in_thread(lambda: threading.current_thread().name))
    assert name.startswith("citewell-search")

"""LlamaIndex's forms: nodes, cited responses, and filters."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

import pytest
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from rag.answer.answering import Event, Finished, PassagesFound, Restarted, TextDelta
from rag.documents import Chunk, Hit, Passage
from rag.errors import FilterError, GeneratorUnavailable
from rag.filters import All, parse_filter
from rag.ports import Scope
from rag.types import Answer, Turn
from service.llamaindex import CitewellQueryEngine, CitewellRetriever, filter_form, narrowed
from tests.unit.service.conftest import document

T = TypeVar("T")
DOCUMENT = document("t/1", "Text.", tags=("a",), metadata={"year": 1980}, primary_key={"id": 1})
PASSAGE = Passage(
    label="k7f2", document=DOCUMENT, text="Text.", start=3, end=8, page=2, context="", score=0.5, scores={}
)
ANSWER = Answer(text="It opens.", language="en", passages=(PASSAGE,), refused=True)
FINISHED = Finished(answer=ANSWER, turn=Turn(question="", asked="", answer=""))
EVENTS: tuple[Event, ...] = (
    PassagesFound(passages=(PASSAGE,)), TextDelta(text="It "), TextDelta(text="opens."), FINISHED,
)  # fmt: skip


def engine(*events: Event, streaming: bool = False) -> tuple[CitewellQueryEngine, list[str]]:
    asked: list[str] = []

    async def given(question: str) -> AsyncGenerator[Event, None]:
        asked.append(question)
        for event in events or EVENTS:
            yield event

    loop = asyncio.new_event_loop()

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        return loop.run_until_complete(coroutine)

    return CitewellQueryEngine(given, run=run, streaming=streaming), asked


def test_hits_are_nodes_that_say_where_they_stand() -> None:
    chunk = Chunk(id="c1", document=DOCUMENT, ordinal=0, text="Text.", start=3, end=8, page=2)
    searched: list[str] = []

    def search(question: str) -> list[Hit]:
        searched.append(question)
        return [Hit(chunk=chunk, score=0.5)]

    retriever = CitewellRetriever(search)
    [found] = retriever.retrieve("Who?")
    [also] = asyncio.run(retriever.aretrieve("Who?"))
    assert searched == ["Who?", "Who?"]
    assert found.node.metadata == also.node.metadata
    assert (found.node.node_id, found.score, found.node.get_content()) == ("c1", 0.5, "Text.")
    assert found.node.metadata == {
        "source": "docs", "document_id": "t/1", "title": "t/1", "primary_key": {"id": 1}, "page": 2,
        "uri": "file:///t/1", "tags": ["a"], "year": 1980,
    }  # fmt: skip


def test_an_answer_is_a_response_with_its_passages() -> None:
    made, asked = engine()
    for response in (made.query("Who?"), asyncio.run(made.aquery("Who?"))):
        assert str(response) == "It opens."
        assert response.metadata == {"citations": [], "refused": True, "degraded": False, "language": "en"}
        assert [node.node.metadata["label"] for node in response.source_nodes] == ["k7f2"]
    assert asked == ["Who?"] * 2


def test_a_streamed_answer_has_its_passages_first_and_the_rest_at_the_end() -> None:
    made, _ = engine(streaming=True)
    response: Any = made.query("Who?")
    assert [node.node.metadata["label"] for node in response.source_nodes] == ["k7f2"]
    assert response.metadata == {}
    assert list(response.response_gen) == ["It ", "opens."]
    assert response.metadata["refused"] is True


def test_it_can_be_awaited_too() -> None:
    made, _ = engine(streaming=True)

    async def main() -> list[str]:
        response: Any = await made.aquery("Who?")
        return [piece async for piece in response.response_gen]

    assert asyncio.run(main()) == ["It ", "opens."]


def test_what_was_streamed_and_is_void_is_an_error() -> None:
    made, _ = engine(*EVENTS[:2], Restarted(reason="away", public=""), streaming=True)
    response: Any = made.query("Who?")
    with pytest.raises(GeneratorUnavailable, match="away"):
        list(response.response_gen)


def one(key: str, value: Any, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])


@pytest.mark.parametrize(
    ("filters", "form"),
    [
        (one("source", "docs"), {"all": [{"source": "docs"}]}),
        (one("year", 1980), {"all": [{"metadata.year": 1980}]}),
        (one("metadata.year", 1980), {"all": [{"metadata.year": 1980}]}),
        (one("tags", ["a", "b"], FilterOperator.IN), {"all": [{"tags": ["a", "b"]}]}),
        (one("tags", "a", FilterOperator.CONTAINS), {"all": [{"tags": "a"}]}),
        (one("year", 1, FilterOperator.NE), {"all": [{"not": {"metadata.year": 1}}]}),
        (one("year", [1], FilterOperator.NIN), {"all": [{"not": {"metadata.year": [1]}}]}),
        (one("year", 1, FilterOperator.GT), {"all": [{"metadata.year": {"gt": 1}}]}),
        (one("year", 1, FilterOperator.GTE), {"all": [{"metadata.year": {"gte": 1}}]}),
        (one("year", 1, FilterOperator.LT), {"all": [{"metadata.year": {"lt": 1}}]}),
        (one("year", 1, FilterOperator.LTE), {"all": [{"metadata.year": {"lte": 1}}]}),
    ],
)
def test_a_filter_has_our_form(filters: MetadataFilters, form: dict[str, Any]) -> None:
    assert filter_form(filters) == form
    assert parse_filter(form) is not None


@pytest.mark.parametrize(
    ("condition", "form"),
    [
        (FilterCondition.AND, {"all": [{"source": "a"}, {"all": [{"metadata.x": 1}]}]}),
        (FilterCondition.OR, {"any": [{"source": "a"}, {"all": [{"metadata.x": 1}]}]}),
        (FilterCondition.NOT, {"not": {"any": [{"source": "a"}, {"all": [{"metadata.x": 1}]}]}}),
    ],
)
def test_filters_are_joined_and_nested(condition: FilterCondition, form: dict[str, Any]) -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key="source", value="a"), one("x", 1)], condition=condition)
    assert filter_form(filters) == form


def test_an_operator_that_there_is_not_here_is_told_with_those_that_are() -> None:
    with pytest.raises(FilterError, match=r"'text_match'.*<=.*nin"):
        filter_form(one("title", "x", FilterOperator.TEXT_MATCH))


def test_a_scope_is_narrowed_and_never_widened() -> None:
    where, also = parse_filter({"tags": "a"}), parse_filter(filter_form(one("source", "docs")))
    scope = Scope(sources=("docs",), where=where)
    assert narrowed(scope, None) == scope
    assert narrowed(Scope(), one("source", "docs")).where == also
    found = narrowed(scope, one("source", "docs"))
    assert (found.sources, found.where) == (("docs",), All(parts=(where, also)))  # type: ignore[arg-type]

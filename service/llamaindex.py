"""The LlamaIndex entry: a retriever and a query engine over a knowledge base."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.query_engine import BaseQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilters

from rag.answer.answering import Event, Finished, PassagesFound, Restarted, TextDelta
from rag.documents import Hit, Passage
from rag.errors import FilterError, GeneratorUnavailable
from rag.filters import FIELDS, All, parse_filter
from rag.ports import Scope
from rag.types import Answer
from service.asking.asker import whole
from service.schemas import citation_out

T = TypeVar("T")


Ask = Callable[[str], AsyncGenerator[Event, None]]  # gives the events of a question's answer


class Run(Protocol):
    """Runs a coroutine for a synchronous caller."""

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T: ...


class CitewellRetriever(BaseRetriever):
    """The k best chunks as nodes, with fused scores; the metadata says where each stands."""

    def __init__(self, search: Callable[[str], list[Hit]]) -> None:
        super().__init__()
        self._search = search

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [_node_of_hit(hit) for hit in self._search(query_bundle.query_str)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class CitewellQueryEngine(BaseQueryEngine):
    """Cited answers. `response.metadata` holds the citations, and whether the answer was refused or degraded."""

    def __init__(self, ask: Ask, *, run: Run, streaming: bool = False) -> None:
        super().__init__(callback_manager=None)
        self._ask, self._run, self._streaming = ask, run, streaming

    def _get_prompt_modules(self) -> PromptMixinType:
        return {}

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        if not self._streaming:
            return _response(self._run(whole(self._ask(query_bundle.query_str))))
        run = self._run
        stream = _Stream(self._ask(query_bundle.query_str))
        passages = run(stream.passages())

        def tokens() -> Generator[str, None, None]:
            while (piece := run(stream.following())) is not None:
                yield piece

        return StreamingResponse(
            response_gen=tokens(),
            source_nodes=[_node_of_passage(passage) for passage in passages],
            metadata=stream.metadata,
        )

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        if not self._streaming:
            return _response(await whole(self._ask(query_bundle.query_str)))
        stream = _Stream(self._ask(query_bundle.query_str))
        passages = await stream.passages()

        async def tokens() -> AsyncIterator[str]:
            while (piece := await stream.following()) is not None:
                yield piece

        return AsyncStreamingResponse(
            response_gen=tokens(),  # type: ignore[arg-type]
            source_nodes=[_node_of_passage(passage) for passage in passages],
            metadata=stream.metadata,
        )


class _Stream:
    """An answer under way; `metadata` is filled when it is finished."""

    def __init__(self, events: AsyncGenerator[Event, None]) -> None:
        self._events = events
        self.metadata: dict[str, Any] = {}

    async def passages(self) -> tuple[Passage, ...]:
        async for event in self._events:
            if isinstance(event, PassagesFound):
                return event.passages
        return ()

    async def following(self) -> str | None:
        """The next piece of text; None at the end."""
        async for event in self._events:
            match event:
                case TextDelta():
                    return event.text
                case Restarted():
                    raise GeneratorUnavailable(event.reason)
                case Finished():
                    self.metadata.update(_metadata(event.answer))
        return None


_EQUAL = {FilterOperator.EQ, FilterOperator.IN, FilterOperator.CONTAINS}
_RANGES = {
    FilterOperator.GT: "gt",
    FilterOperator.GTE: "gte",
    FilterOperator.LT: "lt",
    FilterOperator.LTE: "lte",
}
_NEGATED = {FilterOperator.NE, FilterOperator.NIN}


def filter_form(filters: MetadataFilters) -> dict[str, Any]:
    """LlamaIndex's filters in our form; a key that is no field of ours is a name under metadata.

    Raises FilterError for an operator that has no counterpart here.
    """
    parts = [filter_form(f) if isinstance(f, MetadataFilters) else _condition_form(f) for f in filters.filters]
    match filters.condition:
        case FilterCondition.OR:
            return {"any": parts}
        case FilterCondition.NOT:
            return {"not": {"any": parts}}
        case _:
            return {"all": parts}


def narrowed(scope: Scope, filters: MetadataFilters | None) -> Scope:
    """A scope narrowed by LlamaIndex's filters. Raises FilterError for one that cannot be read."""
    where = parse_filter(filter_form(filters)) if filters is not None else None
    parts = tuple(part for part in (scope.where, where) if part is not None)
    return replace(scope, where=All(parts=parts) if len(parts) > 1 else next(iter(parts), None))


def _condition_form(condition: Any) -> dict[str, Any]:
    key = (
        condition.key
        if condition.key in FIELDS or condition.key.startswith("metadata.")
        else f"metadata.{condition.key}"
    )
    if condition.operator in _EQUAL:
        return {key: condition.value}
    if condition.operator in _NEGATED:
        return {"not": {key: condition.value}}
    if condition.operator in _RANGES:
        return {key: {_RANGES[condition.operator]: condition.value}}
    known = ", ".join(sorted(operator.value for operator in (*_EQUAL, *_NEGATED, *_RANGES)))
    raise FilterError(f"The filter operator {condition.operator.value!r} is not supported. Operators: {known}.")


def _response(answer: Answer) -> Response:
    nodes = [_node_of_passage(passage) for passage in answer.passages]
    return Response(response=answer.text, source_nodes=nodes, metadata=_metadata(answer))


def _metadata(answer: Answer) -> dict[str, Any]:
    return {
        "citations": [citation_out(citation).model_dump() for citation in answer.citations],
        "refused": answer.refused,
        "degraded": answer.degraded,
        "language": answer.language,
    }


def _node_of_hit(hit: Hit) -> NodeWithScore:
    chunk = hit.chunk
    metadata = _place(chunk.document, chunk.page)
    node = TextNode(
        id_=chunk.id, text=chunk.text, metadata=metadata, start_char_idx=chunk.start, end_char_idx=chunk.end
    )
    return NodeWithScore(node=node, score=hit.score)


def _node_of_passage(passage: Passage) -> NodeWithScore:
    metadata = _place(passage.document, passage.page) | {"label": passage.label}
    node = TextNode(
        id_=f"{passage.document.source}/{passage.document.id}/{passage.start}",
        text=passage.text,
        metadata=metadata,
        start_char_idx=passage.start,
        end_char_idx=passage.end,
    )
    return NodeWithScore(node=node, score=passage.score)


def _place(document: Any, page: int | None) -> dict[str, Any]:
    return {
        "source": document.source,
        "document_id": document.id,
        "title": document.title,
        "primary_key": dict(document.primary_key) if document.primary_key is not None else None,
        "page": page,
        "uri": document.uri,
        "tags": list(document.tags),
        **document.metadata,
    }

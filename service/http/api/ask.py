"""/v1/ask and /v1/retrieve: questions, answered whole or as server-sent events."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from fastapi import Path as PathParameter
from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Send

from rag.answer.answering import Event, Finished, PassagesFound, Restarted, TextDelta
from rag.deadline import until
from rag.errors import CitewellError, QuestionError
from rag.ports import Scope
from rag.types import Message
from service.asking.asker import Ask, sampling_of, whole
from service.catalogue import no_source
from service.http.edge import ClientGone, Exchange
from service.http.guard import too_late
from service.http.outside import event_for, hit_for, text_for
from service.http.parts import Parts, Shared, Under, Who
from service.http.problems import FAILED, problem, status_of
from service.schemas import (
    AskBody,
    CitationsOut,
    DeltaOut,
    FilterForm,
    PassagesOut,
    RetrieveBody,
    RetrieveOut,
    answer_out,
    hit_out,
    passage_out,
)
from service.store.keys import Caller

T = TypeVar("T")
_log = logging.getLogger("citewell")


async def ask(body: AskBody, request: Request, parts: Shared, caller: Who, exchange: Under) -> Any:
    """Answer a question. With `stream`, as server-sent events: passages, delta, citations, usage, done, or error."""
    history = [Message(role=turn.role, content=turn.content) for turn in body.history]
    question = Ask(
        question=body.question,
        history=history,
        conversation=body.conversation,
        scope=scope_of(parts, caller, body.sources, body.filter),
        profile=profile_of(parts, caller, body.profile or ""),
        sampling=sampling_of(
            parts.settings.llm,
            max_tokens=body.max_tokens,
            temperature=body.temperature,
            top_p=body.top_p,
            json_schema=body.response_format.schema_ if body.response_format else None,
        ),
        max_passages=body.max_passages,
        deadline=exchange.deadline,
    )
    events = answered(parts, question, caller)
    if body.stream:
        return EventStream(_sse(events, parts, exchange))
    return answer_out(await while_present(request, whole(events)))


async def retrieve(body: RetrieveBody, request: Request, parts: Shared, caller: Who) -> RetrieveOut:
    """The best chunks for a question, with fused and per-retriever scores."""
    check_sizes(parts, body.question)
    question = parts.searcher.clean(body.question)
    scope = scope_of(parts, caller, body.sources, body.filter)
    search = parts.searcher.in_thread(parts.searcher.retrieve, question, k=body.k, scope=scope)
    hits = await while_present(request, search)
    return RetrieveOut(question=question, hits=[hit_out(hit_for(caller, hit)) for hit in hits])


async def forget(
    conversation: Annotated[str, PathParameter(min_length=1, max_length=200)],
    parts: Shared,
    caller: Who,
    last: Annotated[int | None, Query(ge=1, le=200, description="Only this many turns from the end")] = None,
) -> None:
    """Forget a conversation's turns; one that is unknown is forgotten already."""
    await parts.state_threads.run(parts.conversations.forget, conversation, caller.identity, last=last)


def answered(parts: Parts, question: Ask, caller: Caller) -> AsyncGenerator[Event, None]:
    """The events of an answer, as the caller may see them.

    Raises what a question is refused for before any work: its size, or a full engine.
    """
    check_sizes(parts, question.question, question.history)
    parts.asker.check(question.question)
    if question.deadline is not None:
        parts.admission.check(question.deadline)
    if parts.settings.telemetry.log_questions:
        _log.info("question: %s", question.question)
    return _observed(parts, parts.asker.events(question), caller)


async def _observed(parts: Parts, events: AsyncGenerator[Event, None], caller: Caller) -> AsyncGenerator[Event, None]:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished) and event.answer.usage.completion_tokens:
                times = event.answer.timings_s
                parts.admission.answered(times["total"] - times.get("prompt", 0.0))
            if isinstance(event, Finished) and event.answer.degraded:
                _log.warning("the language model did not write an answer: %s", event.answer.degraded_reason)
            yield event_for(caller, event)


def check_sizes(parts: Parts, question: str, history: Sequence[Message] = ()) -> None:
    """Raises HTTPException (413) for a question or a history that is too long."""
    limits = parts.settings.limits
    size = len(question.encode("utf-8", "replace"))
    if size > limits.question_bytes:
        raise HTTPException(413, f"The question has {size} bytes; {limits.question_bytes} are allowed.")
    size = sum(len(message.content.encode("utf-8", "replace")) for message in history)
    if size > limits.history_bytes:
        raise HTTPException(413, f"The history has {size} bytes; {limits.history_bytes} are allowed.")


def scope_of(parts: Parts, caller: Caller, sources: Sequence[str], where: FilterForm) -> Scope:
    """Where a caller searches: in what they may see, and of that where they want.

    Raises QuestionError for a source that is not configured, or not theirs.
    """
    size, most = len(json.dumps(where).encode()), parts.settings.limits.filter_bytes
    if size > most:
        raise HTTPException(413, f"The filter has {size} bytes; {most} are allowed.")
    scope = parts.catalogue.scope(where=where, identity=caller.identity)
    if not caller.rights.sources and not sources:
        return scope
    allowed = parts.catalogue.visible(caller.rights)
    for name in sources:
        if name not in allowed:
            raise QuestionError(no_source(name, allowed))
    return replace(scope, sources=tuple(sources) or tuple(allowed) or ("",))


def profile_of(parts: Parts, caller: Caller, wanted: str) -> str:
    """The profile that a caller asks with. Raises HTTPException (403) for one that their key does not have."""
    allowed = caller.rights.profiles
    profile = wanted or parts.settings.llm.profile
    if not allowed or profile in allowed:
        return profile
    if wanted:
        raise HTTPException(403, f"This key has no profile {wanted!r}; it has: {', '.join(allowed)}.")
    return allowed[0]


async def while_present(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of work, which is ended when the client goes. Raises ClientGone then."""
    doing, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((doing, gone), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientGone
        return doing.result()
    finally:
        for task in (doing, gone):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """Server-sent events; what they come from is closed at once when the client goes."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._events = events

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._events):
            await super().stream_response(send)


async def _sse(events: AsyncGenerator[Event, None], parts: Parts, exchange: Exchange) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(until(events, lambda: exchange.deadline.at)) as timely:
            async for event in timely:
                for line in _lines(event):
                    yield line
                if isinstance(event, Restarted):
                    return
    except TimeoutError:
        yield _error(too_late(parts), exchange)
    except Exception as err:  # noqa: BLE001 a stream never ends as if it were complete
        yield _error(err, exchange)


def _lines(event: Event) -> Sequence[bytes]:
    match event:
        case PassagesFound():
            return [sse("passages", PassagesOut(passages=[passage_out(p) for p in event.passages]))]
        case TextDelta():
            return [sse("delta", DeltaOut(text=event.text))]
        case Restarted():
            return [sse("error", problem(503, f"The answer was cut off. {event.reason}"))]
        case Finished(answer=answer):
            out = answer_out(answer)
            return [sse("citations", CitationsOut(citations=out.citations)), sse("usage", out.usage), sse("done", out)]


def sse(name: str, data: BaseModel) -> bytes:
    """A server-sent event; JSON has no line breaks."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data.model_dump_json().encode())


def _error(err: Exception, exchange: Exchange) -> bytes:
    if isinstance(err, CitewellError):
        _log.warning("an answer ended in %s: %s", type(err).__name__, err)
        return sse("error", problem(status_of(err), text_for(exchange.caller, err)))
    if isinstance(err, HTTPException):
        return sse("error", problem(err.status_code, str(err.detail)))
    _log.exception("an answer's stream failed", exc_info=err)
    return sse("error", problem(500, FAILED))

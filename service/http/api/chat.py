"""/v1/chat/completions and /v1/models: what OpenAI's clients ask."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from rag.answer.answering import Event
from rag.errors import CitewellError, QuestionError
from rag.prompt.profiles import PROFILES
from service.asking.asker import whole
from service.http import openai_errors
from service.http.api import openai_api
from service.http.api.ask import EventStream, answered, profile_of, scope_of, while_present
from service.http.api.openai_forms import ChatBody
from service.http.edge import Exchange
from service.http.guard import too_late
from service.http.outside import text_for
from service.http.parts import Parts, Shared, Under, Who
from service.http.problems import FAILED

_log = logging.getLogger("citewell")


async def chat_completions(body: ChatBody, request: Request, parts: Shared, caller: Who, exchange: Under) -> Any:
    """OpenAI's chat completions: the last message is the question. Citations are annotations, and under `citewell`."""
    profile = profile_of(parts, caller, openai_api.profile_named(body.model))
    scope = scope_of(parts, caller, body.citewell.sources, body.citewell.filter)
    asked = openai_api.question_of(body, parts.settings.llm, scope=scope, profile=profile, deadline=exchange.deadline)
    events = answered(parts, asked, caller)
    if not body.stream:
        return JSONResponse(openai_api.completion(await while_present(request, whole(events)), body))
    await while_present(request, _first(events))  # what cannot be answered is told before the stream begins
    return EventStream(_chunks(events, body, parts, exchange))


async def models(parts: Shared, caller: Who) -> dict[str, Any]:
    """The models that OpenAI's clients can name: one for each profile."""
    return openai_api.models(caller.rights.profiles or tuple(PROFILES))


async def model(model: str, caller: Who) -> dict[str, Any]:
    """One of the models that OpenAI's clients can name."""
    return openai_api.model(model, caller.rights.profiles or tuple(PROFILES))


async def _first(events: AsyncGenerator[Event, None]) -> None:
    await anext(events)  # the passages, which OpenAI's form has no place for


async def _chunks(
    events: AsyncGenerator[Event, None], body: ChatBody, parts: Parts, exchange: Exchange
) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(openai_api.chunks(events, body, exchange.deadline)) as lines:
            async for line in lines:
                yield line
    except TimeoutError:
        yield openai_api.data(openai_errors.error(str(too_late(parts)), kind="server_error"))
    except CitewellError as err:
        kind = "invalid_request_error" if isinstance(err, QuestionError) else "server_error"
        _log.warning("an answer ended in %s: %s", type(err).__name__, err)
        yield openai_api.data(openai_errors.error(text_for(exchange.caller, err), kind=kind))
    except Exception:  # noqa: BLE001 a stream never ends as if it were complete
        _log.exception("an answer's stream failed")
        yield openai_api.data(openai_errors.error(FAILED, kind="server_error"))

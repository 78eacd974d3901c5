"""The REST service and the web page."""

import asyncio
import contextlib
import hashlib
import ipaddress
import json
import logging
import mimetypes
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.sse import format_sse_event
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from rag.answering import Event, Finished, PassagesFound, Restarted, TextDelta
from rag.errors import (
    CitewellError,
    ConfigError,
    EmbedderUnavailable,
    GeneratorUnavailable,
    IndexMismatch,
    IndexUnavailable,
    QuestionError,
    RerankerUnavailable,
    SourceBusy,
)
from rag.types import Message, Sampling
from service import openai_api
from service.knowledge_base import KnowledgeBase, connect
from service.scheduled_sync import ScheduledSync
from service.schemas import (
    AnswerOut,
    AskBody,
    Problem,
    RetrieveBody,
    RetrieveOut,
    answer_out,
    citation_out,
    hit_out,
    passage_out,
    usage_out,
)

_WEB = Path(__file__).parent / "web"
_MAX_BODY_BYTES = 1_000_000
_READY_FOR_S = 5.0
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_STATUS: tuple[tuple[type[CitewellError], int], ...] = (
    (QuestionError, 422),
    (ConfigError, 422),
    (SourceBusy, 409),
    (IndexMismatch, 503),
    (IndexUnavailable, 503),
    (EmbedderUnavailable, 503),
    (RerankerUnavailable, 503),
    (GeneratorUnavailable, 503),
    (CitewellError, 500),
)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    422: {"model": Problem, "description": "The request cannot be answered as it is"},
    503: {"model": Problem, "description": "The index, embedder or language model does not answer"},
}
_log = logging.getLogger("citewell")


def create_app(kb: KnowledgeBase, schedule: ScheduledSync | None = None) -> FastAPI:
    """The ASGI application over a knowledge base; a schedule runs as long as it does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if schedule is not None:
            await asyncio.to_thread(schedule.start)
        yield
        if schedule is not None:
            await asyncio.to_thread(schedule.stop)
        kb.close()

    app = FastAPI(
        title="Citewell",
        version=version("citewell"),
        description="Answers from your own databases and documents, every sentence cited.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.kb = kb
    app.state.ready = (0.0, {})
    app.add_exception_handler(CitewellError, _on_citewell_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_unexpected)
    app.middleware("http")(_guard)
    _add_routes(app)
    return app


def _add_routes(app: FastAPI) -> None:
    app.add_api_route(
        "/v1/ask", ask, methods=["POST"], response_model=AnswerOut, responses=_PROBLEMS, operation_id="ask"
    )
    app.add_api_route(
        "/v1/retrieve",
        retrieve,
        methods=["POST"],
        response_model=RetrieveOut,
        responses=_PROBLEMS,
        operation_id="retrieve",
    )
    app.add_api_route(
        "/v1/chat/completions", chat_completions, methods=["POST"], response_model=None, operation_id="chat_completions"
    )
    app.add_api_route("/v1/models", models, methods=["GET"], operation_id="models")
    app.add_api_route("/v1/sources", sources, methods=["GET"], responses=_PROBLEMS, operation_id="sources")
    app.add_api_route(
        "/v1/conversations/{conversation}",
        forget,
        methods=["DELETE"],
        status_code=204,
        responses=_PROBLEMS,
        operation_id="forget_conversation",
    )
    app.add_api_route("/metrics", metrics, methods=["GET"], response_class=PlainTextResponse, operation_id="metrics")
    app.add_api_route("/livez", livez, methods=["GET"], operation_id="livez")
    app.add_api_route("/readyz", readyz, methods=["GET"], responses={503: {}}, operation_id="readyz")
    for path, file in (("/", "index.html"), ("/app.js", "app.js"), ("/style.css", "style.css")):
        app.add_api_route(path, _page(_WEB / file), methods=["GET"], include_in_schema=False)


def _kb(request: Request) -> KnowledgeBase:
    kb: KnowledgeBase = request.app.state.kb
    return kb


Kb = Annotated[KnowledgeBase, Depends(_kb)]


async def ask(body: AskBody, kb: Kb) -> Any:
    """Answer a question. With `stream`, as server-sent events: passages, delta, citations, usage, done, or error."""
    question = kb.clean(body.question)
    llm = kb.settings.llm
    sampling = Sampling(
        max_tokens=body.max_tokens or llm.max_tokens,
        temperature=llm.temperature if body.temperature is None else body.temperature,
        top_p=body.top_p or llm.top_p,
        json_schema=body.response_format.schema_ if body.response_format else None,
    )
    events = kb.stream(
        question,
        history=[Message(role=turn.role, content=turn.content) for turn in body.history],
        conversation=body.conversation,
        scope=kb.scope(body.sources, where=body.filter),
        profile=body.profile or "",
        sampling=sampling,
    )
    if body.stream:
        return StreamingResponse(_sse(events), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
    async with contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                return answer_out(event.answer)
    raise GeneratorUnavailable("The answer ended before it was finished.")


async def retrieve(body: RetrieveBody, kb: Kb) -> RetrieveOut:
    """The best chunks for a question, with fused and per-retriever scores."""
    hits = await asyncio.to_thread(
        kb.retrieve, body.question, k=body.k, scope=kb.scope(body.sources, where=body.filter)
    )
    return RetrieveOut(question=body.question, hits=[hit_out(hit) for hit in hits])


async def chat_completions(body: openai_api.ChatBody, kb: Kb) -> Any:
    """OpenAI's chat completions: the last message is the question. Citations are annotations, and under `citewell`."""
    if not body.stream:
        return JSONResponse(await openai_api.completion(kb, body))
    found = openai_api.events(kb, body)
    await anext(found)  # the passages: what cannot be answered is told before the stream begins
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(openai_api.chunks(found, body), media_type="text/event-stream", headers=headers)


async def models() -> dict[str, Any]:
    """The models that OpenAI's clients can name: one for each profile."""
    return openai_api.models()


async def sources(kb: Kb) -> dict[str, Any]:
    """The sources with their documents, last run, and what could not be read."""
    from service.status import source_status

    found = await asyncio.to_thread(lambda: [source_status(kb, name) for name in kb.settings.sources])
    return {"sources": found}


async def forget(conversation: Annotated[str, PathParameter(min_length=1, max_length=200)], kb: Kb) -> None:
    """Forget a conversation's turns; one that is unknown is forgotten already."""
    await asyncio.to_thread(kb.conversations.forget, conversation, kb.scope().identity)


async def metrics(kb: Kb) -> Response:
    """Counters in Prometheus' format."""
    return PlainTextResponse(kb.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


async def livez() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


async def readyz(request: Request, kb: Kb) -> Any:
    """Whether questions can be answered: the index and the embedder work. The result holds for 5 s."""
    checked, found = request.app.state.ready
    if time.monotonic() - checked > _READY_FOR_S:
        found = await asyncio.to_thread(_readiness, kb)
        request.app.state.ready = (time.monotonic(), found)
    return JSONResponse(found, status_code=200 if found["status"] == "ready" else 503)


def _readiness(kb: KnowledgeBase) -> dict[str, Any]:
    try:
        kb.follow()
        kb.embedder.embed(["ready?"], query=True)
        points = kb.index.count()
    except CitewellError as err:
        return {"status": "not ready", "reason": str(err)}
    return {"status": "ready", "points": points, "llm": bool(kb.settings.llm.urls)}


async def _sse(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            match event:
                case PassagesFound():
                    yield _event("passages", {"passages": [passage_out(p).model_dump() for p in event.passages]})
                case TextDelta():
                    yield _event("delta", {"text": event.text})
                case Restarted():
                    yield _event("error", _problem(503, f"The answer was cut off. {event.reason}").model_dump())
                    return
                case Finished():
                    answer = event.answer
                    yield _event("citations", {"citations": [citation_out(c).model_dump() for c in answer.citations]})
                    yield _event("usage", usage_out(answer.usage).model_dump())
                    yield _event("done", answer_out(answer).model_dump())
    except CitewellError as err:
        yield _event("error", _problem(_status(err), str(err)).model_dump())
    except Exception:  # noqa: BLE001 a stream never ends as if it were complete
        _log.exception("an answer's stream failed")
        yield _event("error", _problem(500, "The answer failed; the service's log has the reason.").model_dump())


def _event(name: str, data: dict[str, Any]) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(data, ensure_ascii=False))


def _page(path: Path) -> Any:
    """A route that serves a small file from memory, so that the page needs no thread and no disk."""
    content = path.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"Cache-Control": "no-cache", "ETag": etag}
    media_type = mimetypes.guess_type(path.name)[0]

    async def page(request: Request) -> Response:
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return page


async def _guard(request: Request, call_next: Any) -> Response:
    """Refuse over-large bodies as they come, and set the security headers."""
    if request.method in ("POST", "PUT", "PATCH") and await _too_large(request):
        response: Response = _refusal(request, 413, f"The request has more than {_MAX_BODY_BYTES} bytes.")
    else:
        response = await call_next(request)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    if request.url.path in ("/", "/app.js", "/style.css"):
        response.headers["Content-Security-Policy"] = _CSP
    return response


async def _too_large(request: Request) -> bool:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > _MAX_BODY_BYTES:
        return True
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY_BYTES:
            return True
    request._body = body  # what `request.body()` would have kept, so that the route can read it again
    return False


def _status(err: CitewellError) -> int:
    return next(status for kind, status in _STATUS if isinstance(err, kind))


def _problem(status: int, detail: str) -> Problem:
    return Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)


def _problem_response(status: int, detail: str, headers: Any = None) -> JSONResponse:
    body = _problem(status, detail).model_dump()
    return JSONResponse(body, status_code=status, media_type="application/problem+json", headers=headers)


def _refusal(request: Request, status: int, detail: str, headers: Any = None) -> JSONResponse:
    """An error in the shape that the route's callers know: OpenAI's on its routes, else a problem document."""
    if request.url.path not in openai_api.PATHS:
        return _problem_response(status, detail, headers)
    status = 400 if status == 422 else status
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return JSONResponse(openai_api.error(detail, kind=kind), status_code=status, headers=headers)


async def _on_citewell_error(request: Request, err: Exception) -> Response:
    if isinstance(err, openai_api.ModelNotFound):
        body = openai_api.error(str(err), kind="invalid_request_error", code="model_not_found")
        return JSONResponse(body, status_code=404)
    return _refusal(request, _status(err) if isinstance(err, CitewellError) else 500, str(err))


async def _on_invalid(request: Request, err: Exception) -> Response:
    problems = err.errors() if isinstance(err, RequestValidationError) else []
    detail = "; ".join(f"{'.'.join(str(part) for part in p['loc'][1:]) or 'body'}: {p['msg']}" for p in problems[:10])
    return _refusal(request, 422, detail or "The request is not valid.")


async def _on_http_error(request: Request, err: Exception) -> Response:
    if not isinstance(err, HTTPException):
        return _problem_response(500, "The request failed.")
    return _refusal(request, err.status_code, str(err.detail), err.headers)


async def _on_unexpected(request: Request, err: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=err)
    return _refusal(request, 500, "The request failed; the service's log has the reason.")


def run(config: Path, *, host: str = "", port: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError for an open address without authentication."""
    kb = connect(config)
    host = host or kb.settings.server.host
    if not _is_loopback(host) and not kb.settings.server.allow_unauthenticated:
        raise ConfigError(
            f"Other machines can reach {host}, and this version has no authentication of its own. Listen on 127.0.0.1 "
            "behind a proxy that authenticates, or set server.allow_unauthenticated = true."
        )
    kb.index.prepare()  # a wrong collection or a dead Qdrant is told here, not at the first question
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again after it has shut down
        _run(create_app(kb, ScheduledSync(kb, config)), host, kb.settings.server.port if port is None else port)


def _run(app: FastAPI, host: str, port: int) -> None:
    uvicorn.run(app, host=host, port=port, log_level="info", timeout_graceful_shutdown=10)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

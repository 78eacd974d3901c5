"""The REST service and the web page, assembled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from rag.errors import CitewellError
from rag.types import Message
from service.health.checks import Checks
from service.http import handlers, problems
from service.http.access import session
from service.http.access.access import ACCESS, Authenticator
from service.http.access.limits import Admission, Limits
from service.http.api import ask, chat, health, openai_api, sources
from service.http.edge import Bounds, Drain, Edge
from service.http.guard import GuardedRoute
from service.http.page import Page
from service.http.parts import Parts
from service.knowledge_base import KnowledgeBase
from service.schemas import AnswerOut, JobOut, JobPage, Problem, QuarantinePage, RetrieveOut, SourcesOut
from service.syncing.background.job_runner import JobRunner
from service.syncing.background.scheduled_sync import ScheduledSync

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}


def create_app(
    kb: KnowledgeBase,
    schedule: ScheduledSync | None = None,
    *,
    config: Path | None = None,
    hosts: frozenset[str] | None = None,
) -> FastAPI:
    """The ASGI application over a knowledge base; a schedule runs as long as it does.

    config: the file that jobs are run with, without which there are none. hosts: names that a Host header may have.
    """
    settings = kb.settings
    drain = Drain()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(_warm_up, kb)
        if kb.generator is not None:
            await kb.generator.window_tokens()  # opens its clients: a quarter of a second that no question then waits
        staying = asyncio.create_task(_keep_index(kb))
        parts: Parts = app.state.parts
        parts.runner = JobRunner(kb.jobs, config) if config is not None else None
        if schedule is not None:
            await asyncio.to_thread(schedule.start)
        yield
        staying.cancel()
        if parts.runner is not None:
            await parts.runner.stop()
        if schedule is not None:
            await asyncio.to_thread(schedule.stop)
        kb.close()

    app = FastAPI(
        title="Citewell",
        version=version("citewell"),
        description="Answers from your own databases and documents, every sentence cited.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.parts = Parts(
        kb=kb,
        authenticator=Authenticator(settings, kb.keys),
        limits=Limits(settings.limits, kb.metrics),
        admission=Admission(settings.llm.urls, most_waiting=settings.llm.max_waiting, metrics=kb.metrics),
        readiness=health.Readiness(kb),
        checks=Checks(kb),
        drain=drain,
    )
    app.add_exception_handler(CitewellError, handlers.on_citewell_error)
    app.add_exception_handler(RequestValidationError, handlers.on_invalid)
    app.add_exception_handler(HTTPException, handlers.on_http_error)
    bounds = Bounds(deadline_s=settings.server.deadline, body_bytes=settings.limits.body_bytes, hosts=hosts)
    app.add_middleware(Edge, metrics=kb.metrics, drain=drain, bounds=bounds)
    app.router.route_class = GuardedRoute
    _add_routes(app)
    return app


def allowed_hosts(host: str, names: tuple[str, ...], *, is_loopback: bool) -> frozenset[str] | None:
    """The names that a Host header may have; None: any. On a loopback address only this machine's, unless named."""
    if names:
        return frozenset(name.lower() for name in names)
    return _LOCAL_NAMES | {host.lower()} if is_loopback else None


def _add_routes(app: FastAPI) -> None:
    page = Page()
    app.add_api_route("/", page.index, methods=["GET"], include_in_schema=False)
    app.add_api_route("/static/{version}/{file:path}", page.file, methods=["GET"], include_in_schema=False)
    app.add_api_route("/docs", page.docs, methods=["GET"], include_in_schema=False)
    app.add_api_route("/openapi.json", lambda: _openapi(app), methods=["GET"], include_in_schema=False)
    either: dict[int | str, dict[str, Any]] = {200: {"model": AnswerOut} | _TEXT[200]}
    answer: dict[str, Any] = {"response_model": AnswerOut, "responses": either}
    add = _Adder(app)
    add("POST", "/v1/ask", ask.ask, "ask", 409, 413, 422, 504, **answer)
    add("POST", "/v1/retrieve", ask.retrieve, "retrieve", 413, 422, 504, response_model=RetrieveOut)
    add("POST", "/v1/chat/completions", chat.chat_completions, "chat_completions", response_model=None)
    add("GET", "/v1/models", chat.models, "models")
    add("GET", "/v1/models/{model:path}", chat.model, "model")
    add("DELETE", "/v1/conversations/{conversation}", ask.forget, "forget_conversation", 422, status_code=204)
    add("GET", "/v1/me", sources.me, "me")
    add("POST", "/v1/session", session.sign_in, "sign_in", 401, 422, status_code=204)
    add("DELETE", "/v1/session", session.sign_out, "sign_out", status_code=204)
    add("GET", "/v1/sources", sources.sources, "sources", response_model=SourcesOut)
    add("GET", "/v1/sources/{source}", sources.source, "source", 404, 422)
    add("GET", "/v1/quarantine", sources.quarantine, "quarantine", 404, 422, response_model=QuarantinePage)
    add("POST", "/v1/jobs", sources.start_job, "start_job", 409, 413, 422, response_model=JobOut, status_code=202)
    add("GET", "/v1/jobs", sources.list_jobs, "jobs", 422, response_model=JobPage)
    add("GET", "/v1/jobs/{job_id}", sources.get_job, "job", 404, 422, response_model=JobOut)
    add("GET", "/v1/jobs/{job_id}/events", sources.watch_job, "watch_job", 404, 422, responses=_TEXT)
    add("POST", "/v1/jobs/{job_id}/cancel", sources.cancel_job, "cancel_job", 404, 422, status_code=202)
    add("GET", "/v1/health", health.health, "health")
    add("GET", "/v1/config", sources.config, "config")
    add("GET", "/metrics", health.metrics, "metrics", response_class=PlainTextResponse)
    add("GET", "/livez", health.livez, "livez")
    add("GET", "/readyz", health.readyz, "readyz", responses={503: {"description": "Not ready"}})


class _Adder:
    """Adds routes with the problems that each may answer with, and a lock in the docs where it needs a key."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._bearer = Security(HTTPBearer(auto_error=False, description="An API key, or a token of your provider"))

    def __call__(
        self, method: str, path: str, endpoint: Any, operation_id: str, *statuses: int, **options: Any
    ) -> None:
        open_to_all = ACCESS[method, path] == "public"
        told = () if open_to_all or openai_api.is_openai(path) else (400, 401, 403, 408, 429, 500, 503, *statuses)
        options["responses"] = options.get("responses", {}) | problems.documented(*told)
        options["dependencies"] = [] if open_to_all else [self._bearer]
        self._app.add_api_route(path, endpoint, methods=[method], operation_id=operation_id, **options)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's description, with the problem documents that its routes refer to."""
    found = app.openapi()
    found["components"]["schemas"]["Problem"] = Problem.model_json_schema()
    return found


async def _keep_index(kb: KnowledgeBase) -> None:
    """Ask something of the embedded engine before it would end: its start takes seconds that a question would wait."""
    while not kb.settings.qdrant.url:
        await asyncio.sleep(kb.settings.qdrant.engine_idle_s / 3)
        with suppress(Exception):  # a question tells what is wrong, or the next attempt finds it well again
            await kb.in_search_thread(kb.searcher.info)


def _warm_up(kb: KnowledgeBase) -> None:
    """Load what a first question would wait for; what does not answer is told by /readyz."""
    kb.counter.count([Message(role="user", content="ready?")])
    try:
        kb.retrieve("ready?", k=1)
        kb.scale_of("en")
    except CitewellError:
        return
    kb.ordering, kb.rewriter, kb.conversations  # noqa: B018 made here, not on the event loop

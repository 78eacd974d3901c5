"""The table of routes: who may use each, what answers it, and the problems that it may answer with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Security
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBearer

from service.http import openai_errors, problems
from service.http.access.authenticator import Access
from service.http.api import ask, chat, health, jobs, me, session, sources
from service.http.api.page import Page
from service.http.guard import guarded
from service.schemas import AnswerOut, JobOut, JobPage, Problem, QuarantinePage, RetrieveOut, SourcesOut

_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
_ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": AnswerOut} | _TEXT[200]}
_ANY = (400, 401, 403, 408, 429, 500, 503)  # what any route that is not public may answer with
_BEARER = Security(HTTPBearer(auto_error=False, description="An API key, or a token from your identity provider"))
_PAGE = Page()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """options: FastAPI's, beside what is made from the other fields. Without a name it is not in the description."""

    method: str
    path: str
    handler: Any
    right: Access
    name: str = ""
    problems: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def _route(
    right: Access, method: str, path: str, handler: Any, name: str = "", *problems: int, **options: Any
) -> Route:
    return Route(method=method, path=path, handler=handler, right=right, name=name, problems=problems, options=options)


async def _openapi(request: Request) -> dict[str, Any]:
    """FastAPI's description, with the problem documents that its routes refer to."""
    found: dict[str, Any] = request.app.openapi()
    found["components"]["schemas"]["Problem"] = Problem.model_json_schema()
    return found


_JOB = "/v1/jobs/{job_id}"
ROUTES = (
    _route("ask", "POST", "/v1/ask", ask.ask, "ask", 409, 413, 422, 504, response_model=AnswerOut, responses=_ANSWER),
    _route("ask", "POST", "/v1/retrieve", ask.retrieve, "retrieve", 413, 422, 504, response_model=RetrieveOut),
    _route("ask", "POST", "/v1/chat/completions", chat.chat_completions, "chat_completions", response_model=None),
    _route("ask", "GET", "/v1/models", chat.models, "models"),
    _route("ask", "GET", "/v1/models/{model:path}", chat.model, "model"),
    _route(
        "ask", "DELETE", "/v1/conversations/{conversation}", ask.forget, "forget_conversation", 422, status_code=204
    ),
    _route("known", "GET", "/v1/me", me.me, "me"),
    _route("public", "POST", "/v1/session", session.sign_in, "sign_in", 401, 422, status_code=204),
    _route("public", "DELETE", "/v1/session", session.sign_out, "sign_out", status_code=204),
    _route("ask", "GET", "/v1/sources", sources.sources, "sources", response_model=SourcesOut),
    _route("ingest", "GET", "/v1/sources/{source}", sources.source, "source", 404, 422),
    _route(
        "ingest", "GET", "/v1/quarantine", sources.quarantine, "quarantine", 404, 422, response_model=QuarantinePage
    ),
    _route(
        "ingest", "POST", "/v1/jobs", jobs.start, "start_job", 409, 413, 422, response_model=JobOut, status_code=202
    ),
    _route("ingest", "GET", "/v1/jobs", jobs.page, "jobs", 422, response_model=JobPage),
    _route("ingest", "GET", _JOB, jobs.job, "job", 404, 422, response_model=JobOut),
    _route("ingest", "GET", f"{_JOB}/events", jobs.watch, "watch_job", 404, 422, responses=_TEXT),
    _route("ingest", "POST", f"{_JOB}/cancel", jobs.cancel, "cancel_job", 404, 422, status_code=202),
    _route("ingest", "GET", "/v1/health", health.health, "health"),
    _route("admin", "GET", "/v1/config", sources.config, "config"),
    _route("admin", "GET", "/metrics", health.metrics, "metrics", response_class=PlainTextResponse),
    _route("public", "GET", "/livez", health.livez, "livez"),
    _route("public", "GET", "/readyz", health.readyz, "readyz", responses={503: {"description": "Not ready"}}),
    _route("public", "GET", "/", _PAGE.index),
    _route("public", "GET", "/static/{version}/{file:path}", _PAGE.file),
    _route("public", "GET", "/docs", _PAGE.docs),
    _route("public", "GET", "/openapi.json", _openapi),
)


def add_routes(app: FastAPI) -> None:
    """Add the table's routes, each with its problems and, where it needs a key, a lock in the description."""
    for route in ROUTES:
        is_public = route.right == "public"
        told = () if is_public or not route.name or openai_errors.is_openai(route.path) else (*_ANY, *route.problems)
        options = dict(route.options)
        options["responses"] = options.get("responses", {}) | problems.documented(*told)
        app.router.add_api_route(
            route.path,
            route.handler,
            methods=[route.method],
            operation_id=route.name or None,
            include_in_schema=bool(route.name),
            dependencies=[] if is_public else [_BEARER],
            route_class_override=guarded(route.right),
            **options,
        )

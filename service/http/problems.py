"""Errors as RFC 9457 problem documents, and in OpenAI's shape on OpenAI's routes."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from rag.errors import (
    CitewellError,
    ConfigError,
    DeadlineExceeded,
    EmbedderUnavailable,
    EngineBusy,
    GeneratorUnavailable,
    IndexMismatch,
    IndexUnavailable,
    QuestionError,
    RerankerUnavailable,
    ShuttingDown,
    SourceBusy,
)
from service.http import openai_api
from service.logs import REQUEST_ID
from service.schemas import Problem

_STATUS: tuple[tuple[type[CitewellError], int], ...] = (
    (QuestionError, 422),
    (ConfigError, 422),
    (SourceBusy, 409),
    (DeadlineExceeded, 504),
    (ShuttingDown, 503),
    (IndexMismatch, 503),
    (IndexUnavailable, 503),
    (EmbedderUnavailable, 503),
    (RerankerUnavailable, 503),
    (GeneratorUnavailable, 503),
    (CitewellError, 500),
)
_RETRY_S = 2  # what a failing part is left alone for
FAILED = "The request failed; the service's log has the reason."


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems of a route, for its OpenAPI."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def status_of(err: CitewellError) -> int:
    return next(status for kind, status in _STATUS if isinstance(err, kind))


def problem(status: int, detail: str) -> Problem:
    return Problem(
        title=HTTPStatus(status).phrase, status=status, detail=_printable(detail), request_id=REQUEST_ID.get()
    )


def refusal(path: str, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error in the shape that a path's callers know."""
    if path in openai_api.PATHS:
        status = 400 if status == 422 else status
        kind = _OPENAI_KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return _json(openai_api.error(_printable(detail), kind=kind), status, "application/json", headers)
    return _json(problem(status, detail).model_dump(), status, "application/problem+json", headers)


_OPENAI_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def _json(body: dict[str, Any], status: int, media_type: str, headers: Mapping[str, str] | None) -> Response:
    return Response(json.dumps(body), status_code=status, media_type=media_type, headers=dict(headers or {}))


def _printable(detail: str) -> str:
    return detail.encode("utf-8", "replace").decode()


async def on_citewell_error(request: Request, err: Exception) -> Response:
    if isinstance(err, openai_api.ModelNotFound):
        body = openai_api.error(str(err), kind="invalid_request_error", code="model_not_found")
        return _json(body, 404, "application/json", None)
    status = status_of(err) if isinstance(err, CitewellError) else 500
    wait_s = err.retry_after_s if isinstance(err, EngineBusy) else _RETRY_S
    headers = {"Retry-After": str(max(1, round(wait_s)))} if status == 503 else None
    return refusal(request.url.path, status, str(err), headers)


async def on_invalid(request: Request, err: Exception) -> Response:
    problems = err.errors() if isinstance(err, RequestValidationError) else []
    detail = "; ".join(f"{'.'.join(str(part) for part in p['loc'][1:]) or 'body'}: {p['msg']}" for p in problems[:10])
    return refusal(request.url.path, 422, detail or "The request is not valid.")


async def on_http_error(request: Request, err: Exception) -> Response:
    if not isinstance(err, HTTPException):
        return refusal(request.url.path, 500, FAILED)
    return refusal(request.url.path, err.status_code, str(err.detail), err.headers)

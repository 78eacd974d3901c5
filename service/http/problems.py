"""Errors as RFC 9457 problem documents, and in OpenAI's shape on OpenAI's routes."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.responses import Response

from rag.errors import (
    AnswerFiltered,
    CitewellError,
    ConfigError,
    DeadlineExceeded,
    EmbedderUnavailable,
    GeneratorUnavailable,
    IndexMismatch,
    IndexUnavailable,
    QuestionError,
    RequestRefused,
    RerankerUnavailable,
    ShuttingDown,
    SourceBusy,
)
from service.http import openai_errors
from service.schemas import Problem
from service.telemetry.logs import REQUEST_ID

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
    (RequestRefused, 422),
    (AnswerFiltered, 422),
    (GeneratorUnavailable, 503),
    (CitewellError, 500),
)
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
    if openai_errors.is_openai(path):
        status = 400 if status == 422 else status
        kind = _OPENAI_KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return _json(openai_errors.error(_printable(detail), kind=kind), status, "application/json", headers)
    return _json(problem(status, detail).model_dump(), status, "application/problem+json", headers)


_OPENAI_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def _json(body: dict[str, Any], status: int, media_type: str, headers: Mapping[str, str] | None) -> Response:
    return Response(json.dumps(body), status_code=status, media_type=media_type, headers=dict(headers or {}))


def _printable(detail: str) -> str:
    return detail.encode("utf-8", "replace").decode()

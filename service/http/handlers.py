"""Errors of requests, as the documents that their callers get. The full text goes to the log under the request's id."""

import logging
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from rag.errors import CitewellError, EngineBusy
from service.http import openai_errors
from service.http.edge import exchange_of
from service.http.outside import text_for
from service.http.problems import FAILED, refusal, status_of

_RETRY_S = 2  # what a failing part is left alone for
_log = logging.getLogger("citewell")


async def on_citewell_error(request: Request, err: Exception) -> Response:
    if isinstance(err, openai_errors.ModelNotFound):
        body = openai_errors.error(str(err), kind="invalid_request_error", code="model_not_found")
        return JSONResponse(body, 404)
    status = status_of(err) if isinstance(err, CitewellError) else 500
    wait_s = err.retry_after_s if isinstance(err, EngineBusy) else _RETRY_S
    headers = {"Retry-After": str(max(1, round(wait_s)))} if status == 503 else None
    if status >= 500:
        _log.warning("the request failed: %s: %s", type(err).__name__, err)
    told = text_for(exchange_of(request.scope).caller, err) if isinstance(err, CitewellError) else FAILED
    return refusal(request.url.path, status, told, headers)


async def on_invalid(request: Request, err: Exception) -> Response:
    problems = err.errors() if isinstance(err, RequestValidationError) else []
    ours = [p for p in problems if p["type"] == "value_error"]  # which say all; the others are of forms not meant
    detail = "; ".join(map(_told, (ours or problems)[:10]))
    return refusal(request.url.path, 422, detail or "The request is not valid.")


def _told(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"][1:] if not str(part).startswith(("list[", "function-")))
    return f"{place or 'body'}: {problem['msg'].removeprefix('Value error, ')}"


async def on_http_error(request: Request, err: Exception) -> Response:
    if not isinstance(err, HTTPException):
        return refusal(request.url.path, 500, FAILED)
    path, detail = request.url.path, str(err.detail)
    if err.status_code == 404 and detail == "Not Found":
        detail = openai_errors.NOT_HERE.format(path=path) if openai_errors.is_openai(path) else "Not found."
    return refusal(path, err.status_code, detail, err.headers)

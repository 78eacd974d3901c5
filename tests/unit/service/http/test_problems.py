"""Errors as documents: the status of each, and the form that a path's callers know."""

import asyncio
import json
from typing import Any

import pytest
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from rag import errors
from rag.deadline import Deadline
from service.http import handlers
from service.http.edge import Exchange
from service.http.openai_errors import ModelNotFound
from service.http.problems import FAILED, documented, problem, refusal, status_of
from service.store.keys import Caller, Rights
from service.telemetry.logs import REQUEST_ID

OPERATOR = Caller(name="ops", rights=Rights(scopes=("admin",)))
ASKER = Caller(name="a", rights=Rights())


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.QuestionError, 422), (errors.FilterError, 422), (errors.AnswerCut, 422), (errors.ConfigError, 422),
        (errors.SourceBusy, 409), (errors.LeaseLost, 409), (errors.DeadlineExceeded, 504), (errors.ShuttingDown, 503),
        (errors.IndexMismatch, 503), (errors.IndexUnavailable, 503), (errors.IndexMoved, 503),
        (errors.EmbedderUnavailable, 503), (errors.RerankerUnavailable, 503), (errors.GeneratorUnavailable, 503),
        (errors.EngineBusy, 503), (errors.RequestRefused, 422), (errors.AnswerFiltered, 422),
        (errors.StateUnavailable, 500), (errors.SourceError, 500), (errors.CitewellError, 500),
    ],
)  # fmt: skip
def test_each_error_has_its_status(kind: type[errors.CitewellError], status: int) -> None:
    assert status_of(kind("what happened")) == status


def body(response: Response) -> Any:
    return json.loads(bytes(response.body))


def test_a_refusal_is_a_problem_document_with_the_requests_id() -> None:
    token = REQUEST_ID.set("r1")
    made = refusal("/v1/ask", 422, "The question is empty.", {"Retry-After": "1"})
    REQUEST_ID.reset(token)
    assert (made.status_code, made.media_type, made.headers["retry-after"]) == (422, "application/problem+json", "1")
    assert body(made) == {
        "type": "about:blank", "title": problem(422, "").title, "status": 422, "detail": "The question is empty.",
        "request_id": "r1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "sent", "kind"),
    [
        (422, 400, "invalid_request_error"), (413, 413, "invalid_request_error"), (401, 401, "authentication_error"),
        (403, 403, "permission_error"), (429, 429, "rate_limit_error"), (503, 503, "server_error"),
        (500, 500, "server_error"),
    ],
)  # fmt: skip
def test_on_openais_paths_it_has_openais_form(status: int, sent: int, kind: str) -> None:
    made = refusal("/v1/chat/completions", status, "No.")
    assert (made.status_code, made.media_type) == (sent, "application/json")
    assert body(made) == {"error": {"message": "No.", "type": kind, "param": None, "code": None}}


def test_half_a_character_in_a_message_does_not_break_the_document() -> None:
    assert body(refusal("/v1/ask", 422, "\ud800!"))["detail"] == "?!"
    assert body(refusal("/v1/models", 422, "\ud800!"))["error"]["message"] == "?!"


def test_the_problems_of_a_route_are_described() -> None:
    assert list(documented(404, 422)) == [404, 422]
    assert documented(404)[404]["description"] == "Not Found"


def handled(handler: Any, err: Exception, *, path: str = "/v1/ask", caller: Caller | None = ASKER) -> Response:
    exchange = Exchange(Deadline(1), caller=caller)
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    response = asyncio.run(handler(Request(scope | {"exchange": exchange, "server": ("h", 80)}), err))
    assert isinstance(response, Response)
    return response


SECRET = errors.IndexUnavailable("http://10.0.0.7:6333 refused the connection")


def test_an_operator_is_told_all_and_a_caller_nothing_of_hosts(caplog: pytest.LogCaptureFixture) -> None:
    told = body(handled(handlers.on_citewell_error, SECRET, caller=OPERATOR))["detail"]
    assert told == "http://10.0.0.7:6333 refused the connection"
    for caller in (ASKER, None):
        told = body(handled(handlers.on_citewell_error, SECRET, caller=caller))["detail"]
        assert told == "The index does not respond. Try again shortly."
    assert "the request failed: IndexUnavailable: http://10.0.0.7:6333" in caplog.text


def test_a_callers_own_mistake_is_not_logged_as_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    made = handled(handlers.on_citewell_error, errors.QuestionError("The question is empty."))
    assert (made.status_code, body(made)["detail"]) == (422, "The question is empty.")
    assert "retry-after" not in made.headers
    assert caplog.text == ""


@pytest.mark.parametrize(("wait_s", "told"), [(7.6, "8"), (0.1, "1")])
def test_a_busy_engine_says_when_to_come_again(wait_s: float, told: str) -> None:
    made = handled(handlers.on_citewell_error, errors.EngineBusy("full", retry_after_s=wait_s))
    assert made.headers["retry-after"] == told


def test_a_part_that_does_not_answer_is_left_alone_for_two_seconds() -> None:
    assert handled(handlers.on_citewell_error, SECRET).headers["retry-after"] == "2"


def test_a_model_that_there_is_not_is_openais_404() -> None:
    made = handled(handlers.on_citewell_error, ModelNotFound("There is no model 'x'."), path="/v1/chat/completions")
    assert (made.status_code, body(made)["error"]["code"]) == (404, "model_not_found")


def invalid(*problems: dict[str, Any]) -> str:
    detail: str = body(handled(handlers.on_invalid, RequestValidationError(list(problems))))["detail"]
    return detail


MISSING = {"type": "missing", "loc": ("body", "messages", 0, "list[TextPart]", "text"), "msg": "Field required"}
OURS = {"type": "value_error", "loc": ("body", "tools"), "msg": "Value error, Citewell does not call tools."}


def test_what_is_wrong_with_a_request_is_told_with_its_place() -> None:
    assert invalid(MISSING) == "messages.0.text: Field required"
    assert invalid({"type": "json_invalid", "loc": ("body",), "msg": "JSON decode error"}) == "body: JSON decode error"


def test_our_own_sentence_says_all() -> None:
    assert invalid(MISSING, OURS) == "tools: Citewell does not call tools."


def test_no_more_than_ten_mistakes_are_told() -> None:
    assert invalid(*[MISSING] * 12).count("Field required") == 10
    assert invalid() == "The request is not valid."


@pytest.mark.parametrize(
    ("path", "told"),
    [("/v1/nothing", "Not found."), ("/v1/embeddings", "There is no /v1/embeddings here. Of OpenAI's API")],
)
def test_a_path_that_there_is_not_is_told_as_its_callers_know_it(path: str, told: str) -> None:
    made = body(handled(handlers.on_http_error, HTTPException(404), path=path))
    assert (made.get("detail") or made["error"]["message"]).startswith(told)


def test_another_404_keeps_its_own_words() -> None:
    made = handled(handlers.on_http_error, HTTPException(404, "There is no job 7.", headers={"x-a": "b"}))
    assert (body(made)["detail"], made.headers["x-a"]) == ("There is no job 7.", "b")


def test_an_error_of_another_kind_tells_nothing() -> None:
    for handler in (handlers.on_http_error, handlers.on_citewell_error):
        made = handled(handler, ZeroDivisionError("/secret"))
        assert (made.status_code, body(made)["detail"]) == (500, FAILED)

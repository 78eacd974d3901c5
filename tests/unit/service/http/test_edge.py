"""The outermost layer, over an application of a few lines."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from service.http.edge import Bounds, ClientGone, Drain, Edge, exchange_of
from service.store.keys import Caller, Rights
from service.telemetry.logs import REQUEST_ID
from service.telemetry.metrics import Metrics

App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


async def reads(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the size of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await PlainTextResponse(str(size))(scope, receive, send)


class Asked:
    """A request through the edge: status, headers and body of what was sent."""

    def __init__(
        self,
        app: App = hello,
        *,
        body: Sequence[bytes] = (),
        method: str = "POST",
        headers: Sequence[tuple[str, str]] = (),
        drain: Drain | None = None,
        metrics: Metrics | None = None,
        stalls: bool = False,
        hosted: Sequence[tuple[str, str]] = (("host", "localhost"),),
        **bounds: Any,
    ) -> None:
        self.sent: list[Message] = []
        self.receives = 0
        self.metrics = metrics or Metrics()
        own = Bounds(**{"deadline_s": 10.0, "body_bytes": 10, **bounds})
        edge = Edge(app, metrics=self.metrics, drain=drain or Drain(), bounds=own)
        given = [(name.encode(), value.encode()) for name, value in [*headers, *hosted]]
        self.scope: dict[str, Any] = {"type": "http", "method": method, "path": "/p", "headers": given}
        parts = list(body)

        async def receive() -> Message:
            self.receives += 1
            if not parts and stalls:
                await asyncio.Event().wait()
            part = parts.pop(0) if parts else b""
            return {"type": "http.request", "body": part, "more_body": bool(parts) or stalls}

        async def send(message: Message) -> None:
            self.sent.append(message)

        asyncio.run(edge(self.scope, receive, send))

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent[1:]).decode()

    def counted(self) -> dict[str, float]:
        families = text_string_to_metric_families(self.metrics.exposition({}).decode())
        return {
            "|".join(sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
            if sample.name == "citewell_requests_total"
        }


def length(size: int) -> tuple[str, str]:
    return "content-length", str(size)


def test_a_response_has_the_requests_id_and_headers_that_keep_browsers_careful() -> None:
    asked = Asked(headers=[("x-request-id", "abc.1:2-3")])
    assert asked.headers["x-request-id"] == "abc.1:2-3"
    assert asked.headers["x-content-type-options"] == "nosniff"
    assert asked.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("given", ["", "a b", 65 * "x", "ä", "a\tb"])
def test_an_id_that_cannot_be_logged_is_replaced(given: str) -> None:
    made = Asked(headers=[("x-request-id", given)]).headers["x-request-id"]
    assert len(made) == 16
    assert made != given


def test_the_id_holds_for_the_length_of_the_request() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(REQUEST_ID.get())
        await hello(scope, receive, send)

    Asked(app, headers=[("x-request-id", "r1")])
    assert (seen, REQUEST_ID.get()) == (["r1"], "")


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("LOCALHOST:8000", 200), ("[::1]:8000", 200), ("evil.example", 421), ("", 421), ("localhost.evil", 421)],
)  # fmt: skip
def test_only_the_services_own_names_are_answered(host: str, status: int) -> None:
    hosted = [("host", host)] if host else []
    assert Asked(hosted=hosted, hosts=frozenset({"localhost", "::1"})).status == status


def test_two_hosts_are_refused_and_without_names_any_is_taken() -> None:
    assert Asked(hosted=[("host", "a"), ("host", "b")]).status == 400
    assert Asked(hosted=[("host", "any.example")]).status == 200


def test_head_is_answered_as_get_without_the_body() -> None:
    methods: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        methods.append(scope["method"])
        await hello(scope, receive, send)

    asked = Asked(app, method="HEAD")
    assert (methods, asked.status, asked.text, asked.headers["content-length"]) == (["GET"], 200, "", "5")


def test_a_body_as_long_as_allowed_is_read_whole() -> None:
    asked = Asked(reads, body=[b"12345", b"67890"], headers=[length(10)])
    assert (asked.text, "connection" in asked.headers) == ("10", False)


def _refusing(inner: App) -> App:
    """As the application's handlers do it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await inner(scope, receive, send)
        except HTTPException as err:
            await PlainTextResponse(err.detail, err.status_code)(scope, receive, send)

    return app


def test_a_body_that_says_it_is_too_long_is_refused_unread() -> None:
    asked = Asked(_refusing(reads), body=[b"x" * 11], headers=[length(11), ("expect", "100-continue")])
    assert asked.receives == 0
    assert (asked.status, asked.text) == (413, "The request has more than 10 bytes (limits.body_bytes).")


def test_a_body_that_is_longer_than_it_says_is_refused_as_it_comes() -> None:
    asked = Asked(_refusing(reads), body=[b"x" * 6, b"x" * 6, b"x"], headers=[("transfer-encoding", "chunked")])
    assert asked.status == 413
    assert asked.headers["connection"] == "close"


def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.http.edge._REST_S", 0.0)
    asked = Asked(_refusing(reads), body=[b"x"], headers=[length(5)], stalls=True, body_s=0.01)
    assert (asked.status, asked.text) == (408, "The request's body did not come within 0.01 s.")
    assert asked.headers["connection"] == "close"


def test_a_body_that_nobody_reads_is_dropped_so_that_the_connection_goes_on() -> None:
    assert "connection" not in Asked(hello, body=[b"123", b"45"], headers=[length(5)]).headers


def test_a_body_that_is_held_back_until_it_is_wanted_is_not_waited_for() -> None:
    asked = Asked(hello, body=[], headers=[length(5), ("expect", "100-Continue")], stalls=True)
    assert (asked.headers["connection"], asked.receives) == ("close", 0)


def test_a_client_that_has_gone_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientGone

    asked = Asked(app)
    assert (asked.sent, asked.counted()) == ([], {"POST|unmatched|499": 1.0})
    assert "failed" not in caplog.text


def test_a_bug_is_logged_and_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("/secret/path")

    asked = Asked(app)
    assert (asked.status, "secret" in asked.text) == (500, False)
    assert "POST unmatched failed" in caplog.text
    assert "/secret/path" in caplog.text


def test_a_bug_in_the_middle_of_a_response_cuts_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Asked(app)


def test_requests_are_counted_by_declared_route_and_known_method() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = type("Route", (), {"path": "/v1/jobs/{job_id}"})()
        await hello(scope, receive, send)

    assert Asked(app).counted() == {"POST|/v1/jobs/{job_id}|200": 1.0}
    assert Asked(app, method="BREW").counted() == {"OTHER|/v1/jobs/{job_id}|200": 1.0}


@pytest.mark.parametrize(("path", "status", "logged"), [("/livez", 200, 0), ("/livez", 503, 1), ("/v1/ask", 200, 1)])
def test_probes_that_go_well_are_not_logged(
    caplog: pytest.LogCaptureFixture, path: str, status: int, logged: int
) -> None:
    caplog.set_level(logging.INFO)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = type("Route", (), {"path": path})()
        exchange_of(scope).caller = Caller(name="k1", rights=Rights(tenant="acme"))
        await PlainTextResponse("", status)(scope, receive, send)

    Asked(app)
    found = [record.getMessage() for record in caplog.records if record.name == "citewell.access"]
    assert len(found) == logged
    assert all("key=k1 tenant=acme" in line and f"status={status}" in line for line in found)


def test_what_a_request_holds_is_let_go_however_it_ends() -> None:
    held: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange_of(scope).held.callback(held.append, "gone")
        raise ZeroDivisionError

    Asked(app)
    assert held == ["gone"]


def test_when_the_service_ends_requests_under_way_have_the_grace_and_later_ones_too() -> None:
    left: list[float] = []
    drain = Drain()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert exchange_of(scope) in drain.live
        drain.begin(1.0)
        left.append(exchange_of(scope).deadline.left_s)
        await hello(scope, receive, send)

    assert not drain.begun
    Asked(app, drain=drain)
    assert drain.begun
    assert drain.live == set()

    async def later(scope: Scope, receive: Receive, send: Send) -> None:
        left.append(exchange_of(scope).deadline.left_s)
        await hello(scope, receive, send)

    Asked(later, drain=drain)
    assert all(seconds <= 1.0 for seconds in left)
    assert len(left) == 2


def test_a_request_under_way_is_shown_until_it_has_ended() -> None:
    metrics, seen = Metrics(), list[float]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(metrics.in_flight._value.get())
        await hello(scope, receive, send)

    Asked(app, metrics=metrics)
    assert (seen, metrics.in_flight._value.get()) == ([1.0], 0.0)


def test_what_is_no_request_goes_through() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    edge: Any = Edge(app, metrics=Metrics(), drain=Drain(), bounds=Bounds(deadline_s=1, body_bytes=1))
    asyncio.run(edge({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]

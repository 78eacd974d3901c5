"""The outermost layer: each request's id, deadline, size limit, headers, metrics and line in the log."""

import asyncio
import logging
import math
import re
import secrets
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag.deadline import Deadline
from service.http.problems import FAILED, refusal
from service.store.keys import Caller
from service.telemetry.logs import REQUEST_ID
from service.telemetry.metrics import Metrics

_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_CLIENT_GONE = 499
_REST_S = 1.0  # for the rest of a body that nobody reads: a client that is still sending would not see the response
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_log = logging.getLogger("citewell.access")


class ClientGone(Exception):
    """The client has closed its connection; nobody reads an answer."""


@dataclass(slots=True, eq=False)
class Exchange:
    """A request under way. held: what it holds until its last byte has left."""

    deadline: Deadline
    caller: Caller | None = None
    held: ExitStack = field(default_factory=ExitStack)


@dataclass(slots=True)
class Drain:
    """Whether the service is ending, and the requests that are under way."""

    ends_at: float = math.inf  # on time.monotonic()'s clock
    live: set[Exchange] = field(default_factory=set)

    @property
    def begun(self) -> bool:
        return self.ends_at < math.inf

    def begin(self, grace_s: float) -> None:
        """Answer from now on that the service is not ready, and let no request go on for longer than grace_s."""
        self.ends_at = time.monotonic() + grace_s
        for exchange in self.live:
            exchange.deadline.bring_forward(self.ends_at)


def exchange_of(scope: Scope) -> Exchange:
    found: Exchange = scope["exchange"]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of each request. hosts: names that its Host header may have; None: any."""

    deadline_s: float
    body_bytes: int
    body_s: float = 30.0
    hosts: frozenset[str] | None = None


class Edge:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, drain: Drain, bounds: Bounds) -> None:
        self._app, self._metrics, self._drain = app, metrics, drain
        self._hosts, self._deadline_s, self._bounds = bounds.hosts, bounds.deadline_s, bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        token = REQUEST_ID.set(request_id)
        body = _Body(receive, headers, self._bounds)
        watched = _Watched(send, request_id, body, bare=scope["method"] == "HEAD")
        if watched.bare:
            scope = {**scope, "method": "GET"}  # answered alike, without the body
        exchange = scope["exchange"] = Exchange(Deadline(self._deadline_s))
        exchange.deadline.bring_forward(self._drain.ends_at)
        self._drain.live.add(exchange)
        self._metrics.in_flight.inc()
        started = time.perf_counter()
        try:
            with exchange.held:
                await self._serve(scope, headers, body, watched)
        finally:
            self._metrics.in_flight.dec()
            self._drain.live.discard(exchange)
            self._note(scope, exchange, watched.status, time.perf_counter() - started)
            REQUEST_ID.reset(token)

    async def _serve(self, scope: Scope, headers: Headers, receive: "_Body", send: "_Watched") -> None:
        try:
            if len(headers.getlist("host")) > 1:
                await refusal(scope["path"], 400, "The request has more than one Host header.")(scope, receive, send)
            elif self._hosts is not None and _name(headers.get("host", "")) not in self._hosts:
                detail = "This service does not answer for that Host. Add it to server.allowed_hosts."
                await refusal(scope["path"], 421, detail)(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        except ClientGone:
            send.status = _CLIENT_GONE
        except Exception:
            logging.getLogger("citewell").exception("%s %s failed", scope["method"], _route(scope))
            if send.status:
                raise  # the response has begun: the connection is cut, so that nobody takes it for a whole one
            await refusal(scope["path"], 500, FAILED)(scope, receive, send)

    def _note(self, scope: Scope, exchange: Exchange, status: int, seconds: float) -> None:
        method, route = scope["method"] if scope["method"] in _METHODS else "OTHER", _route(scope)
        status = status or _CLIENT_GONE
        self._metrics.request(method, route, status, seconds)
        caller = exchange.caller
        if route in ("/livez", "/readyz", "/metrics") and status == 200:
            return
        told: dict[str, Any] = {"method": method, "route": route, "status": status, "ms": round(1000 * seconds, 1)}
        told |= {"key": caller.name, "tenant": caller.rights.tenant} if caller is not None else {}
        _log.info(" ".join(f"{name}={value}" for name, value in told.items()), extra=told)


class _Watched:
    """Sends a response with our headers, and remembers its status. bare: without its body.

    Where the request's body was not read to its end, the connection closes behind the response: nothing that follows
    could be told from the body.
    """

    def __init__(self, send: Send, request_id: str, body: "_Body", *, bare: bool) -> None:
        self._send, self._request_id, self._body, self.bare = send, request_id, body, bare
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            if not await self._body.ends():
                headers["Connection"] = "close"
        elif self.bare and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


class _Body:
    """Receives a request's body; refuses it as soon as it is too long (413), or has taken too long (408)."""

    def __init__(self, receive: Receive, headers: Headers, bounds: Bounds) -> None:
        self._receive, self._most, self._longest_s, self._bytes = receive, bounds.body_bytes, bounds.body_s, 0
        declared = headers.get("content-length", "")
        self._declared = int(declared) if declared.isascii() and declared.isdigit() else 0
        self._has_ended = not self._declared and "transfer-encoding" not in headers
        self._until = time.monotonic() + self._longest_s
        self._held_back = headers.get("expect", "").lower() == "100-continue"  # its client sends it when it is wanted

    async def __call__(self) -> Message:
        if self._has_ended:
            return await self._receive()
        if self._declared > self._most:
            raise _too_large(self._most)
        self._held_back = False
        return await self._next(self._until - time.monotonic())

    async def ends(self) -> bool:
        """Whether all of it has come, or does within a second; what nobody has read is dropped."""
        if self._held_back:
            return False
        until = time.monotonic() + _REST_S
        with suppress(HTTPException):
            while not self._has_ended:
                await self._next(until - time.monotonic())
        return self._has_ended

    async def _next(self, longest_s: float) -> Message:
        try:
            async with asyncio.timeout(longest_s):
                message = await self._receive()
        except TimeoutError as err:
            raise HTTPException(408, f"The request's body did not come within {self._longest_s:g} s.") from err
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._most:
            raise _too_large(self._most)
        self._has_ended = not message.get("more_body", False)
        return message


def _too_large(most_bytes: int) -> HTTPException:
    return HTTPException(413, f"The request has more than {most_bytes} bytes (limits.body_bytes).")


def _route(scope: Scope) -> str:
    """The route's path as it is declared: no id that a caller gave comes into a metric or a log."""
    return getattr(scope.get("route"), "path", "") or "unmatched"


def _name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[").lower()
    return host.partition(":")[0].lower()

"""What is no HTTP, or hardly any, is refused on the connection itself."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.http.protocol import GuardedProtocol

GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"


class Connection(asyncio.Transport):
    """A connection in memory. written: all that the protocol sent; ended: whether it closed it; seen: requests' bodies."""

    def __init__(self, *parts: bytes, then: Any = None) -> None:
        super().__init__()
        self.written, self.closed, self.seen = b"", False, list[Any]()
        asyncio.run(self._talk(parts, then))

    async def _talk(self, parts: tuple[bytes, ...], then: Any) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            self.seen.append(body)
            self.headers = dict(scope["headers"])
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

        config = uvicorn.Config(app, http=GuardedProtocol, ws="none", lifespan="off", log_config=None, access_log=False)
        config.load()
        protocol = GuardedProtocol(config=config, server_state=ServerState(), app_state={})
        protocol.connection_made(self)
        for part in parts:
            protocol.data_received(part)
            for _ in range(5):
                await asyncio.sleep(0)
        if then is not None:
            then(protocol)
        self.ended = self.closed
        protocol.connection_lost(None)

    @property
    def status(self) -> int:
        return int(self.written.split(b" ")[1]) if self.written else 0

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def get_protocol(self) -> Any:
        return None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_protocol(self, protocol: Any) -> None: ...


def test_a_request_is_answered() -> None:
    connection = Connection(GET + b"\r\n")
    assert (connection.status, connection.ended, connection.seen) == (200, False, [b""])


def test_what_is_no_http_is_a_problem_document_and_the_end() -> None:
    connection = Connection(b"\x16\x03\x01 nonsense\r\n\r\n")
    assert (connection.status, connection.ended) == (400, True)
    assert b"content-type: application/problem+json" in connection.written


@pytest.mark.parametrize(("size", "status"), [(60_000, 200), (66_000, 431)])
def test_a_head_may_have_64_kib(size: int, status: int) -> None:
    connection = Connection(GET + b"x-long: " + size * b"x", b"\r\n\r\n")
    assert (connection.status, connection.ended) == (status, status != 200)


def test_a_head_that_does_not_come_is_given_up() -> None:
    def late(protocol: GuardedProtocol) -> None:
        timer = protocol._timer
        assert timer is not None
        timer._run()

    connection = Connection(GET, then=late)
    assert (connection.status, connection.ended) == (408, True)


def test_once_the_head_is_there_nothing_waits_for_it() -> None:
    timers: list[Any] = []
    Connection(GET + b"\r\n", then=lambda protocol: timers.append(protocol._timer))
    assert timers == [None]


def test_a_body_in_small_chunks_is_taken() -> None:
    chunks = b"".join(b"1\r\nx\r\n" for _ in range(20_000)) + b"0\r\n\r\n"
    connection = Connection(POST, chunks)
    assert (connection.status, len(connection.seen[0])) == (200, 20_000)


@pytest.mark.parametrize(
    "around", [b"1;" + 140_000 * b"x" + b"\r\nx\r\n", b"0\r\n" + b"x-t: " + 140_000 * b"x" + b"\r\n"]
)
def test_a_body_that_hardly_has_one_is_refused(around: bytes) -> None:
    connection = Connection(POST, around)
    assert (connection.status, connection.ended) == (413, True)


def test_trailers_do_not_count_as_headers() -> None:
    connection = Connection(POST, b"1\r\nx\r\n0\r\nhost: evil\r\n\r\n")
    assert (connection.status, connection.seen, connection.headers[b"host"]) == (200, [b"x"], b"localhost")


def test_nothing_is_written_into_the_answer_to_the_request_before() -> None:
    class Pending:
        response_complete = False
        response_started = True
        keep_alive = True

    def break_in(protocol: GuardedProtocol) -> None:
        protocol.cycle = Pending()  # type: ignore[assignment]
        protocol.send_400_response("nonsense")
        assert protocol.cycle.keep_alive is False
        protocol.cycle = None  # type: ignore[assignment]

    assert Connection(then=break_in).written == b""


def test_a_connection_that_is_closing_is_told_nothing() -> None:
    def twice(protocol: GuardedProtocol) -> None:
        protocol.send_400_response("first")
        protocol.send_400_response("second")

    connection = Connection(then=twice)
    assert b"first" in connection.written
    assert b"second" not in connection.written

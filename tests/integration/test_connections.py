"""What a connection may cost: bodies, trailers and heads have a budget of bytes and time, and only their owner pays."""

import asyncio
import json
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from service.http import edge
from tests.support.place import ASK, Place, answer_of, is_closed, running
from tests.support.running import wait_until


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    few = "[limits]\nin_flight = 40\n"
    with running(tmp_path_factory.mktemp("place"), model="stub:tpot=0.1,tokens=20", more=few) as made:
        yield made


def test_half_sent_bodies_of_one_key_shut_nobody_else_out(place: Place) -> None:
    with ExitStack() as stack:
        halves = [stack.enter_context(place.connect()) for _ in range(60)]
        for half in halves:
            half.sendall(place.head(1000) + b'{"question": ')
        wait_until(lambda: len(select.select(halves, [], [], 0)[0]) == 50, what="the refusals")  # a quarter of 40 stays
        assert {answer_of(half)[0] for half in select.select(halves, [], [], 0)[0]} == {429}
        headers = {"Authorization": f"Bearer {place.keys[1]}"}
        answer = httpx.post(
            f"{place.server.url}/v1/ask",
            content=ASK,
            headers=headers | {"content-type": "application/json"},
            timeout=30,
        )
        assert answer.status_code == 200


def test_a_refused_request_whose_body_does_not_come_loses_its_connection(place: Place) -> None:
    before = place.sockets()
    with ExitStack() as stack:
        halves = [(key, stack.enter_context(place.connect())) for key in (-1, 0) for _ in range(20)]
        for key, half in halves:
            half.sendall(place.head(1000, key, path="/v1/ask" if key else "/v1/nothing") + b"{")
        for key, half in halves:
            status, headers, _ = answer_of(half)
            assert (status, headers["connection"]) == (401 if key else 404, "close")
            with suppress(ConnectionError):
                half.sendall(b"x")
        wait_until(lambda: place.sockets() <= before + 2, what="the connections' end")


def test_a_refused_request_whose_body_comes_keeps_its_connection(place: Place) -> None:
    with place.connect() as connection:
        for _ in range(3):
            connection.sendall(place.head(len(ASK), -1) + ASK)
            status, headers, _ = answer_of(connection)
            assert (status, headers.get("connection")) == (401, None)
        connection.sendall(place.head(len(ASK), 0) + ASK)
        assert answer_of(connection)[0] == 200


def test_a_body_that_is_sent_when_it_is_wanted_is_not_asked_for_after_a_refusal(place: Place) -> None:
    with place.connect() as connection:
        begun = time.monotonic()
        connection.sendall(place.head(1000, -1, more="expect: 100-continue\r\n"))
        status, headers, _ = answer_of(connection)
        assert (status, headers["connection"]) == (401, "close")
        assert time.monotonic() - begun < 0.9


@pytest.mark.parametrize("flood", ["trailers", "one trailer", "extensions", "tiny chunks"])
@pytest.mark.parametrize("key", [-1, 0])
def test_what_stands_around_a_body_has_a_limit(place: Place, flood: str, key: int) -> None:
    line = b"x-%d: " % 1 + b"y" * 10_000 + b"\r\n"
    sent, part = {
        "trailers": (b"0\r\n", line),
        "one trailer": (b"0\r\nx: ", b"y" * 10_000),
        "extensions": (b"", b"1;" + b"e" * 10_000 + b"\r\nx\r\n"),
        "tiny chunks": (b"", b"1\r\nx\r\n" * 2_000),
    }[flood]
    before, total = place.rss_mb(), 0
    with place.connect() as connection:
        with suppress(ConnectionError):
            connection.sendall(place.head(None, key) + sent)
            while total < 60_000_000:
                connection.sendall(part)
                total += len(part)
        assert total < 20_000_000
        assert is_closed(connection)
    assert place.rss_mb() < before + 60
    assert httpx.get(f"{place.server.url}/livez").status_code == 200


def test_trailers_are_not_taken_for_headers(place: Place) -> None:
    with place.connect() as connection:
        body = b"%x\r\n" % len(ASK) + ASK + b"\r\n0\r\nauthorization: Bearer " + place.keys[0].encode() + b"\r\n\r\n"
        connection.sendall(place.head(None, -1) + body)
        assert answer_of(connection)[0] == 401


@pytest.mark.parametrize(
    "next_one", [b"G", b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"a" * 200_000, b"\x16\x03\x01"]
)
def test_nothing_is_written_into_a_response_that_is_under_way(place: Place, next_one: bytes) -> None:
    body = json.dumps({**json.loads(ASK), "stream": True}).encode()
    with place.connect() as connection:
        connection.sendall(place.head(len(body)) + body)
        received = b""
        while b"event: delta" not in received:
            received += connection.recv(65536)
        connection.sendall(next_one)
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                received += part
                if received.endswith(b"0\r\n\r\n") and next_one == b"G":
                    break
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"event: done" in received
    assert received.endswith(b"0\r\n\r\n")


def test_the_body_s_own_time_ends_it() -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    bounds = edge.Bounds(deadline_s=60, body_bytes=100, body_s=0.05)
    with pytest.raises(HTTPException) as raised:
        asyncio.run(_read(edge._Body(never, Headers({"content-length": "5"}), bounds)))
    assert raised.value.status_code == 408


async def _read(body: Any) -> None:
    await body()

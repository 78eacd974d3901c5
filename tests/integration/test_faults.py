"""The service while its engine or its Qdrant fails, and when its clients or its operator leave."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.faults import FAULTS, QUESTION, Site, one, site, under_fault
from tests.support.running import wait_until

DEADLINE_S = 2.0
LONG = "stub:ttft=0.01,tpot=0.05,tokens=4000"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("faults"), deadline_s=DEADLINE_S) as made:
        yield made


@pytest.mark.parametrize(("part", "fault"), FAULTS)
def test_a_fault_is_told_before_the_deadline_and_forgotten_after_it(place: Site, part: str, fault: str) -> None:
    outcome = asyncio.run(under_fault(place, part, fault, clients=8))
    assert not [ending for ending in outcome.endings if ending.startswith("torn")]
    if part == "engine" and fault != "slow":
        assert set(outcome.endings) <= {"degraded", "error 503"}
    if part == "qdrant" and fault != "slow":
        assert set(outcome.endings) <= {"error 503", "error 504"}
    if part == "state" or (part == "replica" and fault == "401"):
        assert set(outcome.endings) == {"answered"}
    assert outcome.back_s < 30
    assert asyncio.run(_ask_once(place)) == "answered"


async def _ask_once(place: Site) -> str:
    async with httpx.AsyncClient(base_url=place.server.url, timeout=30) as client:
        return await one(client, stream=True)


@pytest.fixture
def slow_place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, deadline_s=60, model=LONG, more="grace = 1\ndrain = 1\n") as made:
        yield made


def _wait_for_cancelled(place: Site, number: int) -> None:
    wait_until(lambda: place.stub.cancelled == number, what="the upstreams' end")


def test_a_client_that_goes_is_followed_by_its_upstream(slow_place: Site) -> None:
    for stream in (True, False):
        before = slow_place.stub.cancelled
        for _ in range(5):
            _ask_and_go(slow_place, stream=stream)
        _wait_for_cancelled(slow_place, before + 5)
    wait_until(lambda: slow_place.stub.under_way == 0, what="an idle engine")


def _ask_and_go(place: Site, *, stream: bool) -> None:
    asked = len(place.stub.asked)
    body = json.dumps({"question": QUESTION, "stream": stream}).encode()
    port = int(place.server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"POST /v1/ask HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        if stream:
            while b"event: delta" not in connection.recv(65536):
                pass
        else:
            wait_until(lambda: len(place.stub.asked) > asked, what="the request at the engine")


def test_at_sigterm_readiness_goes_first_and_each_stream_ends_in_a_word(slow_place: Site) -> None:
    endings: list[str] = []
    started = threading.Barrier(7)

    def listen() -> None:
        last = ""
        with httpx.stream(
            "POST", f"{slow_place.server.url}/v1/ask", json={"question": QUESTION, "stream": True}, timeout=60
        ) as answer:
            waiting = True
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    last = line
                    if waiting and line == "event: delta":
                        waiting = False
                        started.wait(timeout=30)
        endings.append(last)

    threads = [threading.Thread(target=listen) for _ in range(6)]
    for thread in threads:
        thread.start()
    started.wait(timeout=30)
    os.kill(slow_place.server.process.pid, signal.SIGTERM)
    wait_until(lambda: httpx.get(f"{slow_place.server.url}/readyz").status_code == 503, what="readiness off")
    assert httpx.get(f"{slow_place.server.url}/livez").status_code == 200
    for thread in threads:
        thread.join(timeout=30)
    assert endings == ["event: error"] * 6
    assert slow_place.server.process.wait(timeout=30) in (0, -signal.SIGTERM)
    assert slow_place.stub.under_way == 0


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n", 400),
        (b"POST /v1/ask HTTP/1.1\r\nhost: localhost\r\ncontent-length: nine\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 400_000, 431),
        (b"GET /" + b"a" * 400_000, 431),
        (b"POST /v1/ask HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n", 413),
        (b"POST /v1/ask HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"BREW /v1/ask HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nhost: localhost\r\n\r\n", 404),
        (b"GET /livez HTTP/1.1\r\nhost: evil.example\r\n\r\n", 421),
    ],
)
def test_bytes_that_are_no_request_get_a_problem_document(place: Site, sent: bytes, status: int) -> None:
    port = int(place.server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        with suppress(OSError):  # refused before all of it was sent
            connection.sendall(sent)
        answer = b""
        while b"}" not in answer:
            part = connection.recv(65536)
            if not part:
                break
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert b"content-type: application/problem+json" in head.lower()
    assert json.loads(body)["status"] == status


def test_a_body_that_trickles_ends_with_the_deadline(place: Site) -> None:
    port = int(place.server.url.rsplit(":", 1)[1])
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/ask HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"
        )
        answer = connection.recv(65536)
    assert b" 504 " in answer.split(b"\r\n")[0]
    assert time.monotonic() - begun >= DEADLINE_S - 0.1


def test_the_log_tells_of_requests_and_not_of_what_was_asked(place: Site) -> None:
    answer: Any = httpx.post(
        f"{place.server.url}/v1/ask", json={"question": QUESTION}, headers={"X-Request-ID": "mine-1"}
    )
    assert answer.headers["x-request-id"] == "mine-1"
    wait_until(lambda: "mine-1" in place.server.log(), what="the line in the log")
    assert "route=/v1/ask status=200" in place.server.log()
    assert "Edmonton" not in place.server.log()

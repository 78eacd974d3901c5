"""Callers who would take the service from the others: costs that are not theirs, sizes, growth, and two requests in one."""

import json
import random
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.support.place import Place, running

QUESTION = "When does the Edmonton store open?"


def _post(place: Place, body: Any, key: int = 0, path: str = "/v1/ask", **more: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {place.keys[key]}", "Content-Type": "application/json"}
    return httpx.post(f"{place.server.url}{path}", content=content, headers=headers, timeout=60, **more)


def breaker(folder: Path, number: int) -> tuple[int, list[str]]:
    """What one key asks so that the engine looks broken, while another asks as people do: all of theirs is written."""
    schema = (
        b'{"question": "When does it open?", "response_format": {"type": "json_schema", "json_schema": {"schema": %s}}}'
    )
    attacks = [
        {"question": QUESTION, "max_tokens": 2000},  # which takes longer than the engine's time for an answer
        {"question": QUESTION, "response_format": {"type": "json_object"}},  # which the engine does not write
        schema % b'{"a": NaN}',
        schema % b'{"a": "\\ud800"}',
        schema % (b"[" * 500 + b"]" * 500),
        {"question": QUESTION, "max_tokens": 8192},
        {"question": QUESTION, "max_tokens": 16, "temperature": 2, "top_p": 1e-9},
    ]
    found: list[str] = []

    def behaviour(body: dict[str, Any]) -> str:
        return "stub:tpot=0.02,tokens=500" if body["max_tokens"] == 2000 else "stub:ttft=0.05,tokens=8"

    with running(folder, more="timeout_s = 2\n") as place:
        place.engine.behaviour = behaviour
        done = threading.Event()

        def attack(at: int) -> None:
            made = 0
            while not done.is_set() or made < number // len(attacks):
                made += 1
                with suppress(httpx.HTTPError):
                    status = _post(place, attacks[at]).status_code
                    if status >= 500 and status != 503:
                        found.append(f"attack {at}: status {status}")

        attackers = [threading.Thread(target=attack, args=(at,)) for at in range(len(attacks))]
        for each in attackers:
            each.start()
        for _ in range(number):
            answer = _post(place, {"question": QUESTION}, key=1)
            if answer.status_code != 200 or answer.json()["degraded"]:
                found.append(f"the other key: {answer.status_code} {answer.text[:80]}")
        done.set()
        for each in attackers:
            each.join()
    return number, found


def _large() -> Iterator[tuple[str, bytes]]:
    for size in (30_000, 32_001, 200_000, 999_000, 1_000_001, 5_000_000):
        yield f"question of {size}", json.dumps({"question": "word " * (size // 5)}).encode()
        yield (
            f"history of {size}",
            json.dumps({"question": QUESTION, "history": [{"role": "user", "content": "x" * size}]}).encode(),
        )
        yield f"filter of {size}", json.dumps({"question": QUESTION, "filter": {"source": "x" * size}}).encode()
        schema = {"type": "json_schema", "json_schema": {"schema": {"title": "x" * size}}}
        yield f"schema of {size}", json.dumps({"question": QUESTION, "response_format": schema}).encode()
    for levels in (10, 100, 1_000, 10_000, 100_000):
        for opened, closed in ((b"[", b"]"), (b'{"all": [', b"]}"), (b'{"not": ', b"}")):
            inner = opened * levels + (b'"a"' if opened == b"[" else b'{"source": "a"}') + closed * levels
            yield f"filter of {levels} {opened!r}", b'{"question": "x", "filter": {"any": [%s]}}' % inner
            nested = b'{"type": "json_schema", "json_schema": {"schema": {"a": %s}}}' % inner
            yield f"schema of {levels} {opened!r}", b'{"question": "x", "response_format": %s}' % nested
            yield f"body of {levels} {opened!r}", inner
    for value in (
        b"1e999",
        b"-1e999",
        b"NaN",
        b"Infinity",
        b"9" * 400,
        b"9" * 4_000,
        b"9" * 5_000,
        b'"\\ud800"',
        b'"\\u0000"',
        b"null",
        b"[]",
        b"{}",
        b"true",
        b"1.5",
        b'""',
    ):
        for place in (
            b"max_tokens",
            b"temperature",
            b"max_passages",
            b"question",
            b"filter",
            b"history",
            b"stream",
            b"sources",
            b"profile",
        ):
            yield f"{place!r} {value[:12]!r}", b'{"question": "Where?", "%s": %s}' % (place, value)
        for field in (b"metadata.x", b"updated_at", b"page", b"tags", b"\\ud800"):
            yield f"filter {field!r} {value[:12]!r}", b'{"question": "Where?", "filter": {"%s": %s}}' % (field, value)
            yield (
                f"range {field!r} {value[:12]!r}",
                b'{"question": "Where?", "filter": {"%s": {"gte": %s}}}' % (field, value),
            )


def sizes(folder: Path, every: int) -> tuple[int, list[str]]:
    """Values that are too large, too deep or none of their kind: a refusal or an answer, and never a 5xx."""
    found, made = [], 0
    with running(folder) as place:
        place.engine.behaviour = lambda body: "says:{}" if "response_format" in body else "stub:tokens=8"
        for name, body in list(_large())[::every]:
            for path in ("/v1/ask", "/v1/retrieve"):
                made += 1
                with suppress(
                    httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError
                ):  # cut while it sent too much
                    status = _post(place, body, path=path).status_code
                    if status >= 500:
                        found.append(f"{path} {name}: {status}")
    return made, found


def growth(folder: Path, number: int) -> tuple[int, list[str]]:
    """What could be kept of callers who are not known, or are gone: memory, sockets."""
    found, rng = [], random.Random(1)
    with running(folder) as place:
        for _ in range(30):
            _post(place, {"question": QUESTION}, path="/v1/retrieve")
        memory, sockets = place.rss_mb(), place.sockets()
        for _ in range(number):
            with ExitStack() as stack:
                half = [stack.enter_context(place.connect()) for _ in range(5)]
                half[0].sendall(b"POST /v1/ask HT")
                half[1].sendall(place.head(100_000, -1) + b"{" * 1000)
                half[2].sendall(place.head(None, -1) + b"1\r\nx\r\n0\r\n" + b"x-a: b\r\n" * 2_000)
                half[3].sendall(
                    f"GET /v1/me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer cwk_{rng.getrandbits(48):012x}_{'x' * 43}\r\n\r\n".encode()
                )
                half[4].sendall(
                    f"GET /v1/{rng.getrandbits(64)} HTTP/1.1\r\nhost: localhost\r\nx-request-id: {rng.getrandbits(64)}\r\n\r\n".encode()
                )
        for _ in range(100):
            if place.sockets() <= sockets + 5:
                break
            threading.Event().wait(0.1)
        if place.sockets() > sockets + 5:
            found.append(f"{place.sockets() - sockets} sockets more")
        if place.rss_mb() > memory + 60:
            found.append(f"{place.rss_mb() - memory:.0f} MB more")
    return 5 * number, found


_INNER = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"


def _pairs(rng: random.Random, number: int) -> Iterator[bytes]:
    """Requests whose length two readers could see differently, with another one behind."""
    head = b"POST /v1/ask HTTP/1.1\r\nhost: localhost\r\n"
    lengths = [
        b"content-length: 0", b"content-length: 5", b"Content-Length : 5", b"content-length: +5", b"content-length: 5, 5",
        b"content-length: 0x5", b"content-length:\t5",
        b"content-length: 5\r\ncontent-length: 6", b"content-length: -1", b"content-length: 5 ",
    ]  # fmt: skip
    codings = [
        b"transfer-encoding: chunked", b"Transfer-Encoding : chunked", b"transfer-encoding: chunked, identity", b"transfer-encoding: xchunked",
        b"transfer-encoding:\x0bchunked", b"transfer-encoding: chunked\r\ntransfer-encoding: identity",
        b"x: y\rtransfer-encoding: chunked", b"x: y\ntransfer-encoding: chunked", b" transfer-encoding: chunked",
    ]  # fmt: skip
    bodies = [
        b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"0\n\n",
        b"5;x\r\nhello\r\n0\r\n\r\n",
        b"00\r\n\r\n",
        b"-1\r\n\r\n",
        b"hello",
        b"",
    ]
    for _ in range(number):
        fields = rng.sample(lengths, rng.randint(0, 2)) + rng.sample(codings, rng.randint(0, 2))
        rng.shuffle(fields)
        yield head + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + rng.choice(bodies)


_CLEAR = re.compile(rb"content-length:[ \t]?\d+ ?|transfer-encoding: chunked")


def smuggling(folder: Path, number: int) -> tuple[int, list[str]]:
    """A second request is answered only where all readers agree that the first has ended: no fields that contradict."""
    found, rng = [], random.Random(2)
    with running(folder) as place:
        for sent in _pairs(rng, number):
            received = b""
            with place.connect() as connection:
                connection.settimeout(1.5)
                with suppress(OSError):
                    connection.sendall(sent + _INNER)
                    while part := connection.recv(65536):
                        received += part
                        if b'{"status":"ok"}' in received:
                            break
            fields = list(sent.lower().partition(b"\r\n\r\n")[0].split(b"\r\n")[2:])
            clear = not fields or (len(fields) == 1 and _CLEAR.fullmatch(fields[0]) is not None)
            if b'{"status":"ok"}' in received and not clear:
                found.append(f"{sent!r} was followed by another")
            if received.startswith(b"HTTP/1.1 5"):
                found.append(f"{sent!r} gave {received[:40]!r}")
    return number, found

"""Faults between the service and what it needs, with many clients at once; for the tests and for benchmarks/faults.py."""

import asyncio
import json
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from indexes.embedded.address import socket_path
from indexes.embedded.launch import ensure_running
from service.knowledge_base import connect
from tests.support.command import Server
from tests.support.embedded import stop_engine
from tests.support.llm.stub_engine import StubEngine
from tests.support.network.fault_proxy import FaultProxy

QUESTION = "When does the Edmonton store open?"
STORES = "# Stores\n\nThe Edmonton store opens at eleven and closes at six in the evening on every day but Sunday.\n"
# A process of its own: the clients' would be late by itself.
_PROBE = """
import http.client, sys, time
connection = http.client.HTTPConnection(sys.argv[1], timeout=60)
while True:
    begun = time.monotonic()
    connection.request("GET", "/livez")
    connection.getresponse().read()
    print(time.monotonic() - begun, flush=True)
    time.sleep(0.02)
"""
FAULTS = (
    *(("engine", fault) for fault in ("refused", "blackhole", "slow", "500", "cut", "401", "flood")),
    *(("replica", fault) for fault in ("blackhole", "401", "flood")),
    *(("qdrant", fault) for fault in ("refused", "blackhole", "slow", "500", "cut")),
    ("state", "locked"),
)
MODEL = "stub:ttft=0.05,tpot=0.002,tokens=32"


@dataclass(slots=True)
class Outcome:
    """How requests ended under a fault; seconds of each, and of the probes of /livez beside them."""

    seconds: list[float] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)
    livez_s: list[float] = field(default_factory=list)
    back_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A service with two replicas of an engine, a Qdrant and a state store that fail as they are told.

    engine: both replicas at once; replica: one of them, so that the other answers.
    """

    server: Server
    engine: "Together"
    replica: FaultProxy
    qdrant: FaultProxy
    state: "StateLock"
    stub: StubEngine


class Part(Protocol):
    def set(self, fault: str) -> None:
        """Fail like this from now on; `pass` ends the fault."""
        ...


@dataclass(frozen=True, slots=True)
class Together:
    parts: tuple[Part, ...]

    def set(self, fault: str) -> None:
        for part in self.parts:
            part.set(fault)


class StateLock:
    """Another program that holds the state store's lock for as long as the fault `locked` lasts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: sqlite3.Connection | None = None

    def set(self, fault: str) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None
        if fault == "locked":
            self._held = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
            self._held.execute("BEGIN IMMEDIATE")


@contextmanager
def site(folder: Path, *, deadline_s: float, model: str = MODEL, more: str = "") -> Iterator[Site]:
    """A service over one document in a folder. Its Qdrant is the embedded engine, over TCP."""
    (folder / "docs").mkdir()
    (folder / "docs" / "stores.md").write_text(STORES)
    config = folder / "citewell.toml"
    sources = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'
    config.write_text(sources)
    with connect(config) as kb:
        kb.ingest()
    data = folder / ".citewell" / "qdrant"
    ensure_running(data, idle_s=600)
    try:
        with StubEngine() as stub:
            address = urlsplit(stub.url)
            target = (str(address.hostname), int(address.port or 0))
            with (
                FaultProxy(target) as one_replica,
                FaultProxy(target) as other_replica,
                FaultProxy(socket_path(data)) as qdrant,
            ):
                urls = [f"http://127.0.0.1:{replica.port}/v1" for replica in (one_replica, other_replica)]
                llm = f"[llm]\nurls = {json.dumps(urls)}\nmodel = {json.dumps(model)}\n"
                index = f'[qdrant]\nurl = "http://127.0.0.1:{qdrant.port}"\n'
                config.write_text(f"{sources}{llm}{index}[server]\ndeadline = {deadline_s}\n{more}")
                with Server(config) as server:
                    yield Site(
                        server=server,
                        engine=Together((one_replica, other_replica)),
                        replica=one_replica,
                        qdrant=qdrant,
                        state=StateLock(folder / ".citewell" / "state.sqlite"),
                        stub=stub,
                    )
    finally:
        stop_engine(data)


async def under_fault(place: Site, part: str, fault: str, *, clients: int, rounds: int = 1) -> Outcome:
    """Ask with many clients at once, half of them streamed, while a fault holds; then wait for the first full answer."""
    outcome, failing = Outcome(), getattr(place, part)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=place.server.url, timeout=60, limits=limits, trust_env=False) as client:
        failing.set(fault)
        try:
            command = ["-c", _PROBE, place.server.url.removeprefix("http://")]
            probe = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
            for _ in range(rounds):
                await asyncio.gather(*(_ask(client, outcome, stream=number % 2 == 0) for number in range(clients)))
            probe.terminate()
            outcome.livez_s = [float(line) for line in (await probe.communicate())[0].split()]
        finally:
            failing.set("pass")
        begun = time.monotonic()
        while await one(client) != "answered" and time.monotonic() - begun < 30:
            await asyncio.sleep(0.1)
        outcome.back_s = time.monotonic() - begun
    return outcome


async def one(client: httpx.AsyncClient, *, stream: bool = False) -> str:
    """How a question ends: answered, degraded, or error STATUS; `torn` when it ends as neither."""
    body = {"question": QUESTION, "stream": stream, "conversation": uuid.uuid4().hex}
    try:
        response = await client.post("/v1/ask", json=body)
    except httpx.HTTPError as err:
        return f"torn: {err!r}"
    if response.headers["content-type"].startswith("application/problem+json"):
        return f"error {response.json()['status']}"
    if not stream:
        return _ending(response.json())
    name, _, data = response.text.strip().split("\n\n")[-1].removeprefix("event: ").partition("\ndata: ")
    if name == "error":
        return f"error {json.loads(data)['status']}"
    return _ending(json.loads(data)) if name == "done" else "torn: no last event"


def _ending(answer: dict[str, Any]) -> str:
    return "degraded" if answer["degraded"] else "answered" if answer["citations"] else "refused"


async def _ask(client: httpx.AsyncClient, outcome: Outcome, *, stream: bool) -> None:
    begun = time.monotonic()
    outcome.endings.append(await one(client, stream=stream))
    outcome.seconds.append(time.monotonic() - begun)

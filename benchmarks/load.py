"""Clients that ask over HTTP, stream the answer, and time its first words."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from benchmarks.common import percentile


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A streaming route. starts: what the first event with a part of the answer has in it."""

    url: str
    body: Callable[[str], dict[str, Any]]
    starts: bytes
    headers: dict[str, str] = field(default_factory=dict)
    ends: bytes = b""  # what a whole answer has; nothing: any end is one


@dataclass(slots=True)
class Load:
    """What came of a load: seconds to the first words, answers and failures, seconds that it took.

    prepared_s: until the prompt was made, as our own answers tell.
    """

    ttft_s: list[float] = field(default_factory=list)
    prepared_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    answered: int = 0
    seconds: float = 0.0

    @property
    def rps(self) -> float:
        return self.answered / self.seconds

    def ttft_ms(self, share: float) -> float:
        return 1000 * percentile(self.ttft_s, share)

    def beside_search_ms(self, share: float) -> float:
        """The time to the first words without that until the prompt was made."""
        return 1000 * percentile([a - b for a, b in zip(self.ttft_s, self.prepared_s, strict=True)], share)


async def run_load(target: Target, questions: Sequence[str], *, clients: int, seconds: float, spread_s: float) -> Load:
    """A closed loop: each client asks again as soon as it has its answer. Their starts are spread."""
    load = Load()
    begun = time.perf_counter()
    until = begun + seconds
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def client(number: int) -> None:
            await asyncio.sleep(spread_s * number / clients)
            turn = number
            while time.perf_counter() < until:
                await _ask(session, target, questions[turn % len(questions)], load)
                turn += clients

        await asyncio.gather(*(client(number) for number in range(clients)))
    load.seconds = time.perf_counter() - begun
    return load


async def _ask(session: aiohttp.ClientSession, target: Target, question: str, load: Load) -> None:
    begun, first, ended, tail = time.perf_counter(), 0.0, not target.ends, b""
    try:
        async with session.post(
            target.url, data=json.dumps(target.body(question)), headers=target.headers | _JSON
        ) as answer:
            async for part in answer.content.iter_any():
                seen = tail + part
                if not first and target.starts in seen:
                    first = time.perf_counter() - begun
                ended = ended or target.ends in seen
                tail = seen[-300:]
            if answer.status != 200 or not first or not ended:
                load.failed.append(f"{answer.status}: {tail!r}")
                await asyncio.sleep(0.05)
                return
    except aiohttp.ClientError as err:
        load.failed.append(repr(err))
        return
    load.ttft_s.append(first)
    if told := _PREPARED.search(tail):
        load.prepared_s.append(float(told[1]))
    load.answered += 1


_PREPARED = re.compile(rb'"prompt":([0-9.e-]+)')
_JSON = {"Content-Type": "application/json"}

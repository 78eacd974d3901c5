"""The service under faults of its engine and its Qdrant, when clients leave, and when it is told to end.

    python -m benchmarks.faults        (QUICK=1: fewer clients)

Both replicas of the engine, or one, Qdrant, or the state store fail in several ways, with 50 clients and a deadline of
5 s; 500 clients leave at the first token; SIGTERM with 50 streams. All on loopback, with stub engines and proxies
that fail.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.common import QUICK, finish, percentile
from tests.support.faults import FAULTS, QUESTION, Site, site, under_fault
from tests.support.running import wait_until

DEADLINE_S = 5.0
CLIENTS = 10 if QUICK else 50
LEAVING = 100 if QUICK else 500
LONG = "stub:ttft=0.01,tpot=0.05,tokens=4000"


def faults(place: Site) -> dict[str, Any]:
    found = {}
    for part, fault in FAULTS:
        outcome = asyncio.run(under_fault(place, part, fault, clients=CLIENTS, rounds=2))
        endings = {ending: outcome.endings.count(ending) for ending in set(outcome.endings)}
        found[f"{part} {fault}"] = {
            "longest_s": round(max(outcome.seconds), 2),
            "livez_p99_ms": round(1000 * percentile(outcome.livez_s, 0.99), 1),
            "back_s": round(outcome.back_s, 2),
            "endings": endings,
        }
        print(part, fault, json.dumps(found[f"{part} {fault}"]), file=sys.stderr)
    return found


def leavers(place: Site) -> dict[str, Any]:
    """Seconds from each client's leaving to its upstream's end, and what the service then holds more than before."""
    asyncio.run(_leave(place, 50))
    before = _held(place)
    left = asyncio.run(_leave(place, LEAVING))
    wait_until(lambda: place.stub.under_way == 0, what="an idle engine")
    closed = sorted(place.stub.closed_at[-len(left) :])
    after = _held(place)
    took = [there - here for here, there in zip(sorted(left), closed, strict=True)]
    return {
        "left": len(left),
        "upstream_closed_p99_s": round(percentile(took, 0.99), 3),
        "memory_growth_mib": round((after[0] - before[0]) / 2**20, 1),
        "file_descriptors": [before[1], after[1]],
    }


async def _leave(place: Site, count: int) -> list[float]:
    """Ask, and leave at the first token, 50 at a time; the times of leaving."""
    left: list[float] = []
    free = asyncio.Semaphore(50)

    async def one() -> None:
        async with free, aiohttp.ClientSession() as session:
            body = {"question": QUESTION, "stream": True}
            async with session.post(f"{place.server.url}/v1/ask", json=body) as answer:
                async for line in answer.content:
                    if line.startswith(b"event: delta"):
                        break
                left.append(time.monotonic())
                answer.close()

    await asyncio.gather(*(one() for _ in range(count)))
    return left


def _held(place: Site) -> tuple[int, int]:
    """Resident bytes and open files of the service."""
    process = Path(f"/proc/{place.server.process.pid}")
    pages = int((process / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(list((process / "fd").iterdir()))


async def ended(place: Site, streams: int) -> dict[str, Any]:
    """How streams end that are under way at SIGTERM, and how long the service takes to exit."""
    endings: list[str] = []
    started = asyncio.Semaphore(0)

    async def listen() -> None:
        last, first = "torn", True
        url, body = f"{place.server.url}/v1/ask", {"question": QUESTION, "stream": True}
        patience = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(timeout=patience) as session, session.post(url, json=body) as answer:
            async for line in answer.content:
                if line.startswith(b"event: "):
                    last = line.decode().strip().removeprefix("event: ")
                    if first and last == "delta":
                        first = False
                        started.release()
        endings.append(last)

    tasks = [asyncio.create_task(listen()) for _ in range(streams)]
    for _ in range(streams):
        await started.acquire()
    begun = time.monotonic()
    os.kill(place.server.process.pid, signal.SIGTERM)
    await asyncio.gather(*tasks, return_exceptions=True)
    code = await asyncio.to_thread(place.server.process.wait, 60)
    endings += ["torn"] * (streams - len(endings))
    return {
        "endings": {ending: endings.count(ending) for ending in set(endings)},
        "exit_s": round(time.monotonic() - begun, 1),
        "exit_code": code,
    }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="citewell-bench-") as name:
        folders = [Path(name) / "faults", Path(name) / "leavers"]
        for folder in folders:
            folder.mkdir()
        with site(folders[0], deadline_s=DEADLINE_S) as place:
            found = faults(place)
        with site(folders[1], deadline_s=120, model=LONG) as place:
            gone = leavers(place)
            stopped = asyncio.run(ended(place, CLIENTS))
    endings = [ending for each in found.values() for ending in each["endings"]]
    finish(
        deadline_s=DEADLINE_S,
        clients=CLIENTS,
        torn=[ending for ending in endings if ending.startswith("torn")],
        faults=found,
        leavers=gone,
        sigterm=stopped,
    )


if __name__ == "__main__":
    main()

"""Ten minutes of questions at 70 % of what the service can do, while it reads a growing folder in.

    python -m benchmarks.soak          (QUICK=1: one minute)

Prints errors, memory and latency by minute, and draws them into docs/soak.svg.
"""

import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import httpx

from benchmarks.common import QUICK, finish, percentile
from benchmarks.load import run_load
from benchmarks.service import MODEL, SPREAD_S, asked_at, citewell, process, questions
from tests.support.running import free_port

SECONDS = 60 if QUICK else 600
SHARE = 0.7
PLOT = Path(__file__).parents[1] / "docs" / "soak.svg"


class Growth:
    """A folder that gets five files a second, read in by one job after the other."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url
        self._end = threading.Event()
        self.jobs: list[str] = []
        self.files = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Growth":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._end.is_set():
                for _ in range(25):
                    text = f"# Note {self.files}\n\nThe shelf of record {self.files} is {self.files % 97}.\n"
                    (self._folder / f"{self.files}.md").write_text(text)
                    self.files += 1
                job = client.post("/v1/jobs", json={"sources": ["notes"]}).json()
                while job["status"] in ("queued", "running"):
                    time.sleep(0.5)
                    job = client.get(f"/v1/jobs/{job['id']}").json()
                self.jobs.append(job["status"])
                self._end.wait(5)


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def steady(url: str, asked: list[str], rps: float, rows: list[dict[str, Any]], pid: int) -> None:
    """Questions at a steady rate; a row for each: second, time to the first words, error, memory."""
    begun = time.perf_counter()
    target = asked_at(url)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> None:
            row: dict[str, Any] = {"at_s": time.perf_counter() - begun, "error": ""}
            started = time.perf_counter()
            last = b""
            try:
                async with session.post(target.url, json=target.body(asked[number % len(asked)])) as answer:
                    async for line in answer.content:
                        if line.startswith(b"event: "):
                            last = line
                            if last == b"event: delta\n":
                                row.setdefault("ttft_s", time.perf_counter() - started)
                row["error"] = "" if last == b"event: done\n" else f"{answer.status} {last!r}"
            except (aiohttp.ClientError, ValueError) as err:
                row["error"] = repr(err)
            row["rss_mib"] = rss_mib(pid)
            rows.append(row)

        tasks = []
        for number in range(int(SECONDS * rps)):
            wait_s = begun + number / rps - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            tasks.append(asyncio.create_task(one(number)))
        await asyncio.gather(*tasks)


def by_minute(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    step = 10 if QUICK else 60
    for start in range(0, SECONDS, step):
        part = [row for row in rows if start <= row["at_s"] < start + step]
        ttft = [row["ttft_s"] for row in part if "ttft_s" in row]
        found.append(
            {
                "minute": start / 60,
                "questions": len(part),
                "errors": sum(bool(row["error"]) for row in part),
                "ttft_p50_ms": round(1000 * percentile(ttft, 0.5)),
                "ttft_p99_ms": round(1000 * percentile(ttft, 0.99)),
                "rss_mib": round(max(row["rss_mib"] for row in part)),
            }
        )
        print(json.dumps(found[-1]), file=sys.stderr)
    return found


def draw(minutes: list[dict[str, Any]], title: str) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    figure, (upper, lower) = plt.subplots(2, 1, sharex=True, figsize=(8, 5))
    at = [row["minute"] for row in minutes]
    for name, label in (("ttft_p50_ms", "p50"), ("ttft_p99_ms", "p99")):
        upper.plot(at, [row[name] for row in minutes], marker="o", label=label)
    upper.set(ylabel="first token, ms", ylim=(0, None), title=title)
    upper.legend()
    lower.plot(at, [row["rss_mib"] for row in minutes], marker="o", color="tab:green")
    lower.set(ylabel="memory, MiB", xlabel="minute", ylim=(0, None))
    figure.tight_layout()
    figure.savefig(PLOT)


def main() -> None:
    port = free_port()
    engine = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="citewell-bench-")))
        (folder / "notes").mkdir()
        stack.enter_context(
            process(sys.executable, "-m", "tests.support.llm.stub_engine", str(port), url=engine, ready="/metrics")
        )
        more = '[sources.notes]\nkind = "files"\npaths = ["notes"]\n'
        url, passages, pid = stack.enter_context(citewell(folder, engine, more=more))
        asked = questions(json.loads(passages.read_text()))
        asyncio.run(run_load(asked_at(url), asked[::-1], clients=8, seconds=4, spread_s=SPREAD_S))
        most = asyncio.run(run_load(asked_at(url), asked, clients=64, seconds=20, spread_s=SPREAD_S))
        rows: list[dict[str, Any]] = []
        with Growth(folder / "notes", url) as growth:
            asyncio.run(steady(url, asked, SHARE * most.rps, rows, pid))
    minutes = by_minute(rows)
    if not QUICK:
        draw(minutes, f"{SHARE * most.rps:.0f} questions/s ({SHARE:.0%} of capacity) while a folder is read in")
    finish(
        capacity_rps=round(most.rps, 1),
        questions=len(rows),
        errors=sum(row["errors"] for row in minutes),
        first_error=next((row["error"] for row in rows if row["error"]), ""),
        jobs={status: growth.jobs.count(status) for status in set(growth.jobs)},
        files=growth.files,
        engine=MODEL,
        minutes=minutes,
    )


if __name__ == "__main__":
    main()

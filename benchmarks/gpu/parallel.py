"""Two GPUs: tensor parallel against one GPU in latency, and two replicas with and without sticky routing.

    TRACES=FOLDER python -m benchmarks.gpu.parallel

Sticky: a conversation's turns all go to one replica; without, they go to both in turn.
"""

import asyncio
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.gpu import long_prompt
from benchmarks.gpu.rag_traces import read
from benchmarks.gpu.serving import Server, ask, keep, serving, summary, words

AT_ONCE, ANSWER = 16, 64


def latency(server: Server) -> dict[str, float]:
    chats = [words(512, seed=i) for i in range(6)]
    return summary(*asyncio.run(ask(server.url, chats, at_once=1, max_tokens=128)))


def replicas(urls: list[str], folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for path in sorted(folder.glob("*-ours-kept.jsonl")):
        chats = sorted(read(path), key=len)  # all first turns, then all second ones: many conversations at once
        starts = [zlib.crc32(chat[1]["content"].encode()) for chat in chats]  # the first turn is its conversation's
        found[path.name.removesuffix(".jsonl")] = {}
        for name, route in (
            ("sticky", [start % 2 for start in starts]),
            ("round robin", [i % 2 for i in range(len(chats))]),
        ):
            salts = [f"{path.name}-{name}"] * len(chats)
            done = asyncio.run(ask(urls, chats, at_once=AT_ONCE, max_tokens=ANSWER, salts=salts, route=route))
            found[path.name.removesuffix(".jsonl")][name] = summary(*done)
    return found


def main() -> None:
    with serving("tp2", parallel="tensor", window_tokens=131_072, load="documents") as server:
        keep("parallel-tp2", {"512_128": latency(server), "120k": long_prompt.measure(server)})
    settings: dict[str, Any] = {"parallel": "data", "window_tokens": 131_072, "load": "conversations"}
    starts = [serving(f"dp2-{i}", replica=i, **settings) for i in range(2)]
    with ThreadPoolExecutor(2) as pool, ExitStack() as stack:
        servers = list(pool.map(lambda start: start.__enter__(), starts))
        for start in starts:
            stack.push(start)
        keep("parallel-tp1", {"512_128": latency(servers[0]), "120k": long_prompt.measure(servers[0])})
        if "TRACES" in os.environ:
            keep("parallel-dp2", replicas([server.url for server in servers], Path(os.environ["TRACES"])))


if __name__ == "__main__":
    main()

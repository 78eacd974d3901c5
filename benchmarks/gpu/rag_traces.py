"""Prompts of real retrieval through the engine: no prefix cache, the retrieval's order, and Citewell's.

    TRACES=FOLDER python -m benchmarks.prefix_cache      (where the data is; writes the prompts)
    TRACES=FOLDER python -m benchmarks.gpu.rag_traces    (where the GPU is)

"off" gives each request a cache_salt of its own, so that nothing is found in the cache.
"""

import asyncio
import json
import os
from pathlib import Path

from benchmarks.gpu.serving import Server, ask, keep, serving, summary

AT_ONCE, ANSWER, MOST = 16, 64, 300


def read(path: Path) -> list[list[dict[str, str]]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][:MOST]


def measure(server: Server, folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for path in sorted(folder.glob("*-retrieval.jsonl")):
        name = path.name.removesuffix("-retrieval.jsonl")
        chats = read(path)
        runs = {"off": (chats, [f"{name}-{i}" for i in range(len(chats))]), "retrieval": (chats, None)}
        for order in ("ours", "ours-kept"):
            if (other := folder / f"{name}-{order}.jsonl").exists():
                runs[order] = (sorted(read(other), key=len), None)  # a conversation's turns one after another
        found[name] = {}
        for order, (asked, salts) in runs.items():
            salts = salts or [f"{name}-{order}"] * len(asked)
            found[name][order] = summary(
                *asyncio.run(ask(server.url, asked, at_once=AT_ONCE, max_tokens=ANSWER, salts=salts))
            )
        base = found[name]["retrieval"]["requests_per_s"]
        print(name, {order: round(run["requests_per_s"] / base, 2) for order, run in found[name].items()}, flush=True)
    return found


def main() -> None:
    with serving("traces") as server:
        keep("rag-traces", measure(server, Path(os.environ["TRACES"])))


if __name__ == "__main__":
    main()

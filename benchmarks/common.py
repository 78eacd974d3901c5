"""What the benchmarks share: the sample in a folder of its own, the machine's description, the last line."""

import json
import os
import platform
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from indexes.engine.address import socket_path
from service.knowledge_base import KnowledgeBase, connect

SAMPLE = Path(__file__).parents[1] / "examples" / "record_shop"
QUICK = os.environ.get("QUICK") == "1"
QUESTIONS = (
    "Which albums did AC/DC release?",
    "Who is the sales support agent of customer Luís Gonçalves?",
    "Who composed the track Balls to the Wall?",
    "What is the total of invoice 5?",
    "How long can an unopened record be returned?",
    "What happens if shellac touches alcohol?",
    "Which media type does track 2 have?",
    "员工每年有多少天年假？",
    "AC/DC 发行了哪些专辑？",
    "What is the capital of Mongolia?",
)


@contextmanager
def sample() -> Iterator[KnowledgeBase]:
    """The record shop in a temporary folder, not yet read in; its engine ends with it."""
    with tempfile.TemporaryDirectory(prefix="citewell-bench-") as folder:
        shutil.copytree(SAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".citewell"))
        with connect(Path(folder) / "citewell.toml") as kb:
            yield kb
            engine = kb.settings.data_dir / "qdrant"
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path(engine)))) as client:
                os.kill(int(client.get("http://engine/").json()["pid"]), signal.SIGTERM)


def finish(**figures: Any) -> None:
    """Print the figures as one JSON object, the last line."""
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "cpu": _cpu()}
    print(json.dumps(figures | {"quick": QUICK, "machine": machine}))


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]

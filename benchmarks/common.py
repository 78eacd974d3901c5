"""What the benchmarks share: the sample in a folder of its own, the machine's description, the last line."""

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rag.documents import Hit
from rag.ports import Scope
from service.collection import Binding
from service.evaluation.cases import Case, read_cases
from service.evaluation.evaluate import corpus_binding
from service.knowledge_base import KnowledgeBase, connect
from service.settings.load import load_settings
from tests.support.embedded import stop_engine

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
            stop_engine(kb.settings.data_dir / "qdrant")


@contextmanager
def over_database(database: Path) -> Iterator[KnowledgeBase]:
    """A SQLite database, read in, as the source `db` of a temporary knowledge base; its engine ends with it."""
    with tempfile.TemporaryDirectory(prefix="citewell-bench-") as folder:
        config = Path(folder) / "citewell.toml"
        config.write_text(f'[sources.db]\nkind = "sql"\nurl = "sqlite:///{database.resolve()}"\n')
        try:
            with connect(load_settings(config)) as kb:
                kb.ingest()
                yield kb
        finally:
            stop_engine(Path(folder) / ".citewell" / "qdrant")


@contextmanager
def beir(folder: Path) -> Iterator[tuple[KnowledgeBase, list[Case], Binding]]:
    """A BEIR folder's questions, and its corpus in a collection of its own. Ends the program where it has none."""
    cases, corpus = read_cases(folder)
    if corpus is None:
        sys.exit(f"{folder} has no corpus.")
    with sample() as kb:
        kb.services.collection.current().index.prepare()
        with corpus_binding(kb.services, corpus) as binding:
            yield kb, cases, binding


def hits_of(kb: KnowledgeBase, question: str, *, limit: int, binding: Binding) -> Sequence[Hit]:
    """Chunks of a collection for a question."""
    searcher = kb.services.searcher
    return searcher.search_in(binding, searcher.understand(question), limit=limit, scope=Scope()).hits


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

"""The crash lane: `make test-crash`. Prints one JSON object last; ends with 1 when a point was lost or is too many.

Over SQLite, PostgreSQL and files, 1,000 documents each, a first load and a run of changes are ended at every commit
boundary and run again; over SQLite the embedded engine is killed instead. Then rows are asked for, 10,000 times, while
all of them change and are synced again and again. QUICK=1: 100 documents each, the engine at every eighth boundary.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.data import folder, table
from tests.crash.harness import Data, Setting, Tally, crash_changes, crash_first_load
from tests.crash.queries import ask_during_syncs
from tests.support.databases import server_database, sqlite_with
from tests.support.embedded import stop_engine

QUICK = os.environ.get("QUICK") == "1"
DOCUMENTS = 100 if QUICK else 1000
BATCH = DOCUMENTS // (4 if QUICK else 10)


def _ask(root: Path, data: Data, url: str) -> tuple[int, int]:
    """Queries for rows while all of them change and are synced again and again: how many, and how many found nothing."""
    data.first()
    setting = Setting(engine=root / "qdrant", source=data.source, batch_documents=BATCH, folder=root)
    started = time.perf_counter()
    asked, missed = ask_during_syncs(setting, url, rows=DOCUMENTS, queries=500 if QUICK else 10_000)
    print(f"queries during syncs: {asked} in {time.perf_counter() - started:.0f} s, {missed} missed", flush=True)
    return asked, missed


def main() -> int:
    tally = Tally()
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="citewell-crash-") as name, server_database("postgresql") as postgres:
        root = Path(name)
        sqlite = sqlite_with(root / "source.sqlite")
        sources: list[tuple[str, Data]] = [
            ("sqlite", table(f"sqlite:///{sqlite}", DOCUMENTS)),
            ("postgresql", table(postgres, DOCUMENTS)),
            ("files", folder(root, DOCUMENTS)),
        ]
        try:
            for kind, data in sources:
                for scenario in (crash_first_load, crash_changes):
                    for victim in ("ingest", "engine") if kind == "sqlite" else ("ingest",):
                        before, started = tally.points, time.perf_counter()
                        setting = Setting(
                            engine=root / "qdrant", source=data.source, batch_documents=BATCH, folder=root
                        )
                        scenario(setting, data, tally, victim=victim, every=8 if QUICK and victim == "engine" else 1)
                        label = f"{kind} {scenario.__name__} {victim}"
                        counts[label] = tally.points - before
                        print(f"{label}: {counts[label]} points in {time.perf_counter() - started:.0f} s", flush=True)
            asked, missed = _ask(root, sources[0][1], f"sqlite:///{sqlite}")
        finally:
            stop_engine(root / "qdrant")
    for error in tally.errors:
        print(error)
    result = {
        "points": tally.points,
        "lost": tally.lost,
        "duplicate": tally.duplicate,
        "stale": tally.stale,
        "reembedded_batches_after_90pct": round(tally.reembedded_batches, 2),
        "errors": len(tally.errors),
        "queries_during_sync": asked,
        "missed": missed,
        "documents": DOCUMENTS,
        "by_scenario": counts,
        "quick": QUICK,
    }
    print(json.dumps(result))
    failed = missed or tally.lost or tally.duplicate or tally.stale or tally.errors or tally.reembedded_batches > 1
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())

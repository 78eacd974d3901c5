"""All that the sync fuzz knows of the product: its sources, a run and its report, what state and index hold.

The report's lines, the words of a refusal and the way to forget a table are here and nowhere else.
"""

import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from connectors.files.source import FilesSource
from connectors.sql.source import SqlSource
from service.store.ledger.stored import StoredLedger
from service.syncing.upkeep import forget as forget_table
from tests.crash.harness import Connector, Difference, Setting, Snapshot, difference, run
from tests.support.embedded import stop_engine
from tests.sync_fuzz.database import QUERY, VIEW
from tests.sync_fuzz.steps import ASKED, FOLDER, TABLES, World

_OF_A_RUN = ("updated_at",)  # what a payload holds that a clean rebuild need not repeat
_SAME = 1e-5  # between two vectors' numbers: what is stored and stored again is normalised again


# Sources and runs.


def database_sources(world: World, url: str) -> list[Connector]:
    """The source of a database's tables, and that of a query over one of them."""
    tables = tuple(world.names) if world.listed else ()
    keys = {VIEW: ("id",)} if world.listed else {}
    return [
        SqlSource(name=TABLES, url=url, tables=tables, keys=keys),
        SqlSource(name=ASKED, url=url, query=QUERY, key=("id",)),
    ]


def folder_sources(world: World, root: Path) -> list[Connector]:
    return [FilesSource(name=FOLDER, paths=("docs",), root=root)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a report says of a table, or of the whole source."""

    table: str
    read: int
    added: int
    updated: int
    unchanged: int
    deleted: int
    quarantined: int
    error: str

    @property
    def adds_up(self) -> bool:
        return self.read == self.added + self.updated + self.unchanged + self.quarantined

    @property
    def is_refusal(self) -> bool:
        return "--allow-mass-delete" in self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to. error: what ended it, its class first; whole: None when it did not end well."""

    killed: bool
    boundaries: int
    embedded: int
    error: str = ""
    whole: Line | None = None
    lines: tuple[Line, ...] | None = ()

    @property
    def refused(self) -> bool:
        """Whether the run, or a table of it, would have deleted too much."""
        return self.error.startswith("MassDeleteRefused") or any(line.is_refusal for line in self.lines or ())

    @property
    def is_done(self) -> bool:
        return self.whole is not None and not any(line.error for line in [self.whole, *(self.lines or ())])

    def errors_beside(self, allowed: set[str]) -> list[str]:
        """Errors that no trouble of the source explains. allowed: scopes that may have one."""
        ended = self.error if not self.error.startswith("MassDeleteRefused") else ""
        lines = [line for line in self.lines or () if line.error and not line.is_refusal and line.table not in allowed]
        return [*([ended] if ended else []), *(f"{line.table}: {line.error}" for line in lines)]


def ingest_once(setting: Setting, source: Connector, *, kill_at: int = 0, **flags: bool) -> Outcome:
    """One run in a process of its own. flags: those of the run's Options."""
    done = run(replace(setting, source=source), kill_at=kill_at, flags=flags)
    killed = done.report is None and not done.error and 0 < kill_at <= done.boundaries
    error = done.error or ("" if killed or done.report is not None else "the run's process ended without a word")
    report: Any = done.report
    return Outcome(
        killed=killed,
        boundaries=done.boundaries,
        embedded=done.embedded,
        error=error,
        whole=_line(report, "") if report is not None else None,
        lines=tuple(_line(t, t.table) for t in report.tables) if hasattr(report, "tables") else None,
    )


def _line(report: Any, table: str) -> Line:
    names = ("read", "added", "updated", "unchanged", "deleted", "quarantined", "error")
    return Line(table=table, **{name: getattr(report, name) for name in names})


def ended_for_all(outcome: Outcome) -> bool:
    """Whether a run ended as it does when all of its tables failed."""
    return outcome.error.startswith(("SourceError", "MassDeleteRefused"))


# State and index.


def held_scopes(setting: Setting, source: str) -> set[str]:
    """Tables or files that the state has documents of."""
    database = setting.database()
    try:
        return StoredLedger(database).scopes(source)
    finally:
        database.close()


def forget(setting: Setting, source: str, table: str) -> None:
    """Drop the documents of a table that is no more."""
    database = setting.database()
    try:
        forget_table(StoredLedger(database), setting.index(), source, table)
    finally:
        database.close()


def points_of(setting: Setting) -> dict[str, Snapshot]:
    """The points of each source, without what is different in every run. A point that has no source is no document's."""
    found: dict[str, Snapshot] = {}
    for point, (payload, vectors) in setting.snapshot().items():
        if "source" in payload:
            kept = {name: value for name, value in payload.items() if name not in _OF_A_RUN}
            found.setdefault(payload["source"], {})[point] = (kept, vectors)
    return found


def differences(clean: Snapshot, found: Snapshot) -> dict[str, Difference]:
    """How an index differs from a clean rebuild's, by table or file; those that do not differ are left out."""
    found = {point: clean[point] if _is_same(clean.get(point), value) else value for point, value in found.items()}
    scopes = sorted({payload["scope"] for payload, _ in [*clean.values(), *found.values()]})
    compared = {scope: difference(_of_scope(clean, scope), _of_scope(found, scope)) for scope in scopes}
    return {scope: d for scope, d in compared.items() if d != Difference(lost=0, duplicate=0, stale=0)}


def documents(points: Snapshot) -> dict[str, int]:
    """Numbers of documents, by table or file."""
    ids = {(payload["scope"], payload["document_id"]) for payload, _ in points.values()}
    scopes = [scope for scope, _ in ids]
    return {scope: scopes.count(scope) for scope in sorted(set(scopes))}


def _of_scope(points: Snapshot, scope: str) -> Snapshot:
    return {point: value for point, value in points.items() if value[0]["scope"] == scope}


def _is_same(clean: tuple[Any, Any] | None, found: tuple[Any, Any]) -> bool:
    """Whether two points are the same but for the last digits of their dense vectors."""
    if clean is None or clean[0] != found[0] or clean[1].keys() != found[1].keys():
        return False
    rest = [name for name in clean[1] if name != "dense"]
    near = all(abs(a - b) < _SAME for a, b in zip(clean[1]["dense"], found[1]["dense"], strict=True))
    return near and all(clean[1][name] == found[1][name] for name in rest)


# Copies of an earlier moment.


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Copies of an index and of a state, as they were at one moment."""

    folder: Path

    def keep(self, setting: Setting) -> None:
        """Copy both, over what was kept before. The engine, at rest, has all of it on disk."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(_collection(setting), self.folder / "index")
        with sqlite3.connect(setting.state_file) as now, sqlite3.connect(self.folder / "state") as kept:
            now.backup(kept)
        kept.close()
        now.close()

    def restore_index(self, setting: Setting) -> None:
        stop_engine(setting.engine)
        shutil.rmtree(_collection(setting))
        shutil.copytree(self.folder / "index", _collection(setting))

    def restore_state(self, setting: Setting) -> None:
        for ending in ("-wal", "-shm"):
            Path(f"{setting.state_file}{ending}").unlink(missing_ok=True)
        shutil.copyfile(self.folder / "state", setting.state_file)


def _collection(setting: Setting) -> Path:
    return setting.engine / f"{setting.collection}-1"


def unexplained(expected: Mapping[str, int], points: Snapshot) -> dict[str, tuple[int, int]]:
    """Tables of which a clean rebuild has another number of documents than there are rows: (rows, documents)."""
    found = documents(points)
    scopes = sorted(expected.keys() | found.keys())
    return {s: (expected.get(s, 0), found.get(s, 0)) for s in scopes if expected.get(s, 0) != found.get(s, 0)}

"""What people are shown of the sources: their counts, runs, schedules and quarantine."""

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from service.store.database import Database
from service.store.ledger.stored import put_source, quarantined
from service.store.schema import cursors, documents, quarantine, runs, sources


class Overview:
    """The state store, for people."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sources(self) -> list[str]:
        """Names of all sources that have documents."""
        with self._database.read() as connection:
            return list(connection.scalars(sa.select(documents.c.source).distinct().order_by(documents.c.source)))

    def summary(self, source: str) -> dict[str, Any]:
        """Counts of a source, how its changes are found, its last and next run, and its quarantine."""
        with self._database.read() as connection:
            counts = _counts(connection, source)
            last = connection.execute(
                sa.select(runs).where(runs.c.source == source).order_by(runs.c.id.desc()).limit(1)
            ).first()
            return {
                "documents": sum(number for number, _ in counts.values()),
                "chunks": sum(chunks for _, chunks in counts.values()),
                "tables": [
                    {"table": scope, "documents": counts.get(scope, (0, 0))[0], **method}
                    for scope, method in _methods(connection, source)
                ],
                "last_run": _run_out(last) if last is not None else None,
                "next_run_at": connection.scalar(sa.select(sources.c.next_run_at).where(sources.c.source == source)),
                "quarantine": quarantined(connection, source),
            }

    def quarantine_page(
        self, names: Sequence[str], *, after: tuple[str, str] | None, limit: int
    ) -> list[dict[str, Any]]:
        """Quarantined documents of some sources, by source and id, behind one of them."""
        columns = (quarantine.c.source, quarantine.c.document_id, quarantine.c.reason, quarantine.c.since)
        query = sa.select(*columns).where(quarantine.c.source.in_(list(names)))
        if after is not None:
            here = sa.tuple_(quarantine.c.source, quarantine.c.document_id)
            query = query.where(here > sa.tuple_(*map(sa.literal, after)))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(quarantine.c.source, quarantine.c.document_id).limit(limit))
            return [dict(row._mapping) for row in rows]

    def sync_lag_s(self, names: Iterable[str]) -> dict[str, float]:
        """Seconds since the start of the last complete run of a source; sources without one are left out."""
        last = sa.select(runs.c.source, sa.func.max(runs.c.started_at)).where(
            runs.c.status == "done", runs.c.source.in_(list(names))
        )
        with self._database.read() as connection:
            return {row[0]: time.time() - row[1] for row in connection.execute(last.group_by(runs.c.source))}

    def set_next_run(self, source: str, at: float | None) -> None:
        """Say when a schedule will run a source next."""
        with self._database.write() as connection:
            put_source(connection, source, {"next_run_at": at})


def _counts(connection: sa.Connection, source: str) -> dict[str, tuple[int, int]]:
    """Documents and chunks of each scope."""
    query = sa.select(documents.c.scope, sa.func.count(), sa.func.sum(documents.c.num_chunks))
    rows = connection.execute(query.where(documents.c.source == source).group_by(documents.c.scope))
    return {scope: (int(number), int(chunks)) for scope, number, chunks in rows}


def _methods(connection: sa.Connection, source: str) -> list[tuple[str, dict[str, Any]]]:
    """Tables, and how changes of each are found."""
    query = sa.select(cursors.c.scope, cursors.c.head).where(cursors.c.source == source, cursors.c.name == "table")
    rows = connection.execute(query.order_by(cursors.c.scope))
    return [(row.scope, json.loads(row.head).get("method", {})) for row in rows]


def _run_out(row: Any) -> dict[str, Any]:
    return {
        "status": row.status,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "report": json.loads(row.report) if row.report else None,
    }

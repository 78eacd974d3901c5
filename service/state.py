"""The state store: what was ingested, by whom, and what could not be. SQLAlchemy Core on SQLite or PostgreSQL."""

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import getpid
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from rag.errors import ConfigError, SourceBusy

SCHEMA_VERSION = 1
LEASE_S = 60.0

_metadata = sa.MetaData()
_meta = sa.Table(
    "citewell_meta", _metadata, sa.Column("key", sa.String(64), primary_key=True), sa.Column("value", sa.String(255))
)
_documents = sa.Table(
    "citewell_documents",
    _metadata,
    sa.Column("source", sa.String(255), primary_key=True),
    sa.Column("document_id", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("chunk_ids", sa.Text, nullable=False),
    sa.Column("seen_run", sa.Integer, nullable=False),
)
sa.Index("citewell_documents_seen", _documents.c.source, _documents.c.seen_run)
_runs = sa.Table(
    "citewell_runs",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("source", sa.String(255), nullable=False, index=True),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("report", sa.Text),
)
_leases = sa.Table(
    "citewell_leases",
    _metadata,
    sa.Column("source", sa.String(255), primary_key=True),
    sa.Column("holder", sa.String(255), nullable=False),
    sa.Column("token", sa.String(36), nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
_quarantine = sa.Table(
    "citewell_quarantine",
    _metadata,
    sa.Column("source", sa.String(255), primary_key=True),
    sa.Column("document_id", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("seen_run", sa.Integer, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    document_id: str
    scope: str
    version: str
    chunk_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write a source, until it is lost: every commit checks its token."""

    source: str
    token: str
    run: int


class State:
    """Open with `State.open(url)`; safe to share between threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> "State":
        """Open a state store and create its tables. Raises ConfigError when it cannot be opened or is newer."""
        engine = sa.create_engine(url, connect_args={"timeout": 30} if url.startswith("sqlite") else {})
        if engine.dialect.name == "sqlite":
            Path(engine.url.database or ".").parent.mkdir(parents=True, exist_ok=True)
            sa.event.listen(engine, "connect", _tune_sqlite)
            sa.event.listen(engine, "begin", _begin_immediate)
        state = cls(engine)
        try:
            state._migrate()
        except sa.exc.SQLAlchemyError as err:
            shown = engine.url.render_as_string(hide_password=True)
            raise ConfigError(f"The state store {shown} cannot be opened: {getattr(err, 'orig', err)}") from err
        return state

    def _migrate(self) -> None:
        with self._engine.begin() as connection:
            _metadata.create_all(connection)
            stored = connection.scalar(sa.select(_meta.c.value).where(_meta.c.key == "schema"))
            if stored is None:
                connection.execute(sa.insert(_meta).values(key="schema", value=str(SCHEMA_VERSION)))
            elif int(stored) > SCHEMA_VERSION:
                raise ConfigError(
                    f"The state store has schema {stored}, which a newer Citewell wrote; this one knows "
                    f"{SCHEMA_VERSION}. Upgrade with: pip install -U citewell"
                )

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def lease(self, source: str) -> Iterator[Lease]:
        """Hold a source for one run. Raises SourceBusy, naming the holder, while another run lives."""
        holder, token = f"{socket.gethostname()}:{getpid()}", str(uuid.uuid4())
        with self._engine.begin() as connection:
            row = connection.execute(sa.select(_leases).where(_leases.c.source == source)).first()
            if row is not None and row.expires_at > time.time() and _alive(row.holder):
                raise SourceBusy(
                    f"Source {source!r} is being ingested by {row.holder}. Wait for it, or let its lease end "
                    f"({row.expires_at - time.time():.0f} s)."
                )
            connection.execute(sa.delete(_leases).where(_leases.c.source == source))
            values = {"source": source, "holder": holder, "token": token, "expires_at": time.time() + LEASE_S}
            try:
                connection.execute(sa.insert(_leases).values(**values))
            except sa.exc.IntegrityError as err:
                raise SourceBusy(f"Source {source!r} was taken by another run at this moment. Try again.") from err
            run = connection.execute(sa.insert(_runs).values(source=source, started_at=time.time(), status="running"))
            lease = Lease(source=source, token=token, run=int((run.inserted_primary_key or (0,))[0]))
        ended = threading.Event()
        heartbeat = threading.Thread(target=self._beat, args=(lease, ended), daemon=True)
        heartbeat.start()
        try:
            yield lease
        finally:
            ended.set()
            heartbeat.join()
            with self._engine.begin() as connection:
                connection.execute(sa.delete(_leases).where(_leases.c.source == source, _leases.c.token == token))

    def _beat(self, lease: Lease, ended: threading.Event) -> None:
        """Keep a lease alive through a slow batch; one that is lost is told by the next commit."""
        while not ended.wait(LEASE_S / 3):
            try:
                self.renew(lease)
            except (SourceBusy, sa.exc.SQLAlchemyError):
                return

    def renew(self, lease: Lease) -> None:
        """Extend a lease. Raises SourceBusy when another run has taken it over."""
        with self._engine.begin() as connection:
            _renew(connection, lease)

    def known(self, source: str, document_ids: Sequence[str]) -> dict[str, StoredDocument]:
        query = sa.select(_documents).where(_documents.c.source == source, _documents.c.document_id.in_(document_ids))
        with self._engine.connect() as connection:
            return {row.document_id: _stored(row) for row in connection.execute(query)}

    def commit(self, lease: Lease, changed: Sequence[StoredDocument], unchanged: Sequence[str]) -> None:
        """Record a batch, in one transaction that fails when the lease is lost."""
        with self._engine.begin() as connection:
            _renew(connection, lease)
            _delete_ids(connection, lease.source, [d.document_id for d in changed])
            rows = [
                {
                    "source": lease.source,
                    "document_id": d.document_id,
                    "scope": d.scope,
                    "version": d.version,
                    "chunk_ids": json.dumps(d.chunk_ids),
                    "seen_run": lease.run,
                }
                for d in changed
            ]
            if rows:
                connection.execute(sa.insert(_documents), rows)
            for part in _parts(unchanged):
                here = sa.and_(_documents.c.source == lease.source, _documents.c.document_id.in_(part))
                connection.execute(sa.update(_documents).where(here).values(seen_run=lease.run))

    def quarantine(self, lease: Lease, document_id: str, reason: str) -> None:
        with self._engine.begin() as connection:
            here = sa.and_(_quarantine.c.source == lease.source, _quarantine.c.document_id == document_id)
            since = connection.scalar(sa.select(_quarantine.c.since).where(here))
            connection.execute(sa.delete(_quarantine).where(here))
            row = {"source": lease.source, "document_id": document_id, "reason": reason, "seen_run": lease.run}
            connection.execute(sa.insert(_quarantine).values(**row, since=since or time.time()))

    def quarantined(self, source: str) -> list[dict[str, Any]]:
        query = sa.select(_quarantine.c.document_id, _quarantine.c.reason, _quarantine.c.since)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(_quarantine.c.source == source).order_by(_quarantine.c.document_id))
            return [dict(row._mapping) for row in rows]

    def unseen(self, lease: Lease) -> list[StoredDocument]:
        """Documents that this run has not seen."""
        query = sa.select(_documents).where(_documents.c.source == lease.source, _documents.c.seen_run != lease.run)
        with self._engine.connect() as connection:
            return [_stored(row) for row in connection.execute(query)]

    def all_documents(self, source: str) -> list[StoredDocument]:
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_documents).where(_documents.c.source == source))
            return [_stored(row) for row in rows]

    def remove(self, lease: Lease, document_ids: Sequence[str]) -> None:
        with self._engine.begin() as connection:
            _renew(connection, lease)
            _delete_ids(connection, lease.source, document_ids)

    def finish(self, lease: Lease, *, status: str, report: dict[str, Any]) -> None:
        """Close a run; what it did not find unreadable again has left the quarantine when it was complete."""
        with self._engine.begin() as connection:
            ended = {"ended_at": time.time(), "status": status, "report": json.dumps(report)}
            connection.execute(sa.update(_runs).where(_runs.c.id == lease.run).values(**ended))
            if status == "done":
                stale = sa.and_(_quarantine.c.source == lease.source, _quarantine.c.seen_run != lease.run)
                connection.execute(sa.delete(_quarantine).where(stale))

    def summary(self, source: str) -> dict[str, Any]:
        """Counts of a source and its last run."""
        with self._engine.connect() as connection:
            documents = connection.scalar(sa.select(sa.func.count()).where(_documents.c.source == source))
            last = connection.execute(
                sa.select(_runs).where(_runs.c.source == source).order_by(_runs.c.id.desc()).limit(1)
            ).first()
        run = None
        if last is not None:
            run = {
                "status": last.status,
                "started_at": last.started_at,
                "ended_at": last.ended_at,
                "report": json.loads(last.report) if last.report else None,
            }
        return {"documents": documents or 0, "last_run": run, "quarantine": self.quarantined(source)}

    def sources(self) -> list[str]:
        """Names of all sources that have documents."""
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(_documents.c.source).distinct().order_by(_documents.c.source)))


class LeaseLost(SourceBusy):
    """Another run took the source over."""


def _renew(connection: sa.Connection, lease: Lease) -> None:
    mine = sa.and_(_leases.c.source == lease.source, _leases.c.token == lease.token)
    renewed = connection.execute(sa.update(_leases).where(mine).values(expires_at=time.time() + LEASE_S))
    if renewed.rowcount != 1:
        raise LeaseLost(
            f"Another run has taken over source {lease.source!r}; this one stops and has changed nothing since."
        )


def _alive(holder: str) -> bool:
    """Whether a lease's holder may still run; only a process of this machine can be seen to be gone."""
    host, _, pid = holder.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return True
    return Path(f"/proc/{pid}").exists() if Path("/proc/self").exists() else True


def _stored(row: Any) -> StoredDocument:
    return StoredDocument(
        document_id=row.document_id, scope=row.scope, version=row.version, chunk_ids=tuple(json.loads(row.chunk_ids))
    )


def _delete_ids(connection: sa.Connection, source: str, document_ids: Sequence[str]) -> None:
    for part in _parts(document_ids):
        here = sa.and_(_documents.c.source == source, _documents.c.document_id.in_(part))
        connection.execute(sa.delete(_documents).where(here))


def _parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + 500] for start in range(0, len(ids), 500))


def _tune_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins, so that a writer takes its lock at once
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

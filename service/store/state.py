"""The state store: what was ingested, by whom, and what could not be. SQLAlchemy Core on SQLite or PostgreSQL."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from rag.boundary.secrets import masked
from rag.errors import ConfigError, LeaseLost, SourceBusy, StateUnavailable
from rag.ports import LISTING
from rag.types import Checkpoint, Listed, Unreadable
from service.settings.sections import Settings
from service.store.conversations import Conversations
from service.store.jobs import Jobs
from service.store.keys import Keys
from service.store.moved import Moved, put_moved
from service.store.schema import cursors, documents, leases, migrate, quarantine, runs, sources

LEASE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document as it is indexed. version: empty when it must be indexed again; seen_run: the run that last met it."""

    document_id: str
    scope: str
    version: str
    chunk_ids: tuple[str, ...]
    seen_run: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write a source, until it is lost: every commit checks it. `run` grows: it is the fencing token."""

    source: str
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one transaction records.

    listings: scopes whose listing begins anew. resumed: those whose listing goes on; met: documents that it has met by
    its notes, and none else. generation: what the index will bear once it has what belongs to this
    commit; empty when nothing was written to it. moved: chunks whose document got another id. withdrawn: documents of
    which nothing may stay, because nobody can say who may see them.
    """

    changed: Sequence[StoredDocument] = ()
    unchanged: Sequence[str] = ()
    unreadable: Sequence[Unreadable] = ()
    listings: Sequence[str] = ()
    resumed: Sequence[str] = ()
    met: Sequence[str] = ()
    checkpoints: Sequence[Checkpoint] = ()
    generation: str = ""
    moved: Sequence[Moved] = ()
    withdrawn: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeCounts:
    """Documents of a scope, its entries in quarantine, and how many of those are of documents that are not indexed."""

    documents: int
    quarantined: int
    absent: int


class State:
    """Open with `State.open(url)`; safe to share between threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reader = engine.execution_options(reads=True)

    @classmethod
    def configured(cls, settings: Settings) -> "State":
        """The state store of a configuration, as `open` does."""
        return cls.open(settings.state.url.get_secret_value() or f"sqlite:///{settings.data_dir / 'state.sqlite'}")

    @classmethod
    def open(cls, url: str) -> "State":
        """Open a state store and create or migrate its tables. Raises ConfigError when it cannot be, or is newer."""
        options = {"timeout": 30} if url.startswith("sqlite") else {}
        engine = sa.create_engine(url, connect_args=options, hide_parameters=True)  # they hold what people asked
        if engine.dialect.name == "sqlite":
            Path(engine.url.database or ".").parent.mkdir(parents=True, exist_ok=True)
            sa.event.listen(engine, "connect", _tune_sqlite)
            sa.event.listen(engine, "begin", _begin)
        shown = engine.url.render_as_string(hide_password=True)
        try:
            with engine.begin() as connection:
                migrate(connection)
        except sa.exc.SQLAlchemyError as err:
            raise ConfigError(f"The state store {shown} cannot be opened: {getattr(err, 'orig', err)}") from err
        sa.event.listen(engine, "handle_error", lambda context: _explain(context, shown))
        return cls(engine)

    def close(self) -> None:
        self._engine.dispose()

    def conversations(self, *, keep_s: float) -> Conversations:
        """The conversations that this store keeps."""
        return Conversations(self._engine, keep_s=keep_s)

    def keys(self) -> Keys:
        """The API keys that this store keeps."""
        return Keys(self._engine)

    def jobs(self) -> Jobs:
        """The jobs that this store keeps."""
        return Jobs(self._engine)

    # Runs and leases.

    @contextmanager
    def lease(self, source: str) -> Iterator[Lease]:
        """Hold a source for one run. Raises SourceBusy, naming the holder, while another run lives."""
        with self._engine.begin() as connection:
            lease = _acquire(connection, source)
        ended = threading.Event()
        heartbeat = threading.Thread(target=self._beat, args=(lease, ended), daemon=True)
        heartbeat.start()
        try:
            yield lease
        finally:
            ended.set()
            heartbeat.join()
            with self._engine.begin() as connection:
                connection.execute(sa.delete(leases).where(_mine(lease)))
                unfinished = sa.and_(runs.c.id == lease.run, runs.c.status == "running")
                connection.execute(sa.delete(runs).where(unfinished))  # a source that was only held

    def _beat(self, lease: Lease, ended: threading.Event) -> None:
        """Keep a lease alive through a slow batch; one that is lost is told by the next commit."""
        wait_s = LEASE_S / 3
        while not ended.wait(wait_s):
            try:
                self.renew(lease)
                wait_s = LEASE_S / 3
            except LeaseLost:
                return
            except (StateUnavailable, sa.exc.SQLAlchemyError):
                wait_s = LEASE_S / 30  # a store that is away for a moment costs no run

    def renew(self, lease: Lease) -> None:
        """Extend a lease. Raises LeaseLost when another run has taken it over."""
        with self._engine.begin() as connection:
            _renew(connection, lease)

    def finish(self, lease: Lease, *, status: str, report: Mapping[str, Any]) -> None:
        """Close a run."""
        with self._engine.begin() as connection:
            ended = {"ended_at": time.time(), "status": status, "report": json.dumps(report)}
            connection.execute(sa.update(runs).where(runs.c.id == lease.run).values(**ended))

    # Documents and notes.

    def known(self, source: str, document_ids: Sequence[str]) -> dict[str, StoredDocument]:
        found: dict[str, StoredDocument] = {}
        with self._reader.connect() as connection:
            for part in _parts(document_ids):
                query = sa.select(documents).where(documents.c.source == source, documents.c.document_id.in_(part))
                found |= {row.document_id: _stored(row) for row in connection.execute(query)}
        return found

    def commit(self, lease: Lease, changes: Changes) -> None:
        """Record a batch in one transaction. Raises LeaseLost, and records nothing, when the lease is lost."""
        with self._engine.begin() as connection:
            _renew(connection, lease)
            _begin_listings(connection, lease.source, changes.listings, since=lease.run)
            _put_notes(connection, lease.source, [_listing(scope, lease.run) for scope in changes.resumed])
            changed = [document.document_id for document in changes.changed]
            _delete_ids(connection, documents, lease.source, [*changed, *changes.withdrawn])
            if changed:
                connection.execute(sa.insert(documents), [_row(lease, document) for document in changes.changed])
            _stamp(connection, lease, [*changes.unchanged, *(event.document_id for event in changes.unreadable)])
            _stamp(connection, lease, changes.met)
            _stamp(connection, lease, changes.met, quarantine)
            _delete_ids(connection, quarantine, lease.source, [*changed, *changes.unchanged])
            for event in changes.unreadable:
                _set_aside(connection, lease, event)
            _put_notes(connection, lease.source, changes.checkpoints)
            put_moved(connection, changes.moved)
            if changes.generation:
                _put_source(connection, lease.source, {"generation": changes.generation})

    def remove(self, lease: Lease, document_ids: Sequence[str], *, generation: str = "") -> None:
        """Forget documents, and what was wrong with them. generation: as of `Changes`."""
        with self._engine.begin() as connection:
            _renew(connection, lease)
            if generation:
                _put_source(connection, lease.source, {"generation": generation})
            _delete_ids(connection, documents, lease.source, document_ids)
            _delete_ids(connection, quarantine, lease.source, document_ids)

    def listed(self, lease: Lease, listings: Sequence[Listed]) -> None:
        """Close listings of scopes: what was wrong with documents that they did not meet again is forgotten."""
        with self._engine.begin() as connection:
            _renew(connection, lease)
            for listing in listings:
                since = _listing_since(connection, lease.source, listing.scope) or lease.run
                met = sa.and_(quarantine.c.source == lease.source, quarantine.c.scope == listing.scope)
                connection.execute(sa.delete(quarantine).where(met, quarantine.c.seen_run < since))
                _put_notes(connection, lease.source, [Checkpoint(scope=listing.scope, name=LISTING, head=None)])
                if listing.checkpoint is not None:
                    _put_notes(connection, lease.source, [listing.checkpoint])

    def unlisted(self, lease: Lease, scope: str) -> list[StoredDocument]:
        """Documents of a scope that its listing did not meet."""
        with self._reader.connect() as connection:
            since = _listing_since(connection, lease.source, scope) or lease.run
            return _select(connection, lease.source, documents.c.scope == scope, documents.c.seen_run < since)

    def unseen(self, lease: Lease) -> list[StoredDocument]:
        """Documents that this run has not met."""
        with self._reader.connect() as connection:
            return _select(connection, lease.source, documents.c.seen_run != lease.run)

    def left_over(self, lease: Lease) -> list[StoredDocument]:
        """Documents that were not met since a run began to read all anew; none when no such read is under way."""
        with self._reader.connect() as connection:
            since = connection.scalar(sa.select(sources.c.format_since).where(sources.c.source == lease.source))
            return _select(connection, lease.source, documents.c.seen_run < since) if since is not None else []

    def generation(self, source: str) -> str:
        """What the index bears when it has all that this store knows of; empty before the first commit."""
        with self._reader.connect() as connection:
            found = connection.scalar(sa.select(sources.c.generation).where(sources.c.source == source))
        return str(found or "")

    def set_generation(self, lease: Lease, generation: str) -> None:
        with self._engine.begin() as connection:
            _renew(connection, lease)
            _put_source(connection, lease.source, {"generation": generation or None})

    def has_pending(self, source: str) -> bool:
        """Whether documents have to be indexed again."""
        here = sa.and_(documents.c.source == source, documents.c.version == "")
        with self._reader.connect() as connection:
            return connection.scalar(sa.select(documents.c.document_id).where(here).limit(1)) is not None

    def counts_of(self, source: str, scope: str) -> ScopeCounts:
        here = sa.and_(documents.c.source == source, documents.c.scope == scope)
        aside = sa.and_(quarantine.c.source == source, quarantine.c.scope == scope)
        indexed = sa.and_(documents.c.source == source, documents.c.document_id == quarantine.c.document_id)
        absent = sa.and_(aside, ~sa.exists(sa.select(documents.c.document_id).where(indexed)))
        with self._reader.connect() as connection:
            return ScopeCounts(
                documents=connection.scalar(sa.select(sa.func.count()).select_from(documents).where(here)) or 0,
                quarantined=connection.scalar(sa.select(sa.func.count()).select_from(quarantine).where(aside)) or 0,
                absent=connection.scalar(sa.select(sa.func.count()).select_from(quarantine).where(absent)) or 0,
            )

    def read_anew(self, lease: Lease) -> None:
        """Say that all of a source has been read anew."""
        with self._engine.begin() as connection:
            _put_source(connection, lease.source, {"format_since": None})

    def of_scope(self, source: str, scope: str) -> list[StoredDocument]:
        with self._reader.connect() as connection:
            return _select(connection, source, documents.c.scope == scope)

    def pages(self, source: str, *, size: int = 1000) -> Iterator[list[StoredDocument]]:
        """All documents of a source, a page at a time."""
        after: str | None = None
        while True:
            query = sa.select(documents).where(documents.c.source == source).order_by(documents.c.document_id)
            if after is not None:
                query = query.where(documents.c.document_id > after)
            with self._reader.connect() as connection:
                page = [_stored(row) for row in connection.execute(query.limit(size))]
            if not page:
                return
            yield page
            after = page[-1].document_id

    def quarantined_scopes(self, source: str) -> set[str]:
        """Scopes that have documents which could not be read."""
        with self._reader.connect() as connection:
            found = connection.scalars(sa.select(quarantine.c.scope).where(quarantine.c.source == source).distinct())
            return set(found)

    def scopes(self, source: str) -> set[str]:
        """Scopes that have documents."""
        with self._reader.connect() as connection:
            found = connection.scalars(sa.select(documents.c.scope).where(documents.c.source == source).distinct())
            return set(found)

    def counts(self, source: str) -> tuple[int, int]:
        """Numbers of a source's documents and chunks."""
        query = sa.select(sa.func.count(), sa.func.sum(documents.c.num_chunks)).where(documents.c.source == source)
        with self._reader.connect() as connection:
            row = connection.execute(query).one()
        return int(row[0]), int(row[1] or 0)

    def forget_scopes(self, lease: Lease, scopes: Iterable[str], lost: Sequence[str]) -> None:
        """Have scopes listed anew, and their lost documents indexed whatever their content."""
        with self._engine.begin() as connection:
            _renew(connection, lease)
            for part in _parts(lost):
                here = sa.and_(documents.c.source == lease.source, documents.c.document_id.in_(part))
                connection.execute(sa.update(documents).where(here).values(version="", chunk_ids="[]", num_chunks=0))
            _begin_listings(connection, lease.source, scopes, since=lease.run)

    def drop_scope_notes(self, lease: Lease, scopes: Iterable[str]) -> None:
        """Forget the notes and the quarantine of scopes that are no more."""
        with self._engine.begin() as connection:
            _renew(connection, lease)
            for scope in scopes:
                for table in (cursors, quarantine):
                    connection.execute(sa.delete(table).where(table.c.source == lease.source, table.c.scope == scope))

    def clear_quarantine(self, lease: Lease) -> None:
        """After a run that met every document: what it did not find unreadable again is well."""
        with self._engine.begin() as connection:
            stale = sa.and_(quarantine.c.source == lease.source, quarantine.c.seen_run != lease.run)
            connection.execute(sa.delete(quarantine).where(stale))

    def quarantined(self, source: str) -> list[dict[str, Any]]:
        query = sa.select(quarantine.c.document_id, quarantine.c.reason, quarantine.c.since)
        with self._reader.connect() as connection:
            rows = connection.execute(query.where(quarantine.c.source == source).order_by(quarantine.c.document_id))
            return [dict(row._mapping) for row in rows]

    def quarantine_page(
        self, sources: Sequence[str], *, after: tuple[str, str] | None, limit: int
    ) -> list[dict[str, Any]]:
        """Quarantined documents of some sources, by source and id, behind one of them."""
        columns = (quarantine.c.source, quarantine.c.document_id, quarantine.c.reason, quarantine.c.since)
        query = sa.select(*columns).where(quarantine.c.source.in_(list(sources)))
        if after is not None:
            here = sa.tuple_(quarantine.c.source, quarantine.c.document_id)
            query = query.where(here > sa.tuple_(*map(sa.literal, after)))
        with self._reader.connect() as connection:
            rows = connection.execute(query.order_by(quarantine.c.source, quarantine.c.document_id).limit(limit))
            return [dict(row._mapping) for row in rows]

    def sync_lag_s(self, sources: Iterable[str]) -> dict[str, float]:
        """Seconds since the start of the last run that brought a source in step; sources without one are left out."""
        last = sa.select(runs.c.source, sa.func.max(runs.c.started_at)).where(
            runs.c.status == "done", runs.c.source.in_(list(sources))
        )
        with self._reader.connect() as connection:
            return {row[0]: time.time() - row[1] for row in connection.execute(last.group_by(runs.c.source))}

    def retry(self, source: str) -> None:
        """Have the scopes of quarantined documents read again, changed or not."""
        with self._engine.begin() as connection:
            bad = sa.select(quarantine.c.scope).where(quarantine.c.source == source).distinct()
            _begin_listings(connection, source, connection.scalars(bad).all(), since=0)

    def format_of(self, source: str) -> str:
        """The format that a source was indexed in; empty when it never was."""
        with self._reader.connect() as connection:
            return str(connection.scalar(sa.select(sources.c.format).where(sources.c.source == source)) or "")

    def start_format(self, lease: Lease, fmt: str) -> None:
        """Begin to index a source in a format: notes made under another one are forgotten."""
        with self._engine.begin() as connection:
            _renew(connection, lease)
            connection.execute(sa.delete(cursors).where(cursors.c.source == lease.source))
            _put_source(connection, lease.source, {"format": fmt, "format_since": lease.run})

    # For people.

    def set_next_run(self, source: str, at: float | None) -> None:
        """Say when a schedule will run a source next."""
        with self._engine.begin() as connection:
            _put_source(connection, source, {"next_run_at": at})

    def summary(self, source: str) -> dict[str, Any]:
        """Counts of a source, how its changes are found, its last and next run, and its quarantine."""
        total, chunks = self.counts(source)
        with self._reader.connect() as connection:
            by_scope = sa.select(documents.c.scope, sa.func.count()).where(documents.c.source == source)
            sizes = {row[0]: row[1] for row in connection.execute(by_scope.group_by(documents.c.scope))}
            notes = sa.select(cursors.c.scope, cursors.c.head).where(
                cursors.c.source == source, cursors.c.name == "table"
            )
            tables = [
                {"table": row.scope, "documents": sizes.get(row.scope, 0), **json.loads(row.head).get("method", {})}
                for row in connection.execute(notes.order_by(cursors.c.scope))
            ]
            last = connection.execute(
                sa.select(runs).where(runs.c.source == source).order_by(runs.c.id.desc()).limit(1)
            ).first()
            next_run = connection.scalar(sa.select(sources.c.next_run_at).where(sources.c.source == source))
        return {
            "documents": total,
            "chunks": chunks,
            "tables": tables,
            "last_run": _run_out(last) if last is not None else None,
            "next_run_at": next_run,
            "quarantine": self.quarantined(source),
        }

    def sources(self) -> list[str]:
        """Names of all sources that have documents."""
        with self._reader.connect() as connection:
            return list(connection.scalars(sa.select(documents.c.source).distinct().order_by(documents.c.source)))

    def cursor(self, source: str, *, ignore: bool = False) -> "StoredNotes":
        """A source's notes; none of them when they are to be ignored."""
        return StoredNotes(engine=self._reader, source=source, ignore=ignore)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNotes:
    """A source's notes, as its next read gets them."""

    engine: sa.Engine = field(repr=False)
    source: str
    ignore: bool = False

    def find(self, *, scope: str | None = None, name: str | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
        if self.ignore:
            return
        query = sa.select(cursors.c.scope, cursors.c.name, cursors.c.head).where(cursors.c.source == self.source)
        if scope is not None:
            query = query.where(cursors.c.scope == scope)
        if name is not None:
            query = query.where(cursors.c.name == name)
        with self.engine.connect() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            yield row.scope, row.name, json.loads(row.head)

    def body(self, scope: str, name: str) -> bytes:
        here = sa.and_(cursors.c.source == self.source, cursors.c.scope == scope, cursors.c.name == name)
        with self.engine.connect() as connection:
            return bytes(connection.scalar(sa.select(cursors.c.body).where(here)) or b"")


def _acquire(connection: sa.Connection, source: str) -> Lease:
    holder, place = f"{socket.gethostname()}:{os.getpid()}", _place()
    row = connection.execute(sa.select(leases).where(leases.c.source == source)).first()
    now = _now(connection)
    if row is not None and row.expires_at > now and not (row.place == place and _ended(row.holder)):
        raise SourceBusy(
            f"Source {source!r} is being ingested by {row.holder}. Wait for it, or let its lease end "
            f"({row.expires_at - now:.0f} s)."
        )
    connection.execute(sa.delete(leases).where(leases.c.source == source))
    if row is not None:
        left = sa.and_(runs.c.source == source, runs.c.status == "running")
        connection.execute(sa.update(runs).where(left).values(status="broken", ended_at=time.time()))
    run = connection.execute(sa.insert(runs).values(source=source, started_at=time.time(), status="running"))
    lease = Lease(source=source, run=int((run.inserted_primary_key or (0,))[0]))
    values = {"source": source, "holder": holder, "place": place, "token": str(lease.run), "expires_at": now + LEASE_S}
    try:
        connection.execute(sa.insert(leases).values(**values))
    except sa.exc.IntegrityError as err:
        raise SourceBusy(f"Source {source!r} was taken by another run at this moment. Try again.") from err
    return lease


def _mine(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(leases.c.source == lease.source, leases.c.token == str(lease.run))


def _renew(connection: sa.Connection, lease: Lease) -> None:
    renewed = connection.execute(sa.update(leases).where(_mine(lease)).values(expires_at=_now(connection) + LEASE_S))
    if renewed.rowcount != 1:
        raise LeaseLost(
            f"Another run has taken over source {lease.source!r}; this one stops and has changed nothing since."
        )


def _now(connection: sa.Connection) -> float:
    """The store's own clock, so that machines whose clocks differ agree about a lease."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return time.time()


def _place() -> str:
    """Where process ids mean the same: a machine and its process namespace."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _ended(holder: str) -> bool:
    """Whether a lease's holder, a process of this machine, is seen to be gone."""
    pid = holder.rpartition(":")[2]
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return Path("/proc/self").exists()
    return state == "Z"


def _run_out(row: Any) -> dict[str, Any]:
    return {
        "status": row.status,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "report": json.loads(row.report) if row.report else None,
    }


def _stored(row: Any) -> StoredDocument:
    return StoredDocument(
        document_id=row.document_id,
        scope=row.scope,
        version=row.version,
        chunk_ids=tuple(json.loads(row.chunk_ids)),
        seen_run=row.seen_run,
    )


def _row(lease: Lease, document: StoredDocument) -> dict[str, Any]:
    return {
        "source": lease.source,
        "document_id": document.document_id,
        "scope": document.scope,
        "version": document.version,
        "chunk_ids": json.dumps(document.chunk_ids),
        "num_chunks": len(document.chunk_ids),
        "seen_run": lease.run,
    }


def _select(connection: sa.Connection, source: str, *where: sa.ColumnElement[bool]) -> list[StoredDocument]:
    rows = connection.execute(sa.select(documents).where(documents.c.source == source, *where))
    return [_stored(row) for row in rows]


def _stamp(connection: sa.Connection, lease: Lease, ids: Sequence[str], table: sa.Table = documents) -> None:
    for part in _parts(ids):
        here = sa.and_(table.c.source == lease.source, table.c.document_id.in_(part))
        connection.execute(sa.update(table).where(here).values(seen_run=lease.run))


def _set_aside(connection: sa.Connection, lease: Lease, event: Unreadable) -> None:
    here = sa.and_(quarantine.c.source == lease.source, quarantine.c.document_id == event.document_id)
    since = connection.scalar(sa.select(quarantine.c.since).where(here))
    connection.execute(sa.delete(quarantine).where(here))
    row = {
        "source": lease.source,
        "document_id": event.document_id,
        "scope": event.scope,
        "reason": masked(event.reason),
    }
    connection.execute(sa.insert(quarantine).values(**row, since=since or time.time(), seen_run=lease.run))


def _begin_listings(connection: sa.Connection, source: str, scopes: Iterable[str], *, since: int) -> None:
    """Forget the notes of scopes, and note that they have to be read whole: what of them is not met then is gone."""
    for scope in scopes:
        connection.execute(sa.delete(cursors).where(cursors.c.source == source, cursors.c.scope == scope))
        _put_notes(connection, source, [_listing(scope, since)])


def _listing(scope: str, since: int) -> Checkpoint:
    """The note of a listing under way: documents that no run since then has met are gone at its end."""
    return Checkpoint(scope=scope, name=LISTING, head={"since": since})


def _put_notes(connection: sa.Connection, source: str, notes: Sequence[Checkpoint]) -> None:
    """Keep notes, each in the place of an earlier one of its name; the last of a name counts."""
    latest = {(note.scope, note.name): note for note in notes}
    if not latest:
        return
    here = sa.and_(
        cursors.c.source == source, cursors.c.scope == sa.bindparam("s"), cursors.c.name == sa.bindparam("n")
    )
    connection.execute(sa.delete(cursors).where(here), [{"s": scope, "n": name} for scope, name in latest])
    rows = [
        {"source": source, "scope": n.scope, "name": n.name, "head": json.dumps(n.head), "body": n.body}
        for n in latest.values()
        if n.head is not None
    ]
    if rows:
        connection.execute(sa.insert(cursors), rows)


def _put_source(connection: sa.Connection, source: str, values: dict[str, Any]) -> None:
    updated = connection.execute(sa.update(sources).where(sources.c.source == source).values(**values))
    if updated.rowcount == 0:
        connection.execute(sa.insert(sources).values(**{"source": source, "format": "", **values}))


def _listing_since(connection: sa.Connection, source: str, scope: str) -> int | None:
    here = sa.and_(cursors.c.source == source, cursors.c.scope == scope, cursors.c.name == LISTING)
    head = connection.scalar(sa.select(cursors.c.head).where(here))
    return int(json.loads(head)["since"]) if head is not None else None


def _delete_ids(connection: sa.Connection, table: sa.Table, source: str, document_ids: Sequence[str]) -> None:
    for part in _parts(document_ids):
        connection.execute(sa.delete(table).where(table.c.source == source, table.c.document_id.in_(part)))


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + 500] for start in range(0, len(ids), 500))


def _explain(context: Any, shown: str) -> None:
    """Say what to do about a store that fails: a full disk, a lock, a server that is away."""
    if isinstance(context.original_exception, context.dialect.loaded_dbapi.IntegrityError):
        return
    reason = " ".join(str(context.original_exception).split())[:300]
    raise StateUnavailable(
        f"The state store {shown} failed: {reason}. What was committed before stays, and the next run goes on there: "
        "make room on its disk, or see that it can be reached and written."
    ) from context.original_exception


def _tune_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins, so that a writer takes its lock at once
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin(connection: sa.Connection) -> None:
    """A writer takes its lock at once, so that it never fails half-way; a reader takes none."""
    reads = connection.get_execution_options().get("reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

"""The ledger of what is indexed, in the state store: what syncing knows of earlier runs, and what it records."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from rag.boundary.secrets import masked
from rag.events import Checkpoint, Listed, Unreadable
from rag.ports import LISTING, Notes
from service.store.database import Database
from service.store.ledger.leases import LEASE_S, acquire, heartbeat, release, renew
from service.store.ledger.moved import put_moved
from service.store.ledger.notes import StoredNotes, begin_listings, listing_note, listing_since, put_notes
from service.store.ledger.ports import Changes, Lease, ScopeCounts, StoredDocument
from service.store.schema import cursors, documents, quarantine, runs, sources


class StoredLedger:
    """A `Ledger` (service/store/ledger/ports.py) in a database; safe to share between threads."""

    def __init__(self, database: Database, *, lease_s: float = LEASE_S) -> None:
        """lease_s: how long a run that is not heard of keeps its source."""
        self._database = database
        self._lease_s = lease_s

    @contextmanager
    def lease(self, source: str) -> Iterator[Lease]:
        with self._database.write() as connection:
            lease = acquire(connection, source, lease_s=self._lease_s)
        try:
            with heartbeat(lambda: self.renew(lease), lease_s=self._lease_s):
                yield lease
        finally:
            with self._database.write() as connection:
                release(connection, lease)

    def renew(self, lease: Lease) -> None:
        with self._writing(lease):
            pass

    def finish(self, lease: Lease, *, status: str, report: Mapping[str, Any]) -> None:
        with self._database.write() as connection:
            ended = {"ended_at": time.time(), "status": status, "report": json.dumps(report)}
            connection.execute(sa.update(runs).where(runs.c.id == lease.run).values(**ended))

    def known(self, source: str, document_ids: Sequence[str]) -> dict[str, StoredDocument]:
        found: dict[str, StoredDocument] = {}
        with self._database.read() as connection:
            for part in _parts(document_ids):
                query = sa.select(documents).where(documents.c.source == source, documents.c.document_id.in_(part))
                found |= {row.document_id: _stored(row) for row in connection.execute(query)}
        return found

    def of_scope(self, source: str, scope: str) -> list[StoredDocument]:
        return self._select(source, documents.c.scope == scope)

    def pages(self, source: str, *, size: int = 1000) -> Iterator[list[StoredDocument]]:
        after: str | None = None
        while True:
            query = sa.select(documents).where(documents.c.source == source).order_by(documents.c.document_id)
            if after is not None:
                query = query.where(documents.c.document_id > after)
            with self._database.read() as connection:
                page = [_stored(row) for row in connection.execute(query.limit(size))]
            if not page:
                return
            yield page
            after = page[-1].document_id

    def scopes(self, source: str) -> set[str]:
        return self._scopes_in(documents, source)

    def counts(self, source: str) -> tuple[int, int]:
        query = sa.select(sa.func.count(), sa.func.sum(documents.c.num_chunks)).where(documents.c.source == source)
        with self._database.read() as connection:
            row = connection.execute(query).one()
        return int(row[0]), int(row[1] or 0)

    def counts_of(self, source: str, scope: str) -> ScopeCounts:
        here = sa.and_(documents.c.source == source, documents.c.scope == scope)
        aside = sa.and_(quarantine.c.source == source, quarantine.c.scope == scope)
        indexed = sa.and_(documents.c.source == source, documents.c.document_id == quarantine.c.document_id)
        absent = sa.and_(aside, ~sa.exists(sa.select(documents.c.document_id).where(indexed)))
        with self._database.read() as connection:
            return ScopeCounts(
                documents=connection.scalar(sa.select(sa.func.count()).select_from(documents).where(here)) or 0,
                quarantined=connection.scalar(sa.select(sa.func.count()).select_from(quarantine).where(aside)) or 0,
                absent=connection.scalar(sa.select(sa.func.count()).select_from(quarantine).where(absent)) or 0,
            )

    def has_pending(self, source: str) -> bool:
        here = sa.and_(documents.c.source == source, documents.c.version == "")
        with self._database.read() as connection:
            return connection.scalar(sa.select(documents.c.document_id).where(here).limit(1)) is not None

    def commit(self, lease: Lease, changes: Changes) -> None:
        with self._writing(lease) as connection:
            begin_listings(connection, lease.source, changes.listings, since=lease.run)
            put_notes(connection, lease.source, [listing_note(scope, lease.run) for scope in changes.resumed])
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
            put_notes(connection, lease.source, changes.checkpoints)
            put_moved(connection, changes.moved)
            if changes.generation:
                put_source(connection, lease.source, {"generation": changes.generation})

    def remove(self, lease: Lease, document_ids: Sequence[str], *, generation: str = "") -> None:
        with self._writing(lease) as connection:
            if generation:
                put_source(connection, lease.source, {"generation": generation})
            _delete_ids(connection, documents, lease.source, document_ids)
            _delete_ids(connection, quarantine, lease.source, document_ids)

    def forget_scopes(self, lease: Lease, scopes: Iterable[str], lost: Sequence[str]) -> None:
        with self._writing(lease) as connection:
            for part in _parts(lost):
                here = sa.and_(documents.c.source == lease.source, documents.c.document_id.in_(part))
                connection.execute(sa.update(documents).where(here).values(version="", chunk_ids="[]", num_chunks=0))
            begin_listings(connection, lease.source, scopes, since=lease.run)

    def drop_scope_notes(self, lease: Lease, scopes: Iterable[str]) -> None:
        with self._writing(lease) as connection:
            for scope in scopes:
                for table in (cursors, quarantine):
                    connection.execute(sa.delete(table).where(table.c.source == lease.source, table.c.scope == scope))

    def notes(self, source: str, *, ignore: bool = False) -> Notes:
        return StoredNotes(database=self._database, source=source, ignore=ignore)

    def listed(self, lease: Lease, listings: Sequence[Listed]) -> None:
        with self._writing(lease) as connection:
            for listing in listings:
                since = listing_since(connection, lease.source, listing.scope) or lease.run
                met = sa.and_(quarantine.c.source == lease.source, quarantine.c.scope == listing.scope)
                connection.execute(sa.delete(quarantine).where(met, quarantine.c.seen_run < since))
                put_notes(connection, lease.source, [Checkpoint(scope=listing.scope, name=LISTING, head=None)])
                if listing.checkpoint is not None:
                    put_notes(connection, lease.source, [listing.checkpoint])

    def unlisted(self, lease: Lease, scope: str) -> list[StoredDocument]:
        with self._database.read() as connection:
            since = listing_since(connection, lease.source, scope) or lease.run
        return self._select(lease.source, documents.c.scope == scope, documents.c.seen_run < since)

    def unseen(self, lease: Lease) -> list[StoredDocument]:
        return self._select(lease.source, documents.c.seen_run != lease.run)

    def quarantined(self, source: str) -> list[dict[str, Any]]:
        with self._database.read() as connection:
            return quarantined(connection, source)

    def quarantined_scopes(self, source: str) -> set[str]:
        return self._scopes_in(quarantine, source)

    def clear_quarantine(self, lease: Lease) -> None:
        with self._writing(lease) as connection:
            stale = sa.and_(quarantine.c.source == lease.source, quarantine.c.seen_run != lease.run)
            connection.execute(sa.delete(quarantine).where(stale))

    def retry(self, source: str) -> None:
        with self._database.write() as connection:
            bad = sa.select(quarantine.c.scope).where(quarantine.c.source == source).distinct()
            begin_listings(connection, source, connection.scalars(bad).all(), since=0)

    def format_of(self, source: str) -> str:
        return str(self._of_source(source, sources.c.format) or "")

    def start_format(self, lease: Lease, fmt: str) -> None:
        with self._writing(lease) as connection:
            connection.execute(sa.delete(cursors).where(cursors.c.source == lease.source))
            put_source(connection, lease.source, {"format": fmt, "format_since": lease.run})

    def left_over(self, lease: Lease) -> list[StoredDocument]:
        since = self._of_source(lease.source, sources.c.format_since)
        return self._select(lease.source, documents.c.seen_run < since) if since is not None else []

    def read_anew(self, lease: Lease) -> None:
        with self._writing(lease) as connection:
            put_source(connection, lease.source, {"format_since": None})

    def generation(self, source: str) -> str:
        return str(self._of_source(source, sources.c.generation) or "")

    def set_generation(self, lease: Lease, generation: str) -> None:
        with self._writing(lease) as connection:
            put_source(connection, lease.source, {"generation": generation or None})

    @contextmanager
    def _writing(self, lease: Lease) -> Iterator[sa.Connection]:
        """A transaction of a run that still holds its source."""
        with self._database.write() as connection:
            renew(connection, lease, lease_s=self._lease_s)
            yield connection

    def _select(self, source: str, *where: sa.ColumnElement[bool]) -> list[StoredDocument]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(documents).where(documents.c.source == source, *where))
            return [_stored(row) for row in rows]

    def _scopes_in(self, table: sa.Table, source: str) -> set[str]:
        with self._database.read() as connection:
            return set(connection.scalars(sa.select(table.c.scope).where(table.c.source == source).distinct()))

    def _of_source(self, source: str, column: sa.Column[Any]) -> Any:
        with self._database.read() as connection:
            return connection.scalar(sa.select(column).where(sources.c.source == source))


def quarantined(connection: sa.Connection, source: str) -> list[dict[str, Any]]:
    """What of a source could not be read, as document_id, reason and since, by document id."""
    query = sa.select(quarantine.c.document_id, quarantine.c.reason, quarantine.c.since)
    rows = connection.execute(query.where(quarantine.c.source == source).order_by(quarantine.c.document_id))
    return [dict(row._mapping) for row in rows]


def put_source(connection: sa.Connection, source: str, values: Mapping[str, Any]) -> None:
    """Note something of a source as a whole."""
    updated = connection.execute(sa.update(sources).where(sources.c.source == source).values(**values))
    if updated.rowcount == 0:
        connection.execute(sa.insert(sources).values(**{"source": source, "format": "", **values}))


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


def _delete_ids(connection: sa.Connection, table: sa.Table, source: str, document_ids: Sequence[str]) -> None:
    for part in _parts(document_ids):
        connection.execute(sa.delete(table).where(table.c.source == source, table.c.document_id.in_(part)))


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + 500] for start in range(0, len(ids), 500))

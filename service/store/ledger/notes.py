"""What sources noted in earlier reads, and which listings of their scopes are under way."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from rag.events import Checkpoint
from rag.ports import LISTING
from service.store.database import Database
from service.store.schema import cursors


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNotes:
    """A source's notes, as its next read gets them; none of them where they are to be ignored."""

    database: Database
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
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            yield row.scope, row.name, json.loads(row.head)

    def body(self, scope: str, name: str) -> bytes:
        here = sa.and_(cursors.c.source == self.source, cursors.c.scope == scope, cursors.c.name == name)
        with self.database.read() as connection:
            return bytes(connection.scalar(sa.select(cursors.c.body).where(here)) or b"")


def put_notes(connection: sa.Connection, source: str, notes: Sequence[Checkpoint]) -> None:
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


def begin_listings(connection: sa.Connection, source: str, scopes: Iterable[str], *, since: int) -> None:
    """Forget the notes of scopes, and note that they have to be read whole: what of them is not met then is gone."""
    for scope in scopes:
        connection.execute(sa.delete(cursors).where(cursors.c.source == source, cursors.c.scope == scope))
        put_notes(connection, source, [listing_note(scope, since)])


def listing_note(scope: str, since: int) -> Checkpoint:
    """The note of a listing under way: documents that no run since then has met are gone at its end."""
    return Checkpoint(scope=scope, name=LISTING, head={"since": since})


def listing_since(connection: sa.Connection, source: str, scope: str) -> int | None:
    """The run that began the listing of a scope; None when none is under way."""
    here = sa.and_(cursors.c.source == source, cursors.c.scope == scope, cursors.c.name == LISTING)
    head = connection.scalar(sa.select(cursors.c.head).where(here))
    return int(json.loads(head)["since"]) if head is not None else None

"""Chunks whose document got another id, so that conversations that stand on them are not forgotten."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from service.store.ledger.ports import Moved
from service.store.schema import conversations, moved

_PART = 500


def put_moved(connection: sa.Connection, chunks: Sequence[Moved]) -> None:
    """Note chunks that moved; nothing where there is no conversation that could stand on one."""
    if not chunks or connection.scalar(sa.select(conversations.c.conversation).limit(1)) is None:
        return
    latest = {chunk.old: chunk for chunk in chunks}
    for part in _parts([*latest, *(chunk.new for chunk in chunks)]):  # what has come back is where it was
        connection.execute(sa.delete(moved).where(moved.c.old.in_(part)))
    followed = sa.update(moved).where(moved.c.new == sa.bindparam("was"))
    values: dict[str, Any] = {"new": sa.bindparam("is_now"), "document_id": sa.bindparam("in_document")}
    steps = [{"was": c.old, "is_now": c.new, "in_document": c.document_id} for c in latest.values()]
    connection.execute(followed.values(**values), steps)
    now = time.time()
    rows = [{"old": c.old, "new": c.new, "document_id": c.document_id, "at": now} for c in latest.values()]
    connection.execute(sa.insert(moved), rows)


def where_now(connection: sa.Connection, chunk_ids: Iterable[str]) -> Mapping[str, Moved]:
    """Those of the chunks that moved, by the id that they had."""
    rows = (
        row
        for part in _parts(list(chunk_ids))
        for row in connection.execute(sa.select(moved).where(moved.c.old.in_(part)))
    )
    return {row.old: Moved(old=row.old, new=row.new, document_id=row.document_id) for row in rows}


def forget_moved(connection: sa.Connection, before: float) -> None:
    connection.execute(sa.delete(moved).where(moved.c.at <= before))


def _parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + _PART] for start in range(0, len(ids), _PART))

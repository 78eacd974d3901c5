"""Changes by a column that moves with every one of them: the rows since the mark that the last read left."""

from collections.abc import Iterator, Mapping
from typing import Any

from connectors.sql.changes.noting import TableRead
from connectors.sql.changes.patience import Patience
from connectors.sql.keys import Key, decode, encode
from rag.events import Checkpoint, SourceEvent, Tombstone


def mark_of(scope: str, newest: Any, reconciled_at: float) -> Checkpoint:
    """A note of the column's largest value, and of when the whole table was compared (seconds since the epoch)."""
    head = {"value": encode([newest]), "reconciled_at": reconciled_at}
    return Checkpoint(scope=scope, name="mark", head=head)


def since_mark(read: TableRead, mark: Mapping[str, Any], patience: Patience) -> Iterator[SourceEvent]:
    """Yield the rows whose cursor column says that they are new, and those at the edge of what was read before."""
    reader = read.reader
    (newest,) = decode(mark["value"])
    last: Key | None = None
    while True:
        limit = reader.size.rows
        found = reader.without_cursor(last, limit=limit)
        yield from map(read.event, found)
        if len(found) < limit:
            break
        last = found[-1].key
    if newest is None:
        return
    start = patience.start(newest)
    for dead in (False, True) if reader.tombstone else (False,):
        after: Key | None = None
        while True:
            limit = reader.size.rows
            page = reader.since(start, after, limit=limit, dead=dead)
            for _, row in page:
                yield Tombstone(document_id=f"{read.scope}/{row.name}") if dead else read.event(row)
            if len(page) < limit:
                break
            after = (page[-1][0], *page[-1][1].key)

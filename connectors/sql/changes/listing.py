"""A whole read of a table, which can be gone on with where it was broken off."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from connectors.sql.changes.cursor import mark_of
from connectors.sql.changes.noting import TableRead
from connectors.sql.changes.ranges import Range
from connectors.sql.keys import Key
from rag.events import Checkpoint, Expected, Listed, Listing, Met, SourceEvent


def list_table(
    read: TableRead, signature: dict[str, Any], *, after: Range | None = None, noted: Sequence[Range] = ()
) -> Iterator[SourceEvent]:
    """Yield every row, from the start or after the last of the ranges that an interrupted listing noted."""
    reader = read.reader
    head = {"signature": signature, "listing": True, "method": reader.method.as_dict(), "new": read.is_new}
    yield Listing(scope=read.scope, resumes=after is not None, by_content=read.is_new)
    for r in noted:
        yield Met(document_ids=tuple(f"{read.scope}/{name}" for name in read.split(r).old))
    if after is None:
        read.rows = {}
        yield Checkpoint(scope=read.scope, name="table", head=head)
    if not read.is_counted:
        yield Expected(documents=max(reader.count() - sum(read.rows.values()), 0))
    started = time.time()
    newest = reader.newest() if reader.method.name == "cursor" else None
    if after is None or after.high is not None:  # else only the end of the listing was not kept
        yield from _rows(read, after.high if after is not None else None)
    if reader.method.name == "cursor":
        yield mark_of(read.scope, newest, started)
    yield Listed(
        scope=read.scope,
        checkpoint=Checkpoint(scope=read.scope, name="table", head=head | {"listing": False, "new": False}),
    )


def _rows(read: TableRead, low: Key | None) -> Iterator[SourceEvent]:
    """Yield all rows after a key, and note each piece as soon as it is read, so that a listing can be gone on with."""
    for page, last in read.reader.pages(low, None):
        for start in range(0, max(len(page), 1), read.range_rows):
            piece = page[start : start + read.range_rows]
            yield from map(read.event, piece)
            ends = last and start + read.range_rows >= len(page)
            noted = Range(number=read.number(), low=low, high=None if ends else piece[-1].key)
            yield read.note(noted, piece)
            low = noted.high

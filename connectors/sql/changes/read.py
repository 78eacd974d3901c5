"""What changed in a table since the notes of its last read.

The table is noted as ranges of keys that together cover all keys: each with its bounds, the number of its rows and the
sum of their digests, and in its body each row's digest. A range whose number and sum are the same in the database is
not read. Of one that differs, keys and digests are read; then the rows that differ, and nothing else.

Two things are never given up. The ranges are disjoint and cover all keys: one that is split is noted with all its
pieces at once or not at all (CheckpointGroup), and notes that do not hold together are dropped. And a row is gone only
where its range was read, in order, and it was not in it: a look-up of its key that finds nothing shows nothing.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from connectors.sql.changes.comparing import compare
from connectors.sql.changes.cursor import mark_of, since_mark
from connectors.sql.changes.listing import list_table
from connectors.sql.changes.noting import TableRead
from connectors.sql.changes.patience import Patience
from connectors.sql.changes.ranges import Range, in_order, range_of
from connectors.sql.changes.signature import drift, signature_of
from connectors.sql.table.reader import TableReader
from rag.events import Checkpoint, Notice, ScopeComplete, SourceEvent, Unreadable
from rag.ports import Notes


def read_changes(
    reader: TableReader, notes: Notes | None, patience: Patience, *, is_counted: bool = False
) -> Iterator[SourceEvent]:
    """Yield what changed in a table since the notes of earlier reads; all of it when there are none that still hold.

    is_counted: how many rows a table has of which nothing is noted has been told.
    """
    read = TableRead(reader=reader, notes=notes, is_counted=is_counted)
    heads = {name: head for _, name, head in notes.find(scope=read.scope)} if notes is not None else {}
    head = heads.get("table")
    found = [range_of(name, note) for name, note in heads.items() if name.startswith("range-")]
    ranges = in_order(found)
    read.next_number = max((r.number for r in found), default=0)
    read.is_new = head is None or head.get("new", False)
    now = signature_of(reader)
    counts = True  # whether every range is compared, so that their rows are the table's
    if head is None or head["signature"] != now:
        if head is not None and (changed := drift(head["signature"], now, read.scope)):
            yield Notice(text=changed)
        yield from list_table(read, now)
    elif ranges is None or not (head["listing"] or (ranges and ranges[-1].high is None)):
        yield Notice(
            text=f"Table {read.scope}: what its last read noted is inconsistent. All its rows are compared again."
        )
        yield from list_table(read, now)
    elif head["listing"]:
        read.rows = {r.number: r.rows for r in ranges}
        yield from compare(read, ranges)
        yield from list_table(read, now, after=ranges[-1] if ranges else None, noted=ranges)
    elif _is_worn(ranges):
        yield from list_table(read, now)
    else:
        read.rows = {r.number: r.rows for r in ranges}
        counts = yield from _changes(read, ranges, heads.get("mark"), patience)
    without_key = yield from _rows_without_key(read, heads.get("no-key"))
    yield ScopeComplete(scope=read.scope, documents=sum(read.rows.values()) + without_key if counts else None)


def _is_worn(ranges: Sequence[Range]) -> bool:
    """Whether so many ranges are empty that the table is better noted anew."""
    return len(ranges) > 64 and sum(r.rows == 0 for r in ranges) > len(ranges) / 2


def _changes(
    read: TableRead, ranges: Sequence[Range], mark: Mapping[str, Any] | None, patience: Patience
) -> Generator[SourceEvent, None, bool]:
    """Yield what changed. Returns whether every range was compared."""
    if read.reader.method.name != "cursor":
        yield from compare(read, ranges)
        return True
    newest = read.reader.newest()
    reconciled_at = float(mark["reconciled_at"]) if mark is not None else 0.0
    if mark is not None:
        yield from since_mark(read, mark, patience)
    due = patience.is_due(reconciled_at, time.time())
    if due:
        reconciled_at = time.time()
        yield from compare(read, ranges)
    yield mark_of(read.scope, newest, reconciled_at)
    return due


def _rows_without_key(read: TableRead, noted: Mapping[str, Any] | None) -> Generator[SourceEvent, None, int]:
    """SQLite, and a key given in the configuration, allow NULL in a key; such rows are reported, not lost silently.

    Returns 1 where there are any: together they are one entry of what was set aside.
    """
    count = read.reader.count_without_key() if read.reader.table.nullable_key else 0
    document_id = f"{read.scope}/NULL"
    if count:
        columns = ", ".join(read.reader.table.key)
        reason = f"{count} rows have NULL in their key ({columns}); give every row a key, or name another in keys"
        yield Unreadable(document_id=document_id, scope=read.scope, reason=reason)
        yield Checkpoint(scope=read.scope, name="no-key", head={"rows": count})
    elif noted is not None:
        yield Checkpoint(scope=read.scope, name="no-key", head=None, gone=(document_id,))
    return int(count > 0)

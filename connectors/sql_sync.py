"""What changed in a table since the notes of its last read.

The table is noted as ranges of keys that together cover all keys: each with its bounds, the number of its rows and the
sum of their digests, and in its body each row's digest. A range whose number and sum are the same in the database is
not read. Of one that differs, keys and digests are read; then the rows that differ, and nothing else.
"""

import json
import time
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from connectors.sql_keys import Key, decode, encode
from connectors.sql_table import Row, TableReader
from rag.ports import Cursor
from rag.types import Checkpoint, Expected, Listed, Listing, Note, SourceEvent, Tombstone, Unreadable

_PAGE_ROWS = 1024
_MOST_PIECES = 8  # that a range is cut into when it is refreshed; one that has grown more is read in pages
_FORMAT = 1  # of rendered rows and of notes: a change has every table read and compared anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a cursor column is trusted: rows this much older than the newest are read again, and every so often the
    whole table is compared (0: in every run)."""

    overlap_s: float = 300.0
    reconcile_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    """Keys after low, up to high (None: no limit), as the last read found them."""

    number: int
    low: Key | None
    high: Key | None
    rows: int = 0
    total: int = 0

    @property
    def name(self) -> str:
        return f"range-{self.number}"


@dataclass(slots=True, kw_only=True)
class _Sync:
    """A table's read under way."""

    reader: TableReader
    cursor: Cursor | None
    patience: Patience
    next_number: int = 0
    gone: list[str] = field(default_factory=list)

    @property
    def scope(self) -> str:
        return self.reader.table.name

    @property
    def range_rows(self) -> int:
        """Rows of a range: fewer where it costs the database nothing to tell many ranges apart."""
        return 64 if self.reader.counts_keys else 256

    @property
    def group_ranges(self) -> int:
        """Ranges of one statement."""
        return 500 if self.reader.counts_keys else 40

    def number(self) -> int:
        self.next_number += 1
        return self.next_number


def read_changes(reader: TableReader, cursor: Cursor | None, patience: Patience) -> Iterator[SourceEvent]:
    """Yield what changed in a table since the cursor's notes; all of it when there are none that still hold."""
    sync = _Sync(reader=reader, cursor=cursor, patience=patience)
    notes = {name: head for _, name, head in cursor.find(scope=sync.scope)} if cursor is not None else {}
    head = notes.get("table")
    ranges = sorted((_range(name, note) for name, note in notes.items() if name.startswith("range-")), key=_number)
    sync.next_number = ranges[-1].number if ranges else 0
    now = _signature(reader)
    if head is None or head["signature"] != now:
        if head is not None and (drift := _drift(head["signature"], now, sync.scope)):
            yield Note(text=drift)
        yield from _list(sync, now, after=None)
    elif head["listing"]:
        yield from _compare(sync, ranges)
        yield from _list(sync, now, after=ranges[-1] if ranges else None)
    elif not any(r.high is None for r in ranges) or _is_worn(ranges):
        yield from _list(sync, now, after=None)
    else:
        yield from _changes(sync, ranges, notes.get("mark"))
    yield from _rows_without_key(sync, notes.get("no-key"))


def _number(r: _Range) -> int:
    return r.number


def _is_worn(ranges: Sequence[_Range]) -> bool:
    """Whether so many ranges are empty that the table is better noted anew."""
    return len(ranges) > 64 and sum(r.rows == 0 for r in ranges) > len(ranges) / 2


def _signature(reader: TableReader) -> dict[str, Any]:
    """All that a row's text and digest hang on, besides its values."""
    table = reader.table
    return {
        "format": _FORMAT,
        "method": [reader.method.name, reader.method.column, reader.tombstone],
        "columns": {name: repr(column_type) for name, column_type in table.columns.items()},
        "key": list(table.key),
        "comments": [table.comment, {name: comment for name, comment in table.column_comments.items() if comment}],
        "references": [[list(r.columns), r.table, list(r.referenced), list(r.labels)] for r in table.references],
        "labels": list(table.labels),
        "place": [asdict(reader.place.labels), reader.place.address],
    }


def _drift(before: Mapping[str, Any], now: Mapping[str, Any], scope: str) -> str:
    """What changed in a table's schema, in a sentence; empty when no column did."""
    old, new = before["columns"], now["columns"]
    parts = [f"column {name} is new" for name in new if name not in old]
    parts += [f"column {name} is gone" for name in old if name not in new]
    parts += [
        f"column {name} is {new[name]}, was {old[name]}" for name in new if name in old and new[name] != old[name]
    ]
    if not parts:
        return ""
    return f"Table {scope}: {'; '.join(parts)}. Its rows are compared anew; those whose text changed are indexed again."


# A whole read.


def _list(sync: _Sync, signature: dict[str, Any], *, after: _Range | None) -> Iterator[SourceEvent]:
    """Yield every row, from the start or after the last range that an interrupted listing noted."""
    reader = sync.reader
    head = {"signature": signature, "listing": True, "method": reader.method.as_dict()}
    yield Listing(scope=sync.scope, resumes=after is not None)
    if after is None:
        yield Checkpoint(scope=sync.scope, name="table", head=head)
    yield Expected(documents=max(reader.count(), 0))
    started = time.time()
    mark = reader.newest() if reader.method.name == "cursor" else None
    low = after.high if after is not None else None
    yield from _pages(sync, _Range(number=sync.number(), low=low, high=None), old={})
    if reader.method.name == "cursor":
        yield _mark(sync, mark, started)
    yield Listed(
        scope=sync.scope, checkpoint=Checkpoint(scope=sync.scope, name="table", head=head | {"listing": False})
    )


def _pages(sync: _Sync, whole: _Range, old: dict[str, int]) -> Iterator[SourceEvent]:
    """Read a range in pages, yield the rows whose digest is new, and note it in pieces; the last keeps its number."""
    low, gone = whole.low, set(old)
    while True:
        page = sync.reader.page(low, whole.high, limit=_PAGE_ROWS)
        gone.difference_update(row.name for row in page)
        last = len(page) < _PAGE_ROWS
        for start in range(0, max(len(page), 1), sync.range_rows):
            piece = page[start : start + sync.range_rows]
            for row in piece:
                if row.digest != old.get(row.name):
                    yield sync.reader.event(row)
            ends = last and start + sync.range_rows >= len(page)
            high = whole.high if ends else piece[-1].key
            noted = _Range(number=whole.number if ends else sync.number(), low=low, high=high)
            yield _note(sync, noted, {row.name: row.digest for row in piece}, gone if ends else ())
            low = high
        if last:
            return


# A read of changes.


def _changes(sync: _Sync, ranges: Sequence[_Range], mark: Mapping[str, Any] | None) -> Iterator[SourceEvent]:
    if sync.reader.method.name != "cursor":
        yield from _compare(sync, ranges)
        return
    newest = sync.reader.newest()
    reconciled_at = float(mark["reconciled_at"]) if mark is not None else 0.0
    if mark is not None:
        yield from _since(sync, mark)
    if time.time() - reconciled_at >= sync.patience.reconcile_s:
        reconciled_at = time.time()
        yield from _compare(sync, ranges)
    yield _mark(sync, newest, reconciled_at)


def _compare(sync: _Sync, ranges: Sequence[_Range]) -> Iterator[SourceEvent]:
    """Refresh the ranges that differ from their notes, a group in as few statements as can be."""
    if sync.reader.counts_keys:
        ranges = sorted(ranges, key=lambda r: (r.low is not None, r.low or ()))
    for start in range(0, len(ranges), sync.group_ranges):
        group = ranges[start : start + sync.group_ranges]
        if not sync.reader.hashes_inside:
            for r in group:
                yield from _refresh(sync, [r])
            continue
        most = _MOST_PIECES * sync.range_rows
        pairs = zip(group, sync.reader.sums([(r.low, r.high) for r in group]), strict=True)
        different = [(r, rows) for r, (rows, total) in pairs if (rows, total) != (r.rows, r.total)]
        for r, rows in different:
            if rows > most:
                yield from _pages(sync, r, _digests_of(sync, r))
        yield from _refresh(sync, [r for r, rows in different if rows <= most])


def _digests_of(sync: _Sync, r: _Range) -> dict[str, int]:
    """A range's rows as they were noted: their names and digests."""
    body = sync.cursor.body(sync.scope, r.name) if sync.cursor is not None else b""
    return dict(json.loads(zlib.decompress(body))) if body else {}


def _refresh(sync: _Sync, ranges: Sequence[_Range]) -> Iterator[SourceEvent]:
    """Yield the rows of ranges that differ, and note the ranges anew."""
    if not ranges:
        return
    limit = _MOST_PIECES * sync.range_rows * len(ranges)
    found = sync.reader.digests([(r.low, r.high) for r in ranges], limit=limit + 1)
    if sum(map(len, found)) > limit:  # they have grown meanwhile, or nobody had counted them
        for r in ranges:
            yield from _pages(sync, r, _digests_of(sync, r))
        return
    olds = [_digests_of(sync, r) for r in ranges]
    different = [
        row
        for rows, old in zip(found, olds, strict=True)
        for row in rows
        if row.digest != old.get(row.name) or row.error
    ]
    now = {row.name: row.digest for rows in found for row in rows}
    for row in different if all(row.values or row.error for row in different) else _reread(sync, different, now):
        yield sync.reader.event(row)
    for r, rows, old in zip(ranges, found, olds, strict=True):
        digests = {row.name: now[row.name] for row in rows if row.name in now}
        if digests != old:
            yield from _note_pieces(
                sync, r, [row for row in rows if row.name in now], digests, old.keys() - digests.keys()
            )


def _reread(sync: _Sync, different: Sequence[Row], now: dict[str, int]) -> list[Row]:
    """The rows themselves, as they are at this moment: some may have changed again, or gone."""
    rows = list(sync.reader.by_keys([row.key for row in different]))
    for row in different:
        del now[row.name]
    now.update((row.name, row.digest) for row in rows)
    return rows


def _note_pieces(
    sync: _Sync, r: _Range, rows: Sequence[Row], digests: Mapping[str, int], gone: Collection[str]
) -> Iterator[Checkpoint]:
    """Note a range, in pieces when it has grown; the last piece keeps its number and tells what is gone."""
    starts = range(0, len(rows), sync.range_rows) if len(rows) > 2 * sync.range_rows else [0]
    low = r.low
    for start in starts:
        ends = start == starts[-1]
        piece = rows[start:] if ends else rows[start : start + sync.range_rows]
        high = r.high if ends else piece[-1].key
        noted = _Range(number=r.number if ends else sync.number(), low=low, high=high)
        yield _note(sync, noted, {row.name: digests[row.name] for row in piece}, gone if ends else ())
        low = high


def _since(sync: _Sync, mark: Mapping[str, Any]) -> Iterator[SourceEvent]:
    """Yield the rows whose cursor column says that they are new, and those at the edge of what was read before."""
    reader = sync.reader
    (value,) = decode(mark["value"])
    for row in reader.without_cursor():
        yield reader.event(row)
    if value is None:
        return
    start = _earlier(value, sync.patience.overlap_s)
    for dead in (False, True) if reader.tombstone else (False,):
        after: Key | None = None
        while True:
            page = reader.since(start, after, limit=_PAGE_ROWS, dead=dead)
            for _, row in page:
                yield Tombstone(document_id=f"{sync.scope}/{row.name}") if dead else reader.event(row)
            if len(page) < _PAGE_ROWS:
                break
            after = (page[-1][0], *page[-1][1].key)


def _earlier(value: Any, overlap_s: float) -> Any:
    """A time less the overlap; any other value as it is, because rows that equal it are read again anyway."""
    if isinstance(value, datetime):
        return value - timedelta(seconds=overlap_s)
    if isinstance(value, str):
        try:
            moved = datetime.fromisoformat(value) - timedelta(seconds=overlap_s)
        except ValueError:
            return value
        return moved.isoformat(sep="T" if "T" in value else " ")
    return value


def _mark(sync: _Sync, value: Any, reconciled_at: float) -> Checkpoint:
    head = {"value": encode([value]), "reconciled_at": reconciled_at}
    return Checkpoint(scope=sync.scope, name="mark", head=head)


def _rows_without_key(sync: _Sync, noted: Mapping[str, Any] | None) -> Iterator[SourceEvent]:
    """SQLite, and a key given in the configuration, allow NULL in a key; such rows are reported, not lost silently."""
    count = sync.reader.count_without_key() if sync.reader.table.nullable_key else 0
    document_id = f"{sync.scope}/NULL"
    if count:
        columns = ", ".join(sync.reader.table.key)
        reason = f"{count} rows have NULL in their key ({columns}); give every row a key, or name another in keys"
        yield Unreadable(document_id=document_id, scope=sync.scope, reason=reason)
        yield Checkpoint(scope=sync.scope, name="no-key", head={"rows": count})
    elif noted is not None:
        yield Checkpoint(scope=sync.scope, name="no-key", head=None, gone=(document_id,))


# Notes.


def _range(name: str, head: Mapping[str, Any]) -> _Range:
    low, high = (decode(head[side]) if head[side] is not None else None for side in ("low", "high"))
    return _Range(number=int(name.partition("-")[2]), low=low, high=high, rows=head["rows"], total=int(head["total"]))


def _note(sync: _Sync, r: _Range, digests: Mapping[str, int], gone: Collection[str]) -> Checkpoint:
    head = {
        "low": encode(r.low) if r.low is not None else None,
        "high": encode(r.high) if r.high is not None else None,
        "rows": len(digests),
        "total": str(sum(digests.values())),
    }
    body = zlib.compress(json.dumps(digests).encode(), 1)
    ids = tuple(f"{sync.scope}/{name}" for name in sorted(gone))
    return Checkpoint(scope=sync.scope, name=r.name, head=head, body=body, gone=ids)

"""What changed in a table since the notes of its last read.

The table is noted as ranges of keys that together cover all keys: each with its bounds, the number of its rows and the
sum of their digests, and in its body each row's digest. A range whose number and sum are the same in the database is
not read. Of one that differs, keys and digests are read; then the rows that differ, and nothing else.

Two things are never given up. The ranges are disjoint and cover all keys: one that is split is noted with all its
pieces at once or not at all (CheckpointGroup), and notes that do not hold together are dropped. And a row is gone only
where its range was read, in order, and it was not in it: a look-up of its key that finds nothing shows nothing.
"""

import json
import time
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from connectors.sql.changes.buckets import bucket_of
from connectors.sql.changes.ranges import Range, digests_in, in_order, note_of, range_of
from connectors.sql.changes.unkeyed import content_name
from connectors.sql.keys import Key, decode, encode
from connectors.sql.table import Row, TableReader
from rag.events import (
    Checkpoint,
    CheckpointGroup,
    Expected,
    Listed,
    Listing,
    Met,
    Notice,
    ScopeComplete,
    SourceEvent,
    Tombstone,
    Unreadable,
    Upsert,
)
from rag.ports import Notes

_BUCKET_ROWS = 8  # of a range, about, that are compared by themselves where it differs
_MOST_PIECES = 8  # that a range is cut into when it is refreshed; one that has grown more is read in pages
_FORMAT = 3  # of rendered rows and of notes: a change has every table read and compared anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a cursor column is trusted: rows this much older than the newest are read again, and every so often the
    whole table is compared (0: in every run)."""

    overlap_s: float = 300.0
    reconcile_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class _Sync:
    """A table's read under way."""

    reader: TableReader
    cursor: Notes | None
    patience: Patience
    is_counted: bool = False  # how many rows there are has been told
    is_new: bool = False  # nothing of it is noted: its rows may be indexed under ids that were made of their content
    next_number: int = 0
    rows: dict[int, int] = field(default_factory=dict)  # of each range, by its number, as it is noted by now

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

    @property
    def most_rows(self) -> int:
        """Rows of a range that has grown, before it is split."""
        return 2 * self.range_rows

    @property
    def buckets(self) -> int:
        """Of a range, that are compared by themselves where it differs."""
        return self.range_rows // _BUCKET_ROWS if self.reader.has_buckets else 1

    def number(self) -> int:
        self.next_number += 1
        return self.next_number

    def event(self, row: Row) -> SourceEvent:
        event = self.reader.event(row)
        if self.is_new and isinstance(event, Upsert) and not event.moved_from:
            return replace(event, moved_from=f"{self.scope}/{content_name(self.reader.table, row.values)}")
        return event

    def note(self, r: Range, rows: Sequence[Row], gone: Collection[str] = ()) -> Checkpoint:
        """Note a range as it was found. gone: names of rows that it does not have any more."""
        self.rows[r.number] = len(rows)
        return note_of(self.scope, r, {row.name: row.digest for row in rows}, gone)

    def split(self, r: Range) -> "_Split":
        body = self.cursor.body(self.scope, r.name) if self.cursor is not None else b""
        return _Split(sync=self, range=r, old=digests_in(body), low=r.low)


@dataclass(slots=True, kw_only=True)
class _Split:
    """A range that is being noted anew, in pieces where it has grown: all of them at once, in the old one's place.

    old: the rows that it had, their names and digests.
    """

    sync: _Sync
    range: Range
    old: Mapping[str, int]
    low: Key | None
    waiting: list[Row] = field(default_factory=list)
    parts: list[Checkpoint] = field(default_factory=list)
    met: set[str] = field(default_factory=set)  # of the old rows
    differs: bool = False

    def in_buckets(self) -> dict[int, list[Row]]:
        """The rows that it had, by bucket; nothing where it is better compared whole."""
        count = self.sync.buckets
        if count == 1 or len(self.old) < 2 * _BUCKET_ROWS:
            return {}
        noted: dict[int, list[Row]] = {}
        for name, digest in self.old.items():
            bucket = bucket_of(name, count)
            if bucket is None:
                return {}
            noted.setdefault(bucket, []).append(Row(key=(), name=name, digest=digest))
        return noted

    def add(self, rows: Sequence[Row]) -> None:
        """Take rows in key order. Only names and digests are kept of them."""
        self.met.update(row.name for row in rows if row.name in self.old)
        self.differs = self.differs or any(self.old.get(row.name) != row.digest for row in rows)
        self.waiting += [replace(row, values=()) for row in rows]
        size = self.sync.range_rows
        while len(self.waiting) > self.sync.most_rows:
            piece, self.waiting = self.waiting[:size], self.waiting[size:]
            noted = Range(number=self.sync.number(), low=self.low, high=piece[-1].key)
            self.parts.append(self.sync.note(noted, piece))
            self.low = noted.high

    def end(self) -> Iterator[CheckpointGroup]:
        """The pieces; the last keeps the range's number and says what is gone. None where nothing has changed."""
        gone = self.old.keys() - self.met
        if not gone and not self.differs:
            return
        last = replace(self.range, low=self.low)
        yield CheckpointGroup(parts=(*self.parts, self.sync.note(last, self.waiting, gone)))


def read_changes(
    reader: TableReader, cursor: Notes | None, patience: Patience, *, is_counted: bool = False
) -> Iterator[SourceEvent]:
    """Yield what changed in a table since the cursor's notes; all of it when there are none that still hold."""
    sync = _Sync(reader=reader, cursor=cursor, patience=patience, is_counted=is_counted)
    notes = {name: head for _, name, head in cursor.find(scope=sync.scope)} if cursor is not None else {}
    head = notes.get("table")
    found = [range_of(name, note) for name, note in notes.items() if name.startswith("range-")]
    ranges = in_order(found)
    sync.next_number = max((r.number for r in found), default=0)
    sync.is_new = head is None or head.get("new", False)
    now = _signature(reader)
    counts = True  # whether every range is compared, so that their rows are the table's
    if head is None or head["signature"] != now:
        if head is not None and (drift := _drift(head["signature"], now, sync.scope)):
            yield Notice(text=drift)
        yield from _list(sync, now, after=None)
    elif ranges is None or not (head["listing"] or (ranges and ranges[-1].high is None)):
        yield Notice(text=f"Table {sync.scope}: the notes of its last read do not hold together. It is compared anew.")
        yield from _list(sync, now, after=None)
    elif head["listing"]:
        sync.rows = {r.number: r.rows for r in ranges}
        yield from _compare(sync, ranges)
        yield from _list(sync, now, after=ranges[-1] if ranges else None, noted=ranges)
    elif _is_worn(ranges):
        yield from _list(sync, now, after=None)
    else:
        sync.rows = {r.number: r.rows for r in ranges}
        counts = yield from _changes(sync, ranges, notes.get("mark"))
    without_key = yield from _rows_without_key(sync, notes.get("no-key"))
    yield ScopeComplete(scope=sync.scope, documents=sum(sync.rows.values()) + without_key if counts else None)


def _is_worn(ranges: Sequence["Range"]) -> bool:
    """Whether so many ranges are empty that the table is better noted anew."""
    return len(ranges) > 64 and sum(r.rows == 0 for r in ranges) > len(ranges) / 2


def _signature(reader: TableReader) -> dict[str, Any]:
    """All that a row's text and digest hang on, besides its values; in the form that it comes back from JSON in."""
    table = reader.table
    found = {
        "format": _FORMAT,
        "method": [reader.method.name, reader.method.column, reader.tombstone],
        "columns": {name: repr(column_type) for name, column_type in table.columns.items()},
        "key": list(table.key),
        "comments": [table.comment, {name: comment for name, comment in table.column_comments.items() if comment}],
        "references": [[list(r.columns), r.table, list(r.referenced), list(r.labels)] for r in table.references],
        "labels": list(table.labels),
        "place": [asdict(reader.place.labels), reader.place.address],
        "only": table.only,
        **({"rights": 2} if reader.place.labels.are_of_rows else {}),  # how rows are read that say who may see them
    }
    kept: dict[str, Any] = json.loads(json.dumps(found))
    return kept


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


def _list(
    sync: _Sync, signature: dict[str, Any], *, after: Range | None, noted: Sequence[Range] = ()
) -> Iterator[SourceEvent]:
    """Yield every row, from the start or after the last of the ranges that an interrupted listing noted."""
    reader = sync.reader
    head = {"signature": signature, "listing": True, "method": reader.method.as_dict(), "new": sync.is_new}
    yield Listing(scope=sync.scope, resumes=after is not None, by_content=sync.is_new)
    for r in noted:
        yield Met(document_ids=tuple(f"{sync.scope}/{name}" for name in sync.split(r).old))
    if after is None:
        sync.rows = {}
        yield Checkpoint(scope=sync.scope, name="table", head=head)
    if not sync.is_counted:
        yield Expected(documents=max(reader.count() - sum(sync.rows.values()), 0))
    started = time.time()
    mark = reader.newest() if reader.method.name == "cursor" else None
    if after is None or after.high is not None:  # else only the end of the listing was not kept
        yield from _list_rows(sync, after.high if after is not None else None)
    if reader.method.name == "cursor":
        yield _mark(sync, mark, started)
    yield Listed(
        scope=sync.scope,
        checkpoint=Checkpoint(scope=sync.scope, name="table", head=head | {"listing": False, "new": False}),
    )


def _list_rows(sync: _Sync, low: Key | None) -> Iterator[SourceEvent]:
    """Yield all rows after a key, and note each piece as soon as it is read, so that a listing can be gone on with."""
    for page, last in _pages_of(sync, low, None):
        for start in range(0, max(len(page), 1), sync.range_rows):
            piece = page[start : start + sync.range_rows]
            yield from map(sync.event, piece)
            ends = last and start + sync.range_rows >= len(page)
            noted = Range(number=sync.number(), low=low, high=None if ends else piece[-1].key)
            yield sync.note(noted, piece)
            low = noted.high


def _pages_of(sync: _Sync, low: Key | None, high: Key | None) -> Iterator[tuple[list[Row], bool]]:
    """The rows of a range in pages, each with whether it is the last."""
    last = False
    while not last:
        limit = sync.reader.size.rows
        page = sync.reader.page(low, high, limit=limit)
        last = len(page) < limit
        yield page, last
        low = page[-1].key if page else low


# A read of changes.


def _changes(
    sync: _Sync, ranges: Sequence[Range], mark: Mapping[str, Any] | None
) -> Generator[SourceEvent, None, bool]:
    """Yield what changed. Returns whether every range was compared."""
    if sync.reader.method.name != "cursor":
        yield from _compare(sync, ranges)
        return True
    newest = sync.reader.newest()
    reconciled_at = float(mark["reconciled_at"]) if mark is not None else 0.0
    if mark is not None:
        yield from _since(sync, mark)
    due = time.time() - reconciled_at >= sync.patience.reconcile_s
    if due:
        reconciled_at = time.time()
        yield from _compare(sync, ranges)
    yield _mark(sync, newest, reconciled_at)
    return due


def _compare(sync: _Sync, ranges: Sequence[Range]) -> Iterator[SourceEvent]:
    """Refresh the ranges that differ from their notes, a group in as few statements as can be."""
    for start in range(0, len(ranges), sync.group_ranges):
        group = ranges[start : start + sync.group_ranges]
        if not sync.reader.hashes_inside:
            for r in group:
                yield from _read_range(sync, r) if sync.reader.method.name == "scan" else _refresh(sync, [r])
            continue
        most = _MOST_PIECES * sync.range_rows
        sums = [each.get(0, (0, 0)) for each in sync.reader.sums([(r.low, r.high) for r in group])]
        pairs = zip(group, sums, strict=True)
        different = [(r, rows) for r, (rows, total) in pairs if (rows, total) != (r.rows, r.total)]
        for r, rows in different:
            if rows > most:
                yield from _read_range(sync, r)
        yield from _refresh(sync, [r for r, rows in different if rows <= most])


def _refresh(sync: _Sync, ranges: Sequence[Range]) -> Iterator[SourceEvent]:
    """Yield the rows of ranges that differ, and note the ranges anew."""
    if not ranges:
        return
    splits = [sync.split(r) for r in ranges]
    limit = _MOST_PIECES * sync.range_rows * len(ranges)
    found = _current(sync, splits, limit)
    if found is None:
        for r in ranges:
            yield from _read_range(sync, r)
        return
    different = [
        [row for row in rows if row.digest != split.old.get(row.name)]
        for rows, split in zip(found, splits, strict=True)
    ]
    yield Expected(documents=sum(map(len, different)))
    left = list(zip(ranges, found, different, splits, strict=True))
    while left:
        number, most = 1, sync.reader.size.rows
        while number < len(left) and sum(len(wanted) for _, _, wanted, _ in left[: number + 1]) <= most:
            number += 1
        part, left = left[:number], left[number:]
        many = sum(len(wanted) for _, _, wanted, _ in part) > most
        keys = [row.key for _, _, wanted, _ in part for row in wanted] if not many else []
        current = {row.name: row for row in sync.reader.by_keys(keys)}
        for r, rows, wanted, split in part:
            grown = len(rows) > sync.most_rows and not all(row.key for row in rows)
            if grown or not all(row.name in current for row in wanted):  # gone, under another key, or too many at once
                yield from _read_range(sync, r)
                continue
            for row in wanted:
                yield sync.event(current[row.name])
            split.add([current.get(row.name, row) for row in rows])
            yield from split.end()


def _current(sync: _Sync, splits: Sequence[_Split], limit: int) -> list[list[Row]] | None:
    """Names and digests of all rows that ranges have now, read only of the buckets that are not as they are noted.

    None when they are more than limit: they have grown meanwhile, or nobody had counted them. A range whose rows may
    have to be told apart by their order, because it has grown, is read whole.
    """
    bounds = [(split.range.low, split.range.high) for split in splits]
    noted = [split.in_buckets() for split in splits]
    among: list[Collection[int]] = [range(sync.buckets)] * len(splits)
    at = [number for number, buckets in enumerate(noted) if buckets]
    sums = sync.reader.sums([bounds[number] for number in at], buckets=sync.buckets) if at else []
    for number, now in zip(at, sums, strict=True):
        if sum(rows for rows, _ in now.values()) <= sync.most_rows:
            before = {bucket: _summed(rows) for bucket, rows in noted[number].items()}
            among[number] = {bucket for bucket in before.keys() | now.keys() if before.get(bucket) != now.get(bucket)}
    wanted = [number for number in range(len(splits)) if among[number]]
    read = sync.reader.digests(
        [bounds[number] for number in wanted],
        limit=limit + 1,
        among=[among[number] for number in wanted],
        buckets=sync.buckets,
    ) if wanted else []  # fmt: skip
    if sum(map(len, read)) > limit:
        return None
    by_number = dict(zip(wanted, read, strict=True))
    return [
        [*by_number.get(number, []), *(row for b, rows in buckets.items() if b not in among[number] for row in rows)]
        for number, buckets in enumerate(noted)
    ]


def _summed(rows: Sequence[Row]) -> tuple[int, int]:
    return len(rows), sum(row.digest for row in rows)


def _read_range(sync: _Sync, r: Range) -> Iterator[SourceEvent]:
    """Read a range whole, in pages; yield the rows whose digest is new, and note it."""
    split = sync.split(r)
    for page, _ in _pages_of(sync, r.low, r.high):
        yield from (sync.event(row) for row in page if row.digest != split.old.get(row.name))
        split.add(page)
    yield from split.end()


def _since(sync: _Sync, mark: Mapping[str, Any]) -> Iterator[SourceEvent]:
    """Yield the rows whose cursor column says that they are new, and those at the edge of what was read before."""
    reader = sync.reader
    (value,) = decode(mark["value"])
    last: Key | None = None
    while True:
        limit = reader.size.rows
        found = reader.without_cursor(last, limit=limit)
        yield from map(sync.event, found)
        if len(found) < limit:
            break
        last = found[-1].key
    if value is None:
        return
    start = _earlier(value, sync.patience.overlap_s)
    for dead in (False, True) if reader.tombstone else (False,):
        after: Key | None = None
        while True:
            limit = reader.size.rows
            page = reader.since(start, after, limit=limit, dead=dead)
            for _, row in page:
                yield Tombstone(document_id=f"{sync.scope}/{row.name}") if dead else sync.event(row)
            if len(page) < limit:
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


def _rows_without_key(sync: _Sync, noted: Mapping[str, Any] | None) -> Generator[SourceEvent, None, int]:
    """SQLite, and a key given in the configuration, allow NULL in a key; such rows are reported, not lost silently.

    Returns 1 where there are any: together they are one entry of what was set aside.
    """
    count = sync.reader.count_without_key() if sync.reader.table.nullable_key else 0
    document_id = f"{sync.scope}/NULL"
    if count:
        columns = ", ".join(sync.reader.table.key)
        reason = f"{count} rows have NULL in their key ({columns}); give every row a key, or name another in keys"
        yield Unreadable(document_id=document_id, scope=sync.scope, reason=reason)
        yield Checkpoint(scope=sync.scope, name="no-key", head={"rows": count})
    elif noted is not None:
        yield Checkpoint(scope=sync.scope, name="no-key", head=None, gone=(document_id,))
    return int(count > 0)

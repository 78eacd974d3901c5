"""A table's read under way: which ranges of it are noted, and the pieces that a range is noted in."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from connectors.sql.changes.ranges import Range, digests_in, note_of
from connectors.sql.changes.unkeyed import content_name
from connectors.sql.keys import Key
from connectors.sql.table.buckets import bucket_of
from connectors.sql.table.decoding import Row
from connectors.sql.table.reader import TableReader
from rag.events import Checkpoint, CheckpointGroup, SourceEvent, Upsert
from rag.ports import Notes

_BUCKET_ROWS = 8  # of a range, about, that are compared by themselves where it differs
_MOST_PIECES = 8  # that a range is cut into when it is refreshed; one that has grown more is read in pages


@dataclass(slots=True, kw_only=True)
class TableRead:
    """A table's read under way.

    is_counted: how many rows there are has been told. is_new: nothing of it is noted, so that its rows may be indexed
    under ids that were made of their content. rows: of each range, by its number, as it is noted by now.
    """

    reader: TableReader
    notes: Notes | None
    is_counted: bool = False
    is_new: bool = False
    next_number: int = 0
    rows: dict[int, int] = field(default_factory=dict)

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
    def refresh_rows(self) -> int:
        """Rows of a range that has grown, from which on it is read in pages."""
        return _MOST_PIECES * self.range_rows

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

    def split(self, r: Range) -> "Split":
        body = self.notes.body(self.scope, r.name) if self.notes is not None else b""
        return Split(read=self, range=r, old=digests_in(body), low=r.low)


@dataclass(slots=True, kw_only=True)
class Split:
    """A range that is being noted anew, in pieces where it has grown: all of them at once, in the old one's place.

    old: the rows that it had, their names and digests. met: those of them that it still has.
    """

    read: TableRead
    range: Range
    old: Mapping[str, int]
    low: Key | None
    waiting: list[Row] = field(default_factory=list)
    parts: list[Checkpoint] = field(default_factory=list)
    met: set[str] = field(default_factory=set)
    differs: bool = False

    def in_buckets(self) -> dict[int, list[Row]]:
        """The rows that it had, by bucket; nothing where it is better compared whole."""
        count = self.read.buckets
        if count == 1 or len(self.old) < 2 * _BUCKET_ROWS:
            return {}
        noted: dict[int, list[Row]] = {}
        for name, digest in self.old.items():
            bucket = bucket_of(name, count)
            if bucket is None:
                return {}
            noted.setdefault(bucket, []).append(Row(key=(), name=name, digest=digest))
        return noted

    def is_changed(self, row: Row) -> bool:
        """Whether a row is not as it was noted."""
        return self.old.get(row.name) != row.digest

    def add(self, rows: Sequence[Row]) -> None:
        """Take rows in key order. Only names and digests are kept of them."""
        self.met.update(row.name for row in rows if row.name in self.old)
        self.differs = self.differs or any(map(self.is_changed, rows))
        self.waiting += [replace(row, values=()) for row in rows]
        size = self.read.range_rows
        while len(self.waiting) > self.read.most_rows:
            piece, self.waiting = self.waiting[:size], self.waiting[size:]
            noted = Range(number=self.read.number(), low=self.low, high=piece[-1].key)
            self.parts.append(self.read.note(noted, piece))
            self.low = noted.high

    def end(self) -> Iterator[CheckpointGroup]:
        """The pieces; the last keeps the range's number and says what is gone. None where nothing has changed."""
        gone = self.old.keys() - self.met
        if not gone and not self.differs:
            return
        last = replace(self.range, low=self.low)
        yield CheckpointGroup(parts=(*self.parts, self.read.note(last, self.waiting, gone)))

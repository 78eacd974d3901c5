"""A table in memory, read as `TableReader` reads one of a database: what a read of changes asks of it is noted."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from connectors.sql.changes.patience import Patience
from connectors.sql.changes.read import read_changes
from connectors.sql.documents import Place, document_of
from connectors.sql.keys import Key
from connectors.sql.schema import Table
from connectors.sql.table.buckets import bucket_of
from connectors.sql.table.decoding import Row
from connectors.sql.table.method import Method
from connectors.sql.table.page_size import PageSize
from connectors.sql.table.statements import Bounds
from rag.events import SnapshotComplete, SourceEvent, Unreadable, Upsert
from rag.ports import Notes

RANGES = Method(name="ranges")
SCAN = Method(name="scan")
CURSOR = Method(name="cursor", column="moved")


@dataclass(kw_only=True)
class MemoryTable:
    """rows: by their number, a text each. moved: when a row changed, for CURSOR; dead: rows that the tombstone marks.

    asked: the reads that a database would have had a statement for, with what they were about. without_key: how many
    rows have no key. vanishing: rows that are gone when they are looked up by their key. meanwhile: what others do to it
    between two statements, before digests are read.
    """

    rows: dict[int, str]
    method: Method = RANGES
    hashes_inside: bool = True
    counts_keys: bool = True
    has_buckets: bool = True
    moved: dict[int, int | None] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    without_key: int = 0
    meanwhile: Callable[[], None] = lambda: None
    vanishing: set[int] = field(default_factory=set)
    comment: str = ""
    columns: dict[str, Any] = field(default_factory=lambda: {"id": sa.Integer(), "body": sa.Text()})
    tombstone: str = ""
    place: Place = Place(source="shop", url="sqlite://")
    size: PageSize = field(default_factory=lambda: PageSize(1024))
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.size.rows = 1024

    @property
    def table(self) -> Table:
        nullable = self.without_key > 0
        return Table(
            name="t", schema=None, columns=self.columns, key=("id",), comment=self.comment, nullable_key=nullable
        )

    def sums(self, ranges: Sequence[Bounds], *, buckets: int = 1) -> list[dict[int, tuple[int, int]]]:
        self.asked.append(("sums", (list(ranges), buckets)))
        found: list[dict[int, tuple[int, int]]] = []
        for bounds in ranges:
            each: dict[int, tuple[int, int]] = {}
            for row in self._between(*bounds):
                rows, total = each.get(_bucket(row.name, buckets), (0, 0))
                each[_bucket(row.name, buckets)] = (rows + 1, total + row.digest)
            found.append(each)
        return found

    def digests(
        self, ranges: Sequence[Bounds], *, limit: int, among: Sequence[Collection[int]], buckets: int
    ) -> list[list[Row]]:
        self.meanwhile()
        self.asked.append(("digests", (list(ranges), [sorted(each) for each in among])))
        grouped: list[list[Row]] = []
        for bounds, wanted in zip(ranges, among, strict=True):
            rows = [row for row in self._between(*bounds) if _bucket(row.name, buckets) in wanted]
            grouped.append([Row(key=row.key, name=row.name, digest=row.digest) for row in rows[:limit]])
            limit -= len(grouped[-1])
        return grouped

    def page(self, low: Key | None, high: Key | None, *, limit: int) -> list[Row]:
        self.asked.append(("page", (low, high)))
        return self._between(low, high)[:limit]

    def pages(self, low: Key | None, high: Key | None) -> Iterator[tuple[list[Row], bool]]:
        last = False
        while not last:
            page = self.page(low, high, limit=self.size.rows)
            last = len(page) < self.size.rows
            yield page, last
            low = page[-1].key if page else low

    def by_keys(self, keys: Sequence[Key]) -> Iterator[Row]:
        if keys:
            self.asked.append(("by_keys", [key[0] for key in keys]))
        for (number,) in keys:
            if number in self.rows and number not in self.vanishing:
                yield self._row(number)

    def since(self, mark: Any, after: Key | None, *, limit: int, dead: bool = False) -> list[tuple[Any, Row]]:
        self.asked.append(("since", (mark, after, dead)))
        at = {number: moved for number, moved in self.moved.items() if moved is not None and number in self.rows}
        order = sorted((moved, number) for number, moved in at.items() if (number in self.dead) is dead)
        wanted = [each for each in order if each[0] >= mark and (after is None or each > after)]
        return [(moved, self._row(number)) for moved, number in wanted[:limit]]

    def without_cursor(self, after: Key | None, *, limit: int) -> list[Row]:
        self.asked.append(("without_cursor", after))
        return [row for row in self._between(after, None) if self.moved.get(row.key[0], 0) is None][:limit]

    def newest(self) -> Any:
        return max((moved for moved in self.moved.values() if moved is not None), default=None)

    def count(self) -> int:
        return len(self.rows)

    def count_without_key(self) -> int:
        return self.without_key

    def event(self, row: Row) -> Upsert | Unreadable:
        document = document_of(self.table, self.place, row.values, name=row.name, key={"id": row.key[0]})
        return Upsert(document=document)

    def _between(self, low: Key | None, high: Key | None) -> list[Row]:
        numbers = sorted(self.rows)
        start = bisect_right(numbers, low[0]) if low is not None else 0
        end = bisect_right(numbers, high[0]) if high is not None else len(numbers)
        return [self._row(number) for number in numbers[start:end] if number not in self.dead]

    def _row(self, number: int) -> Row:
        values = (number, self.rows[number])
        shown = values if self.method.name != "cursor" else (number, self.moved.get(number))
        return Row(key=(number,), name=str(number), values=values, digest=_digest(shown))


@lru_cache(maxsize=100_000)
def _digest(values: tuple[Any, ...]) -> int:
    return int.from_bytes(hashlib.md5(repr(values).encode()).digest()[:7])


@lru_cache(maxsize=100_000)
def _bucket(name: str, buckets: int) -> int:
    return bucket_of(name, buckets) or 0 if buckets > 1 else 0


@dataclass(kw_only=True)
class TableSource:
    """A source of one table."""

    table: MemoryTable
    patience: Patience = Patience()
    is_counted: bool = False

    def read(self, notes: Notes | None = None, /) -> Iterator[SourceEvent]:
        self.table.asked.clear()
        yield from read_changes(self.table, notes, self.patience, is_counted=self.is_counted)  # type: ignore[arg-type]
        yield SnapshotComplete(scopes=frozenset({"t"}), fixed_scopes=True, changes_only=True)

"""Reads one table over a connection."""

import time
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from connectors.sql.connection import error_code
from connectors.sql.documents import Place, row_event
from connectors.sql.keys import Key
from connectors.sql.schema import Table
from connectors.sql.table.buckets import has_buckets
from connectors.sql.table.decoding import Decoder, Row, told_apart
from connectors.sql.table.method import Method
from connectors.sql.table.page_size import PageSize
from connectors.sql.table.salvage import UNDECODABLE, is_undecodable, salvage
from connectors.sql.table.statements import Bounds, Selection, Statements
from rag.events import Unreadable, Upsert

_KEYS_A_STATEMENT = 200
_PAGE_ROWS = 1024
_ATTEMPTS = 3  # at a statement that the server cancels for reasons of its own
_CANCELLED = ("40001", "40P01", 1213)  # a conflict with recovery on a standby, deadlocks


class TableReader:
    """Reads one table, each statement in a transaction of its own. size: of a page."""

    def __init__(
        self, connection: sa.Connection, table: Table, place: Place, method: Method, tombstone: str = ""
    ) -> None:
        self.table, self.place, self.method, self.tombstone = table, place, method, tombstone
        self.size = PageSize(_PAGE_ROWS)
        self._connection = connection
        self._statements = Statements(
            connection.dialect.name, table, method, tombstone=tombstone, whole=place.labels.columns
        )
        self._decoder = Decoder(self._statements)

    @property
    def hashes_inside(self) -> bool:
        """Whether the database makes the rows' digests."""
        return self._statements.digest is not None

    @property
    def counts_keys(self) -> bool:
        """Whether ranges of keys can be told apart by arithmetic."""
        return self._statements.counts_keys

    @property
    def has_buckets(self) -> bool:
        """Whether ranges can be compared in buckets."""
        return self.hashes_inside and has_buckets([column.type for column in self._statements.key])

    def sums(self, ranges: Sequence[Bounds], *, buckets: int = 1) -> list[dict[int, tuple[int, int]]]:
        """Number of rows and sum of their digests in each range of keys, by bucket, in one statement.

        ranges: disjoint, in ascending order. A bucket without rows is not in what is returned.
        """
        found: list[dict[int, tuple[int, int]]] = [{} for _ in ranges]
        for code, rows, total in self._all(self._statements.sums(ranges, buckets=buckets)):
            if rows:
                found[int(code) // buckets][int(code) % buckets] = (int(rows), int(total))
        return found

    def digests(
        self, ranges: Sequence[Bounds], *, limit: int, among: Sequence[Collection[int]], buckets: int
    ) -> list[list[Row]]:
        """Keys and digests of the rows of some ranges, at most limit in all, each range in key order.

        among: for each range, the buckets whose rows are wanted. The rows come without their values: this is for where
        the database hashes, or a cursor column is their hash.
        """
        grouped: list[list[Row]] = [[] for _ in ranges]
        edges = [high[0] for _, high in ranges if high is not None] if self.counts_keys else []
        for found in self._all(self._statements.digests(ranges, limit=limit, among=among, buckets=buckets)):
            place, values = (bisect_left(edges, found[0]), found) if self.counts_keys else (int(found[0]), found[1:])
            grouped[place].append(self._decoder.key_and_digest(values))
        return [told_apart(rows) for rows in grouped]

    def page(self, low: Key | None, high: Key | None, *, limit: int) -> list[Row]:
        """The first rows of a range in key order; one that cannot be decoded comes with its error."""
        return told_apart(self._rows(self._statements.between(low, high, limit=limit)))

    def pages(self, low: Key | None, high: Key | None) -> Iterator[tuple[list[Row], bool]]:
        """The rows of a range in pages, each with whether it is the last."""
        last = False
        while not last:
            limit = self.size.rows
            page = self.page(low, high, limit=limit)
            last = len(page) < limit
            yield page, last
            low = page[-1].key if page else low

    def by_keys(self, keys: Sequence[Key]) -> Iterator[Row]:
        """The rows that have these keys, if they still exist."""
        while keys:
            most = min(self.size.rows, _KEYS_A_STATEMENT)
            part, keys = keys[:most], keys[most:]
            yield from self._rows(self._statements.among(part))

    def since(self, mark: Any, after: Key | None, *, limit: int, dead: bool = False) -> list[tuple[Any, Row]]:
        """Rows whose cursor column is at least mark, each with that column's value, in order of (cursor, key).

        after: the (cursor, *key) of the last row of the page before. dead: rows that the tombstone column marks.
        """
        rows = self._rows(self._statements.since(mark, after, limit=limit, dead=dead))
        position = list(self.table.columns).index(self.method.column)
        return [(row.values[position], row) for row in rows]

    def without_cursor(self, after: Key | None, *, limit: int) -> list[Row]:
        """Rows whose cursor column is NULL, in key order after a key."""
        return self._rows(self._statements.without_cursor(after, limit=limit))

    def newest(self) -> Any:
        """The largest value of the cursor column; for a time, not later than the database's own clock."""
        return self._all(self._statements.newest())[0][0]

    def count(self) -> int:
        return int(self._all(self._statements.count())[0][0])

    def repeated_key(self) -> tuple[Any, ...] | None:
        """A key that several rows share, and their number; None when there is none."""
        found = self._all(self._statements.repeated_key())
        return tuple(found[0]) if found else None

    def count_without_key(self) -> int:
        return int(self._all(self._statements.count_without_key())[0][0])

    def event(self, row: Row) -> Upsert | Unreadable:
        """A row as the event that its source yields."""
        if row.error:
            document_id = f"{self.table.name}/{row.name}"
            return Unreadable(document_id=document_id, scope=self.table.name, reason=row.error)
        raw = self._decoder.raw_key(row)
        key = self._decoder.typed_key(raw, row.key)
        return row_event(self.table, self.place, row.values, name=row.name, key=key, raw=raw)

    def _all(self, statement: Any) -> list[Any]:
        """All rows of a statement, in a transaction of its own: none stays open on somebody's production database.

        One that the server cancels for reasons of its own (a conflict with recovery on a standby) is tried again.
        """
        attempt = 0
        while True:
            try:
                found = list(self._connection.execute(statement).all())
                self._connection.commit()
                return found
            except Exception as err:
                self._connection.rollback()
                attempt += 1
                if attempt == _ATTEMPTS or not _was_cancelled(err):
                    raise
                time.sleep(0.1 * 4**attempt)

    def _rows(self, which: Selection) -> list[Row]:
        columns = self._statements.row_columns
        try:
            found = self._all(self._statements.select(columns, which))
            self.size.learn(found)
            return [self._decoder.row(row) for row in found]
        except UNDECODABLE as err:
            if not is_undecodable(err):
                raise

        def read(columns: Sequence[sa.ColumnElement[Any]], keys: Sequence[Key]) -> list[tuple[Any, ...]]:
            named = replace(which, where=self._statements.among(keys).where, limit=None)
            return [tuple(row) for row in self._all(self._statements.select(columns, named))]

        named = self._all(self._statements.select(self._statements.key_columns, which))
        return [self._decoder.row(row) for row in salvage([self._decoder.key(row) for row in named], columns, read)]


def _was_cancelled(err: Exception) -> bool:
    return isinstance(err, sa.exc.DBAPIError) and not err.connection_invalidated and error_code(err) in _CANCELLED

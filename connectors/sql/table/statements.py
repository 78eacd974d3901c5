"""The statements that read one table."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from connectors.sql.keys import Key, KeyColumns
from connectors.sql.schema import Table
from connectors.sql.table.buckets import database_bucket
from connectors.sql.table.digests import database_digest
from connectors.sql.table.joined import Joined, numbered, raw_column
from connectors.sql.table.method import Method

_BINARY = sa.types._Binary  # LargeBinary, and MySQL's own BINARY, VARBINARY and BLOBs beside it
Bounds = tuple[Key | None, Key | None]  # keys after the first, up to the second; None is no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows are read, and in which order. dead: those that the tombstone column marks, in place of the others."""

    where: Sequence[sa.ColumnElement[bool]]
    order: Sequence[sa.ColumnElement[Any]]
    limit: int | None = None
    dead: bool = False


class Statements:
    """Selects of a table for a dialect of SQL.

    whole: columns whose binary values are read; of others only the size is. key: the key columns; keys: conditions over
    them; measured: places of the columns of which only the size is read; digest: a row's, None where we make it.
    """

    def __init__(self, dialect: str, table: Table, method: Method, *, tombstone: str = "", whole: Collection[str] = ()):
        self.dialect, self.table, self.method = dialect, table, method
        self._joined = Joined.of(table)
        self._base = self._joined.base
        self._tombstone = tombstone
        self.key = [self._base.c[column] for column in table.key]
        self.keys = KeyColumns(self.key, dialect)
        self.measured = self._measured({*table.key, *whole, method.column, tombstone})
        of_row = [self._value(place, column) for place, column in enumerate(self._base.c)]
        of_cursor = [self._base.c[column] for column in self.cursor_columns]
        self._hashed = [*(of_row if method.name != "cursor" else of_cursor), *self._joined.labels]
        self.digest = database_digest(dialect, self._hashed)

    def _measured(self, read: Collection[str]) -> frozenset[int]:
        if self.dialect not in ("postgresql", "mysql", "mariadb"):
            return frozenset()
        columns = enumerate(self.table.columns.items())
        return frozenset(i for i, (name, kind) in columns if isinstance(kind, _BINARY) and name not in read)

    def _value(self, place: int, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A column as it is fetched."""
        return sa.func.octet_length(raw_column(column)) if place in self.measured else column

    @property
    def cursor_columns(self) -> list[str]:
        """What shows a change where a column moves with it: the key and that column."""
        return list(dict.fromkeys([*self.table.key, self.method.column])) if self.method.name == "cursor" else []

    @property
    def counts_keys(self) -> bool:
        """Whether rows have one whole number as their key, so that ranges of it can be told apart by arithmetic."""
        whole = isinstance(self.table.columns[self.table.key[0]], sa.Integer)
        return self.digest is not None and len(self.table.key) == 1 and whole

    @property
    def row_columns(self) -> list[sa.ColumnElement[Any]]:
        """The extras of the key, the row's columns, its labels, and its digest where the database makes one."""
        values = [raw_column(self._value(place, column)) for place, column in enumerate(self._base.c)]
        columns = [*self.keys.extras, *values, *self._joined.labels]
        return numbered([*columns, *([self.digest] if self.digest is not None else [])])

    @property
    def key_columns(self) -> list[sa.ColumnElement[Any]]:
        """The key columns, and the extras of the key."""
        return numbered([*map(raw_column, self.key), *self.keys.extras])

    def select(self, columns: Sequence[sa.ColumnElement[Any]], which: Selection) -> sa.Select[Any]:
        statement = self._where(columns, which.where, dead=which.dead).order_by(*which.order)
        return statement.limit(which.limit) if which.limit is not None else statement

    def between(self, low: Key | None, high: Key | None, *, limit: int) -> Selection:
        """The first rows of a range, in key order."""
        return Selection(where=self.keys.between(low, high), order=self.keys.columns, limit=limit)

    def among(self, keys: Sequence[Key]) -> Selection:
        """The rows that have these keys."""
        return Selection(where=[self.keys.among(keys)], order=self.keys.columns)

    def since(self, mark: Any, after: Key | None, *, limit: int, dead: bool = False) -> Selection:
        """Rows whose cursor column is at least mark, in order of (cursor, key). after: the (cursor, *key) before."""
        columns = [self._base.c[column] for column in (self.method.column, *self.table.key)]
        order = KeyColumns(columns, self.dialect)
        where = [order.after(after) if after is not None else order.starting_at(mark)]
        return Selection(where=where, order=order.columns, limit=limit, dead=dead)

    def without_cursor(self, after: Key | None, *, limit: int) -> Selection:
        """Rows whose cursor column is NULL, in key order after a key."""
        where = [self._base.c[self.method.column].is_(None), *self.keys.between(after, None)]
        return Selection(where=where, order=self.keys.columns, limit=limit)

    def sums(self, ranges: Sequence[Bounds], *, buckets: int) -> Any:
        """Rows of (range * buckets + bucket, number of rows, sum of their digests), ranges counted from 0.

        ranges: disjoint, in ascending order. Those of whole numbers are read in one pass.
        """
        summed = [sa.func.count(), sa.func.coalesce(sa.func.sum(self.digest), 0)]
        bucket = self._bucket(buckets)
        if self.counts_keys and len(ranges) > 1:
            code = self._place(ranges) * _number(buckets) + bucket
            return self._where([code, *summed], [self._in_spans(ranges)]).group_by(code)
        parts = []
        for number, bounds in enumerate(ranges):
            part = self._where([_number(number * buckets) + bucket, *summed], self.keys.between(*bounds))
            parts.append(part.group_by(bucket) if buckets > 1 else part)
        return sa.union_all(*parts)

    def digests(
        self, ranges: Sequence[Bounds], *, limit: int, among: Sequence[Collection[int]], buckets: int
    ) -> sa.Select[Any]:
        """Key, its extras and digest (or what it is made of) of rows of some ranges, each range in key order.

        The number of the row's range, from 0, stands before them, but where ranges are told apart by arithmetic.
        among: for each range, the buckets whose rows are wanted.
        """
        last = [self.digest] if self.digest is not None else [raw_column(column) for column in self._hashed]
        columns = numbered([*map(raw_column, self.key), *self.keys.extras, *last])
        bucket = self._bucket(buckets)
        if self.counts_keys:
            where = [self._in_spans(ranges)]
            if any(len(each) < buckets for each in among):
                codes = [n * buckets + each for n, wanted in enumerate(among) for each in sorted(wanted)]
                where.append((self._place(ranges) * _number(buckets) + bucket).in_([_number(code) for code in codes]))
            return self._where(columns, where).order_by(*self.keys.columns).limit(limit)
        parts = []
        for number, (bounds, wanted) in enumerate(zip(ranges, among, strict=True)):
            where = self.keys.between(*bounds)
            if len(wanted) < buckets:
                where.append(bucket.in_([_number(each) for each in sorted(wanted)]))
            parts.append(self._where([_number(number).label("place"), *columns], where))
        union = sa.union_all(*parts).subquery() if len(parts) > 1 else parts[0].subquery()
        order = [union.c.place, *(union.c[f"c{i}"] for i in self.keys.sorted_by)]
        return sa.select(union).order_by(*order).limit(limit)

    def newest(self) -> sa.Select[Any]:
        """The largest value of the cursor column; for a time, not later than the database's own clock."""
        column = self._base.c[self.method.column]
        statement = self._joined.alone(raw_column(sa.func.max(column)))
        if isinstance(column.type, sa.DateTime) and self.dialect != "sqlite":
            return statement.where(column <= sa.func.now())
        return statement

    def count(self) -> sa.Select[Any]:
        """How many rows there are, but for those that are marked as deleted."""
        return self._joined.alone(sa.func.count()).where(*self._live())

    def repeated_key(self) -> sa.Select[Any]:
        """A key that several rows share, and their number."""
        present = [key.is_not(None) for key in self.key]
        statement = self._joined.alone(*numbered([raw_column(key) for key in self.key]), sa.func.count())
        return statement.where(*present).group_by(*self.key).having(sa.func.count() > 1).limit(1)

    def count_without_key(self) -> sa.Select[Any]:
        missing = sa.or_(*(key.is_(None) for key in self.key))
        return self._joined.alone(sa.func.count()).where(missing)

    def _where(
        self, columns: Sequence[Any], where: Sequence[sa.ColumnElement[bool]], *, dead: bool = False
    ) -> sa.Select[Any]:
        if self.table.nullable_key:  # rows without a key are counted and reported, not read
            where = [*where, *(key.is_not(None) for key in self.key)]
        return self._joined.select(*columns).where(*where, *(sa.not_(c) if dead else c for c in self._live()))

    def _live(self) -> list[sa.ColumnElement[bool]]:
        """That the tombstone column does not say that the row is deleted."""
        if not self._tombstone:
            return []
        column = self._base.c[self._tombstone]
        if isinstance(column.type, sa.Boolean):
            return [sa.or_(column.is_(None), column.is_(sa.false()))]
        if isinstance(column.type, sa.Numeric | sa.Integer):
            return [sa.or_(column.is_(None), column == 0)]
        return [column.is_(None)]

    def _bucket(self, buckets: int) -> sa.ColumnElement[int]:
        return database_bucket(self.dialect, self.key, buckets)

    def _place(self, ranges: Sequence[Bounds]) -> sa.ColumnElement[int]:
        """The number of the range that a whole number lies in, if it is in any: by binary search in the database."""
        edges = [high[0] + 1 for _, high in ranges[:-1] if high is not None]
        column = self.keys.columns[0]
        if not edges:
            return sa.literal_column("0")
        if self.dialect == "postgresql":
            return sa.func.width_bucket(sa.cast(column, sa.BigInteger), sa.literal(edges, ARRAY(sa.BigInteger)))
        return sa.func.interval(column, *(sa.literal_column(str(edge)) for edge in edges))

    def _in_spans(self, ranges: Sequence[Bounds]) -> sa.ColumnElement[bool]:
        """Rows of any of some ranges."""
        return sa.or_(*(sa.and_(sa.true(), *self.keys.between(*span)) for span in spans(ranges)))


def spans(ranges: Sequence[Bounds]) -> list[Bounds]:
    """Ranges in ascending order, those that follow one another joined."""
    joined: list[Bounds] = []
    for low, high in ranges:
        if joined and joined[-1][1] == low is not None:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return joined


def _number(number: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(number))

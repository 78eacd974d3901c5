"""One table, as the statements that read it and the rows that they give."""

import time
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from connectors.sql.changes.buckets import database_bucket, has_buckets
from connectors.sql.changes.digest import UNKNOWN, Method, database_digest, python_digest
from connectors.sql.changes.spool import PageSize
from connectors.sql.connection import error_code
from connectors.sql.documents import Place, document_of, unreadable
from connectors.sql.ids import key_values, legacy_row_id, row_id
from connectors.sql.joined import Joined, numbered, raw_column
from connectors.sql.keys import Key, KeyColumns
from connectors.sql.rows import Blob, Unread
from connectors.sql.schema import Table
from rag.types import Unreadable, Upsert

_KEYS_A_STATEMENT = 200
_PAGE_ROWS = 1024
_BINARY = sa.types._Binary  # LargeBinary, and MySQL's own BINARY, VARBINARY and BLOBs beside it
_ATTEMPTS = 3  # at a statement that the server cancels for reasons of its own
_CANCELLED = ("40001", "40P01", 1213)  # a conflict with recovery on a standby, deadlocks
Bounds = tuple[Key | None, Key | None]  # keys after the first, up to the second; None is no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row as the driver gave it. key: as it is compared; name: its id in the table; error: why it is no document."""

    key: Key
    name: str
    values: tuple[Any, ...] = ()
    digest: int = UNKNOWN
    error: str = ""


class TableReader:
    """Reads one table over a connection, each statement in a transaction of its own."""

    def __init__(
        self, connection: sa.Connection, table: Table, place: Place, method: Method, tombstone: str = ""
    ) -> None:
        self.table, self.place, self.method, self.tombstone = table, place, method, tombstone
        self._connection = connection
        self.size = PageSize(_PAGE_ROWS)  # of a page
        self._dialect = dialect = connection.dialect.name
        self._joined = Joined.of(table)
        self._base = self._joined.base
        self._key = [self._base.c[column] for column in table.key]
        self.keys = KeyColumns(self._key, dialect)
        self._key_positions = [list(table.columns).index(column) for column in table.key]
        self._blobs = self._measured()
        values = [self._value(column) for column in self._base.c]
        everything = values if method.name != "cursor" else self._of_cursor()
        self._hashed = [*everything, *self._joined.labels]
        self._digest = database_digest(dialect, self._hashed)

    def _measured(self) -> frozenset[int]:
        """Places of the columns whose binary values are not fetched: nothing but their size is said of them."""
        if self._dialect not in ("postgresql", "mysql", "mariadb"):
            return frozenset()
        read = {*self.table.key, *self.place.labels.columns, self.method.column, self.tombstone}
        columns = enumerate(self.table.columns.items())
        return frozenset(i for i, (name, kind) in columns if isinstance(kind, _BINARY) and name not in read)

    def _value(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A column as it is fetched."""
        is_measured = list(self.table.columns).index(column.key or "") in self._blobs
        return sa.func.octet_length(raw_column(column)) if is_measured else column

    def _of_cursor(self) -> list[sa.ColumnElement[Any]]:
        """What shows a change where a column moves with it: the key and that column."""
        return [self._base.c[column] for column in dict.fromkeys([*self.table.key, self.method.column])]

    @property
    def hashes_inside(self) -> bool:
        """Whether the database makes the rows' digests."""
        return self._digest is not None

    @property
    def counts_keys(self) -> bool:
        """Whether rows have one whole number as their key, so that ranges of it can be told apart by arithmetic."""
        whole = isinstance(self.table.columns[self.table.key[0]], sa.Integer)
        return self._digest is not None and len(self.table.key) == 1 and whole

    @property
    def has_buckets(self) -> bool:
        """Whether ranges can be compared in buckets."""
        return self._digest is not None and has_buckets([column.type for column in self._key])

    def sums(self, ranges: Sequence[Bounds], *, buckets: int = 1) -> list[dict[int, tuple[int, int]]]:
        """Number of rows and sum of their digests in each range of keys, by bucket, in one statement.

        ranges: disjoint, in ascending order. Those of whole numbers are read in one pass. A bucket without rows is not
        in what is returned.
        """
        summed = [sa.func.count(), sa.func.coalesce(sa.func.sum(self._digest), 0)]
        bucket = self._bucket(buckets)
        if self.counts_keys and len(ranges) > 1:
            code = self._place(ranges) * _number(buckets) + bucket
            statement: Any = self._where([code, *summed], [self._in_spans(ranges)]).group_by(code)
        else:
            parts = []
            for number, bounds in enumerate(ranges):
                part = self._where([_number(number * buckets) + bucket, *summed], self.keys.between(*bounds))
                parts.append(part.group_by(bucket) if buckets > 1 else part)
            statement = sa.union_all(*parts)
        found: list[dict[int, tuple[int, int]]] = [{} for _ in ranges]
        for code, rows, total in self._all(statement):
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
        width = len(self._key) + len(self.keys.extras)
        grouped: list[list[Row]] = [[] for _ in ranges]
        for place, values in self._keys_and_digests(ranges, limit, among, buckets):
            grouped[place].append(self._row(values[:width], (), self._digest_of(values[width:])))
        return [told_apart(rows) for rows in grouped]

    def _keys_and_digests(
        self, ranges: Sequence[Bounds], limit: int, among: Sequence[Collection[int]], buckets: int
    ) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """The number of a range, and key, its extras and digest of one of its rows."""
        last = [self._digest] if self._digest is not None else [raw_column(column) for column in self._hashed]
        columns = numbered([*map(raw_column, self._key), *self.keys.extras, *last])
        bucket = self._bucket(buckets)
        if self.counts_keys:
            where = [self._in_spans(ranges)]
            if any(len(each) < buckets for each in among):
                codes = [n * buckets + each for n, wanted in enumerate(among) for each in sorted(wanted)]
                where.append((self._place(ranges) * _number(buckets) + bucket).in_([_number(code) for code in codes]))
            edges = [high[0] for _, high in ranges if high is not None]
            for row in self._all(self._ordered(columns, where).limit(limit)):
                yield bisect_left(edges, row[0]), tuple(row)
            return
        parts = []
        for number, (bounds, wanted) in enumerate(zip(ranges, among, strict=True)):
            where = self.keys.between(*bounds)
            if len(wanted) < buckets:
                where.append(bucket.in_([_number(each) for each in sorted(wanted)]))
            parts.append(self._where([_number(number).label("place"), *columns], where))
        union = sa.union_all(*parts).subquery() if len(parts) > 1 else parts[0].subquery()
        order = [union.c.place, *(union.c[f"c{i}"] for i in self.keys.sorted_by)]
        for row in self._all(sa.select(union).order_by(*order).limit(limit)):
            yield int(row[0]), tuple(row)[1:]

    def _bucket(self, buckets: int) -> sa.ColumnElement[int]:
        return database_bucket(self._dialect, self._key, buckets)

    def _place(self, ranges: Sequence[Bounds]) -> sa.ColumnElement[int]:
        """The number of the range that a whole number lies in, if it is in any: by binary search in the database."""
        edges = [high[0] + 1 for _, high in ranges[:-1] if high is not None]
        column = self.keys.columns[0]
        if not edges:
            return sa.literal_column("0")
        if self._dialect == "postgresql":
            return sa.func.width_bucket(sa.cast(column, sa.BigInteger), sa.literal(edges, ARRAY(sa.BigInteger)))
        return sa.func.interval(column, *(sa.literal_column(str(edge)) for edge in edges))

    def _in_spans(self, ranges: Sequence[Bounds]) -> sa.ColumnElement[bool]:
        """Rows of any of some ranges."""
        return sa.or_(*(sa.and_(sa.true(), *self.keys.between(*span)) for span in _spans(ranges)))

    def _digest_of(self, values: tuple[Any, ...]) -> int:
        return int(values[0]) if self._digest is not None else python_digest(values)

    def page(self, low: Key | None, high: Key | None, *, limit: int) -> list[Row]:
        """The first rows of a range in key order; one that cannot be decoded comes with its error."""
        where = self.keys.between(low, high)
        return told_apart(self._rows(self._ordered(self._columns(), where).limit(limit), where, limit))

    def by_keys(self, keys: Sequence[Key]) -> Iterator[Row]:
        """The rows that have these keys, if they still exist."""
        while keys:
            most = min(self.size.rows, _KEYS_A_STATEMENT)
            part, keys = keys[:most], keys[most:]
            where = [self.keys.among(part)]
            yield from self._rows(self._ordered(self._columns(), where), where, len(part))

    def since(self, mark: Any, after: Key | None, *, limit: int, dead: bool = False) -> list[tuple[Any, Row]]:
        """Rows whose cursor column is at least mark, each with that column's value, in order of (cursor, key).

        after: the (cursor, *key) of the last row of the page before. dead: rows that the tombstone column marks.
        """
        columns = [self._base.c[column] for column in (self.method.column, *self.table.key)]
        order = KeyColumns(columns, self._connection.dialect.name)
        where = [order.after(after) if after is not None else order.starting_at(mark)]
        statement = self._where(self._columns(), where, dead=dead).order_by(*order.columns).limit(limit)
        position = list(self.table.columns).index(self.method.column)
        rows = self._rows(statement, where, limit)
        return [(row.values[position] if row.values else mark, row) for row in rows]

    def without_cursor(self, after: Key | None, *, limit: int) -> list[Row]:
        """Rows whose cursor column is NULL, in key order after a key."""
        where = [self._base.c[self.method.column].is_(None), *self.keys.between(after, None)]
        return self._rows(self._ordered(self._columns(), where).limit(limit), where, limit)

    def newest(self) -> Any:
        """The largest value of the cursor column; for a time, not later than the database's own clock."""
        column = self._base.c[self.method.column]
        statement = self._joined.alone(raw_column(sa.func.max(column)))
        if isinstance(column.type, sa.DateTime) and self._dialect != "sqlite":
            statement = statement.where(column <= sa.func.now())
        return self._all(statement)[0][0]

    def count(self) -> int:
        live = [_live(self._base.c[self.tombstone])] if self.tombstone else []
        return int(self._all(self._joined.alone(sa.func.count()).where(*live))[0][0])

    def repeated_key(self) -> tuple[Any, ...] | None:
        """A key that several rows share, and their number; None when there is none."""
        present = [key.is_not(None) for key in self._key]
        statement = self._joined.alone(*numbered([raw_column(key) for key in self._key]), sa.func.count())
        repeated = statement.where(*present).group_by(*self._key).having(sa.func.count() > 1).limit(1)
        found = self._all(repeated)
        return tuple(found[0]) if found else None

    def count_without_key(self) -> int:
        missing = sa.or_(*(key.is_(None) for key in self._key))
        return int(self._all(self._joined.alone(sa.func.count()).where(missing))[0][0])

    def event(self, row: Row) -> Upsert | Unreadable:
        """A row as the event that its source yields."""
        document_id = f"{self.table.name}/{row.name}"
        if not row.error:
            try:
                raw = [row.values[position] for position in self._key_positions]
                shown = key_values(raw, row.key, [c.type for c in self._key], self._dialect)
                key = {column: value.held for column, value in zip(self.table.key, shown, strict=True)}
                document = document_of(self.table, self.place, row.values, name=row.name, key=key)
                legacy = f"{self.table.name}/{legacy_row_id(raw)}"
                return Upsert(document=document, moved_from=legacy if legacy != document_id else "")
            except Exception as err:  # noqa: BLE001 any value that a driver may give; the other rows go on
                return unreadable(self.table, self.place, row.name, err)
        return Unreadable(document_id=document_id, scope=self.table.name, reason=row.error)

    # Statements.

    def _columns(self) -> list[sa.ColumnElement[Any]]:
        """The extras of the key, the row's columns, its labels, and its digest where the database makes one."""
        values = [raw_column(self._value(column)) for column in self._base.c]
        columns = [*self.keys.extras, *values, *self._joined.labels]
        return numbered([*columns, *([self._digest] if self._digest is not None else [])])

    def _where(
        self, columns: Sequence[Any], where: Sequence[sa.ColumnElement[bool]], *, dead: bool = False
    ) -> sa.Select[Any]:
        live = [_live(self._base.c[self.tombstone])] if self.tombstone else []
        if self.table.nullable_key:  # rows without a key are counted and reported, not read
            where = [*where, *(key.is_not(None) for key in self._key)]
        return self._joined.select(*columns).where(*where, *(sa.not_(c) if dead else c for c in live))

    def _ordered(
        self, columns: Sequence[sa.ColumnElement[Any]], where: Sequence[sa.ColumnElement[bool]]
    ) -> sa.Select[Any]:
        return self._where(columns, where).order_by(*self.keys.columns)

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

    def _rows(self, statement: Any, where: Sequence[sa.ColumnElement[bool]], limit: int) -> list[Row]:
        try:
            found = self._all(statement)
            self.size.learn(found)
            return [self._decoded(tuple(row)) for row in found]
        except (sa.exc.DBAPIError, ValueError, OverflowError) as err:
            if not _is_undecodable(err):
                raise
        named = self._ordered(numbered([*map(raw_column, self._key), *self.keys.extras]), where)
        keys = [self._split(tuple(row))[1] for row in self._all(named.limit(limit))]
        return self._salvage(keys)

    def _salvage(self, keys: Sequence[Key]) -> list[Row]:
        """Rows by key; halving finds the ones that do not decode, and those are read column by column."""
        if not keys:
            return []
        try:
            found = self._all(self._ordered(self._columns(), [self.keys.among(keys)]))
            return [self._decoded(tuple(row)) for row in found]
        except (sa.exc.DBAPIError, ValueError, OverflowError) as err:
            if not _is_undecodable(err):
                raise
        if len(keys) == 1:
            return self._by_column(keys[0])
        middle = len(keys) // 2
        return [*self._salvage(keys[:middle]), *self._salvage(keys[middle:])]

    def _by_column(self, key: Key) -> list[Row]:
        """One row, each column by a statement of its own: what cannot be decoded costs its value, not the row."""
        values: list[Any] = []
        for column in self._columns():
            try:
                found = self._all(self._where([column], [self.keys.among([key])]))
                if not found:
                    return []  # it has gone meanwhile
                values.append(found[0][0])
            except (sa.exc.DBAPIError, ValueError, OverflowError) as err:
                if not _is_undecodable(err):
                    raise
                values.append(Unread(" ".join(str(getattr(err, "orig", None) or err).split())[:200]))
        return [self._decoded(tuple(values))]

    def _decoded(self, values: tuple[Any, ...]) -> Row:
        extras, values = values[: len(self.keys.extras)], values[len(self.keys.extras) :]
        key = (*(values[position] for position in self._key_positions), *extras)
        values = tuple(
            Blob(value) if place in self._blobs and isinstance(value, int) else value
            for place, value in enumerate(values)
        )
        if self._digest is not None:
            return self._row(key, values[:-1], int(values[-1]))
        if self.method.name != "cursor":
            return self._row(key, values, python_digest(values))
        names = list(self.table.columns)
        shown = [values[names.index(column.name)] for column in self._of_cursor()]
        return self._row(key, values, python_digest([*shown, *values[len(names) :]]))

    def _row(self, key: tuple[Any, ...], values: tuple[Any, ...], digest: int) -> Row:
        """key: the values of the key columns, and the extras."""
        raw, compared = self._split(key)
        name = row_id(key_values(raw, compared, [c.type for c in self._key], self._dialect))
        return Row(key=compared, name=name, values=values, digest=digest)

    def _split(self, key: tuple[Any, ...]) -> tuple[tuple[Any, ...], Key]:
        """The values of the key columns, and the key as it is compared."""
        raw = key[: len(self._key)]
        return raw, self.keys.key(raw, key[len(self._key) :])


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """Rows with names that differ: of two with one name, the first keeps it and the second cannot be a document."""
    first: dict[str, Row] = {}
    apart: list[Row] = []
    for row in rows:
        owner = first.setdefault(row.name, row)
        if owner is not row:
            reason = f"its id is that of another row: their keys are {_shown(owner.key)} and {_shown(row.key)}"
            row = replace(row, name=f"{row.name}~{len(apart)}", error=reason)
        apart.append(row)
    return apart


def _shown(key: Key) -> str:
    return ", ".join(map(repr, key))


def _number(number: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(number))


def _spans(ranges: Sequence[Bounds]) -> list[Bounds]:
    """Ranges in ascending order, those that follow one another joined."""
    spans: list[Bounds] = []
    for low, high in ranges:
        if spans and spans[-1][1] == low is not None:
            spans[-1] = (spans[-1][0], high)
        else:
            spans.append((low, high))
    return spans


def _live(column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Rows whose tombstone column does not say that they are deleted."""
    if isinstance(column.type, sa.Boolean):
        return sa.or_(column.is_(None), column.is_(sa.false()))
    if isinstance(column.type, sa.Numeric | sa.Integer):
        return sa.or_(column.is_(None), column == 0)
    return column.is_(None)


def _is_undecodable(err: Exception) -> bool:
    """Whether an error came from a value, not from the connection or the statement."""
    if not isinstance(err, sa.exc.DBAPIError):
        return True
    return isinstance(err, sa.exc.DataError) or "decode" in str(err.orig).lower()


def _was_cancelled(err: Exception) -> bool:
    return isinstance(err, sa.exc.DBAPIError) and not err.connection_invalidated and error_code(err) in _CANCELLED

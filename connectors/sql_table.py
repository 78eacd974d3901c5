"""One table, as the statements that read it and the documents that its rows become."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from connectors.labels import RowLabels
from connectors.rows import Field, format_value, key_of, key_text, render
from connectors.sql_digest import UNKNOWN, Method, database_digest, python_digest
from connectors.sql_keys import Key, KeyColumns
from connectors.sql_schema import Reference, Table
from rag.text import humanize
from rag.types import Document, Unreadable, Upsert

_KEYS_A_STATEMENT = 200
Bounds = tuple[Key | None, Key | None]  # keys after the first, up to the second; None is no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the documents of a source belong."""

    source: str
    url: str
    labels: RowLabels = RowLabels()

    @property
    def address(self) -> str:
        """The database, without user and password."""
        parsed = sa.make_url(self.url)
        place = sa.URL.create(parsed.get_backend_name(), host=parsed.host, port=parsed.port, database=parsed.database)
        return place.render_as_string()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row as the driver gave it. error: why it could not be decoded, and then it has nothing but its key."""

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
        dialect = connection.dialect.name
        self._base = sa.table(table.name, *(sa.column(c, t) for c, t in table.columns.items()), schema=table.schema)
        self.keys = KeyColumns([self._base.c[column] for column in table.key], dialect)
        self._key_positions = [list(table.columns).index(column) for column in table.key]
        self._raw = [raw_column(self._base.c[column]) for column in table.columns]
        self._joined, self._labels = join_references(self._base, table)
        everything = list(self._base.c) if method.name != "cursor" else self._of_cursor()
        self._hashed = [*everything, *self._labels]
        self._digest = database_digest(dialect, self._hashed)

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

    def sums(self, ranges: Sequence[Bounds]) -> list[tuple[int, int]]:
        """Number of rows and sum of their digests, for each range of keys, in one statement.

        Ranges of whole numbers that follow one another are read in one pass.
        """
        total = sa.func.coalesce(sa.func.sum(self._digest), 0)
        follow = all(before[1] == after[0] is not None for before, after in pairwise(ranges))
        if self.counts_keys and follow and len(ranges) > 1:
            edges = [high[0] + 1 for _, high in ranges[:-1] if high is not None]
            place = _bucket(self._connection.dialect.name, self.keys.columns[0], edges).label("place")
            whole = self.keys.between(ranges[0][0], ranges[-1][1])
            selected: list[Any] = [place, sa.func.count(), total]
            statement: Any = self._where(sa.select(*selected), whole).group_by(place)
        else:
            parts = []
            for number, bounds in enumerate(ranges):
                columns: list[Any] = [sa.literal_column(str(number)), sa.func.count(), total]
                parts.append(self._where(sa.select(*columns), self.keys.between(*bounds)))
            statement = sa.union_all(*parts)
        found = {int(row[0]): (int(row[1]), int(row[2])) for row in self._all(statement)}
        return [found.get(number, (0, 0)) for number in range(len(ranges))]

    def digests(self, ranges: Sequence[Bounds], *, limit: int) -> list[list[Row]]:
        """Keys and digests of the rows of some ranges, at most limit in all, each range in key order.

        Where the database hashes, the rows come without their values.
        """
        if self._digest is None and self.method.name != "cursor":
            return [self.page(low, high, limit=limit) for low, high in ranges]
        width = len(self.table.key)
        grouped: list[list[Row]] = [[] for _ in ranges]
        for place, values in self._keys_and_digests(ranges, limit):
            grouped[place].append(self._row(values[:width], (), self._digest_of(values[width:])))
        return grouped

    def _keys_and_digests(self, ranges: Sequence[Bounds], limit: int) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """The number of a range, and key and digest of one of its rows."""
        last = [self._digest] if self._digest is not None else [raw_column(column) for column in self._hashed]
        columns = _numbered([*map(raw_column, self.keys.columns), *last])
        if self.counts_keys:
            where = sa.or_(*(sa.and_(sa.true(), *self.keys.between(*span)) for span in _spans(ranges)))
            edges = [high[0] for _, high in ranges if high is not None]
            for row in self._all(self._ordered(columns, [where]).limit(limit)):
                yield bisect_left(edges, row[0]), tuple(row)
            return
        parts = []
        for number, bounds in enumerate(ranges):
            place: sa.ColumnElement[int] = sa.literal_column(str(number)).label("place")
            parts.append(self._where(sa.select(place, *columns), self.keys.between(*bounds)))
        union = sa.union_all(*parts).subquery() if len(parts) > 1 else parts[0].subquery()
        order = [union.c.place, *(union.c[f"c{i}"] for i in range(len(self.table.key)))]
        for row in self._all(sa.select(union).order_by(*order).limit(limit)):
            yield int(row[0]), tuple(row)[1:]

    def _digest_of(self, values: tuple[Any, ...]) -> int:
        return int(values[0]) if self._digest is not None else python_digest(values)

    def page(self, low: Key | None, high: Key | None, *, limit: int) -> list[Row]:
        """The first rows of a range in key order; one that cannot be decoded comes with its error."""
        where = self.keys.between(low, high)
        return self._rows(self._ordered(self._columns(), where).limit(limit), where, limit)

    def by_keys(self, keys: Sequence[Key]) -> Iterator[Row]:
        """The rows that have these keys, if they still exist."""
        for start in range(0, len(keys), _KEYS_A_STATEMENT):
            part = keys[start : start + _KEYS_A_STATEMENT]
            where = [self.keys.among(part)]
            yield from self._rows(self._ordered(self._columns(), where), where, len(part))

    def since(self, mark: Any, after: Key | None, *, limit: int, dead: bool = False) -> list[tuple[Any, Row]]:
        """Rows whose cursor column is at least mark, each with that column's value, in order of (cursor, key).

        after: the (cursor, *key) of the last row of the page before. dead: rows that the tombstone column marks.
        """
        columns = [self._base.c[column] for column in (self.method.column, *self.table.key)]
        order = KeyColumns(columns, self._connection.dialect.name)
        where = [order.after(after) if after is not None else order.starting_at(mark)]
        statement = self._where(sa.select(*self._columns()), where, dead=dead).order_by(*order.columns).limit(limit)
        position = list(self.table.columns).index(self.method.column)
        rows = self._rows(statement, where, limit)
        return [(row.values[position] if row.values else mark, row) for row in rows]

    def without_cursor(self) -> list[Row]:
        """Rows whose cursor column is NULL."""
        where = [self._base.c[self.method.column].is_(None)]
        return self._rows(self._ordered(self._columns(), where), where, 0)

    def newest(self) -> Any:
        """The largest value of the cursor column; for a time, not later than the database's own clock."""
        column = self._base.c[self.method.column]
        statement = sa.select(raw_column(sa.func.max(column)))
        if isinstance(column.type, sa.DateTime) and self._connection.dialect.name != "sqlite":
            statement = statement.where(column <= sa.func.now())
        return self._all(statement)[0][0]

    def count(self) -> int:
        live = [_live(self._base.c[self.tombstone])] if self.tombstone else []
        return int(self._all(sa.select(sa.func.count()).select_from(self._base).where(*live))[0][0])

    def repeated_key(self) -> tuple[Any, ...] | None:
        """A key that several rows share, and their number; None when there is none."""
        keys = [self._base.c[column] for column in self.table.key]
        present = [key.is_not(None) for key in keys]
        statement = sa.select(*_numbered([raw_column(key) for key in keys]), sa.func.count()).select_from(self._base)
        repeated = statement.where(*present).group_by(*keys).having(sa.func.count() > 1).limit(1)
        found = self._all(repeated)
        return tuple(found[0]) if found else None

    def count_without_key(self) -> int:
        missing = sa.or_(*(self._base.c[column].is_(None) for column in self.table.key))
        return int(self._all(sa.select(sa.func.count()).select_from(self._base).where(missing))[0][0])

    def event(self, row: Row) -> Upsert | Unreadable:
        """A row as the event that its source yields."""
        document_id = f"{self.table.name}/{row.name}"
        reason = row.error
        if not reason:
            try:
                return Upsert(document=document_of(self.table, self.place, row.values))
            except Exception as err:  # noqa: BLE001 any value that a driver may give; the other rows go on
                reason = f"the row cannot be rendered: {type(err).__name__}: {err}"
        return Unreadable(document_id=document_id, scope=self.table.name, reason=" ".join(reason.split())[:500])

    # Statements.

    def _columns(self) -> list[sa.ColumnElement[Any]]:
        columns = [*self._raw, *self._labels, *([self._digest] if self._digest is not None else [])]
        return _numbered(columns)

    def _where(
        self, statement: sa.Select[Any], where: Sequence[sa.ColumnElement[bool]], *, dead: bool = False
    ) -> sa.Select[Any]:
        live = [_live(self._base.c[self.tombstone])] if self.tombstone else []
        if self.table.nullable_key:  # rows without a key are counted and reported, not read
            where = [*where, *(self._base.c[column].is_not(None) for column in self.table.key)]
        return statement.select_from(self._joined).where(*where, *(sa.not_(c) if dead else c for c in live))

    def _ordered(
        self, columns: Sequence[sa.ColumnElement[Any]], where: Sequence[sa.ColumnElement[bool]]
    ) -> sa.Select[Any]:
        return self._where(sa.select(*columns), where).order_by(*self.keys.columns)

    def _all(self, statement: Any) -> list[Any]:
        try:
            return list(self._connection.execute(statement).all())
        finally:
            self._connection.commit()  # no long transaction on somebody's production database

    def _rows(self, statement: Any, where: Sequence[sa.ColumnElement[bool]], limit: int) -> list[Row]:
        try:
            return [self._decoded(tuple(row)) for row in self._all(statement)]
        except (sa.exc.DBAPIError, ValueError, OverflowError) as err:
            if not _is_undecodable(err):
                raise
        self._connection.rollback()
        found = self._ordered(_numbered([raw_column(column) for column in self.keys.columns]), where)
        keys = [tuple(row) for row in self._all(found.limit(limit) if limit else found)]
        return self._salvage(keys)

    def _salvage(self, keys: Sequence[Key]) -> list[Row]:
        """Rows by key, those that decode; halving finds the ones that do not."""
        if not keys:
            return []
        try:
            found = self._all(self._ordered(self._columns(), [self.keys.among(keys)]))
            return [self._decoded(tuple(row)) for row in found]
        except (sa.exc.DBAPIError, ValueError, OverflowError) as err:
            if not _is_undecodable(err):
                raise
            self._connection.rollback()
            if len(keys) == 1:
                reason = f"a value cannot be decoded: {getattr(err, 'orig', None) or err}"
                return [self._row(keys[0], (), self._digest_alone(keys[0]), reason)]
        middle = len(keys) // 2
        return [*self._salvage(keys[:middle]), *self._salvage(keys[middle:])]

    def _digest_alone(self, key: Key) -> int:
        if self._digest is None:
            return UNKNOWN
        found = self._all(self._where(sa.select(self._digest), [self.keys.among([key])]))
        return int(found[0][0]) if found else UNKNOWN

    def _decoded(self, values: tuple[Any, ...]) -> Row:
        key = tuple(values[position] for position in self._key_positions)
        if self._digest is not None:
            return self._row(key, values[:-1], int(values[-1]))
        if self.method.name != "cursor":
            return self._row(key, values, python_digest(values))
        names = list(self.table.columns)
        shown = [values[names.index(column.name)] for column in self._of_cursor()]
        return self._row(key, values, python_digest([*shown, *values[len(names) :]]))

    def _row(self, key: Key, values: tuple[Any, ...], digest: int, error: str = "") -> Row:
        name = key_text(key_of(self.table.key, key))
        return Row(key=key, name=name, values=values, digest=digest, error=error)


def _bucket(dialect: str, column: sa.ColumnElement[Any], edges: Sequence[int]) -> sa.ColumnElement[int]:
    """How many of the edges, which ascend, are at most the column's value: by binary search, inside the database."""
    if dialect == "postgresql":
        return sa.func.width_bucket(sa.cast(column, sa.BigInteger), sa.literal(list(edges), ARRAY(sa.BigInteger)))
    return sa.func.interval(column, *(sa.literal_column(str(edge)) for edge in edges))


def _spans(ranges: Sequence[Bounds]) -> list[Bounds]:
    """Ranges in ascending order, those that follow one another joined."""
    spans: list[Bounds] = []
    for low, high in ranges:
        if spans and spans[-1][1] == low is not None:
            spans[-1] = (spans[-1][0], high)
        else:
            spans.append((low, high))
    return spans


def raw_column(column: Any) -> sa.ColumnElement[Any]:
    """A column as the driver gives it."""
    return sa.type_coerce(column, sa.types.NullType())


def _numbered(columns: Sequence[sa.ColumnElement[Any]]) -> list[sa.ColumnElement[Any]]:
    """Columns under names of their own, for tables whose columns are named alike."""
    return [column.label(f"c{number}") for number, column in enumerate(columns)]


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


def join_references(base: sa.TableClause, table: Table) -> tuple[sa.FromClause, list[sa.ColumnElement[Any]]]:
    """The table with each reference's row joined to it, and the columns that label those rows."""
    joined: sa.FromClause = base
    labels: list[sa.ColumnElement[Any]] = []
    for number, reference in enumerate(table.references):
        other = sa.table(
            reference.table,
            *(sa.column(c) for c in {*reference.referenced, *reference.labels}),
            schema=reference.schema,
        ).alias(f"r{number}")
        pairs = zip(reference.columns, reference.referenced, strict=True)
        joined = joined.outerjoin(other, sa.and_(*(base.c[mine] == other.c[theirs] for mine, theirs in pairs)))
        labels += [raw_column(other.c[label]) for label in reference.labels]
    return joined, labels


def document_of(table: Table, place: Place, row: Sequence[Any], *, name: str = "") -> Document:
    """A row, with the labels of its references after its own values, as a document.

    name: what tells a row apart in a table that has no key.
    """
    values = dict(zip(table.columns, row, strict=False))
    fields = _fields(table, values, list(row[len(table.columns) :]))
    key = key_of(table.key, [values[column] for column in table.key]) if table.key else None
    label = " ".join(t for c in table.labels if (t := format_value(values[c], table.columns[c])))
    text = render(table.name, fields, table_comment=table.comment)
    key_fields = [f for f in fields if f.name in {*table.key, *table.labels}]
    return Document(
        id=f"{table.name}/{name if key is None else key_text(key)}",
        source=place.source,
        title=" ".join([humanize(table.name), ", ".join(str(v) for v in (key or {}).values())]).strip()
        + (f": {label}" if label else ""),
        text=text,
        uri=f"{place.address}#{table.name}?"
        + ("&".join(f"{column}={value}" for column, value in key.items()) if key else f"row={name}"),
        scope=table.name,
        kind="row",
        primary_key=key,
        key_text="; ".join(render(table.name, key_fields).splitlines()),
        **place.labels.of(values, table.columns),
    )


def _fields(table: Table, values: Mapping[str, Any], labels: list[Any]) -> list[Field]:
    """The row's fields; those of a reference carry its label at the first of its columns."""
    named: dict[str, tuple[str, str]] = {}
    for reference in table.references:
        found, labels = labels[: len(reference.labels)], labels[len(reference.labels) :]
        text = " ".join(str(part).strip() for part in found if part is not None)
        if text:
            named[reference.columns[0]] = (text, _reference_key(reference))
    return [
        Field(
            name=column,
            value=values[column],
            type=column_type,
            comment=table.column_comments.get(column, ""),
            reference=named.get(column, ("", ""))[0],
            reference_key=named.get(column, ("", ""))[1],
        )
        for column, column_type in table.columns.items()
    ]


def _reference_key(reference: Reference) -> str:
    name = humanize(reference.referenced[0])
    return name if name.lower() != "id" else f"{humanize(reference.table)} id"

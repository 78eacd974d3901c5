"""Reads tables, or a named query, of any database that SQLAlchemy knows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from connectors.sql.changes.patience import Patience
from connectors.sql.changes.read import read_changes
from connectors.sql.changes.unkeyed import read_unkeyed
from connectors.sql.connection import create_engine, explained, has_no_rights, shown
from connectors.sql.documents import Place
from connectors.sql.limits import Limits
from connectors.sql.query import Query, check_query, read_query
from connectors.sql.schema import Chosen, Reference, Relations, Table, choose_tables, read_relations, read_table
from connectors.sql.table.joined import Joined
from connectors.sql.table.method import choose_method
from connectors.sql.table.reader import TableReader
from connectors.sql.visibility import RowVisibility
from rag.errors import SourceError
from rag.events import (
    Expected,
    Notice,
    ScopeFailed,
    SnapshotComplete,
    SourceEvent,
)
from rag.ports import Notes


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlSource:
    """A database as a source. Each row becomes one document, `TABLE/KEY`.

    tables: those to read, all when empty; exclude: those to leave out; keys: key columns of tables that have no
    primary key. cursors: a table's column that moves with every change; tombstones: its column that marks a row as
    deleted. labels: tenant, groups, tags and metadata of its documents. query: a SELECT to read instead of tables; then
    `key` names its key columns.
    """

    name: str
    url: str = field(repr=False)
    schema: str | None = None
    tables: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cursors: Mapping[str, str] = field(default_factory=dict)
    tombstones: Mapping[str, str] = field(default_factory=dict)
    patience: Patience = Patience()
    query: str = ""
    key: tuple[str, ...] = ()
    labels: RowVisibility = RowVisibility()
    limits: Limits = Limits()

    def read(self, notes: Notes | None = None, /) -> Iterator[SourceEvent]:
        """Yield what changed since the notes, table by table in key order; every row when there are none.

        A table that cannot be read ends with ScopeFailed, and the others go on. Raises SourceError when the database
        cannot be reached, or holds none of the tables.
        """
        engine = create_engine(self.url, self.limits)
        try:
            if self.query:
                with explained(self.url), engine.connect() as connection:
                    yield from read_query(self._query, connection)
            else:
                yield from _read_tables(self, engine, notes)
        finally:
            engine.dispose()

    def check(self) -> str:
        """What the source holds, in one line. Raises SourceError like `read`, and for any table that cannot be read."""
        engine = create_engine(self.url, self.limits)
        try:
            with explained(self.url), engine.connect() as connection:
                if self.query:
                    check_query(self._query, connection)
                    return f"{shown(self.url)}: the query runs"
                inspector = sa.inspect(connection)
                chosen, relations = _chosen(self, connection, inspector)
                for name in chosen.missing:
                    raise SourceError(chosen.no_table(name, self.schema))
                for name in chosen.names:
                    _table(self, inspector, name, relations)
                names = ", ".join(chosen.names[:8]) + ("…" if len(chosen.names) > 8 else "")
                return f"{shown(self.url)}: {len(chosen.names)} tables ({names})"
        finally:
            engine.dispose()

    @property
    def place(self) -> Place:
        return Place(source=self.name, url=self.url, labels=self.labels)

    @property
    def _query(self) -> Query:
        return Query(text=self.query, key=self.key, place=self.place)


def _chosen(source: SqlSource, connection: sa.Connection, inspector: sa.Inspector) -> tuple[Chosen, Relations]:
    for setting, named in (("keys", source.keys), ("cursors", source.cursors), ("tombstones", source.tombstones)):
        for name in named:
            if source.tables and name not in source.tables:
                raise SourceError(f"{setting} names table {name!r}, which is not among tables = {list(source.tables)}.")
    relations = read_relations(connection, source.schema)
    chosen = choose_tables(inspector, source.schema, source.tables, source.exclude, relations)
    if not chosen.names:
        if source.tables and chosen.missing:
            raise SourceError(chosen.no_table(chosen.missing[0], source.schema))
        raise SourceError(
            f"{shown(source.url)} has no tables{f' in schema {source.schema!r}' if source.schema else ''}."
        )
    return chosen, relations


def _table(source: SqlSource, inspector: sa.Inspector, name: str, relations: Relations) -> Table:
    """Raises SourceError for a table that does not have what the configuration says of it."""
    table = read_table(inspector, name, source.schema, source.keys.get(name, ()), relations)
    left = tuple(r for r in table.references if r.schema != source.schema or r.table not in source.exclude)
    table = replace(table, references=left)
    for setting, named in (("cursors", source.cursors), ("tombstones", source.tombstones)):
        _require_column(table, named.get(name), setting)
    if not table.key and (name in source.cursors or name in source.tombstones):
        raise SourceError(
            f"Table {name!r} has no primary key, which cursors and tombstones need. Name the columns that "
            f'identify its rows with keys = {{ {name} = ["…"] }}. Its columns: {", ".join(table.columns)}.'
        )
    source.labels.check(name, list(table.columns))
    return table


def _require_unique(reader: TableReader) -> None:
    """A key from the configuration has no constraint behind it; rows that share one would hide each other."""
    repeated = reader.repeated_key()
    if repeated is not None:
        columns, (*key, count) = ", ".join(reader.table.key), repeated
        shown = ", ".join(repr(value) for value in key)
        raise SourceError(
            f"Table {reader.table.name!r} has {count} rows whose key ({columns}) is {shown}. In keys, name "
            f"columns that identify its rows. Its columns: {', '.join(reader.table.columns)}."
        )


def _require_column(table: Table, column: str | None, setting: str) -> None:
    if column is not None and column not in table.columns:
        raise SourceError(
            f"Table {table.name!r} has no column {column!r}, named in {setting}. "
            f"Its columns: {', '.join(table.columns)}."
        )


def _read_tables(source: SqlSource, engine: sa.Engine, notes: Notes | None) -> Iterator[SourceEvent]:
    """Each table by itself: what goes wrong with one is told, and the next gets a connection that works."""
    connection = _connected(source, engine)
    rights: dict[tuple[str | None, str], bool] = {}  # whether a table that others refer to may be read
    try:
        with explained(source.url):
            inspector = sa.inspect(connection)
            chosen, relations = _chosen(source, connection, inspector)
        for name in chosen.missing:
            if name in source.tables:
                yield ScopeFailed(scope=name, reason=chosen.no_table(name, source.schema))
            else:
                yield Notice(text=f"exclude names {name!r}, which does not exist.")
        counted: set[str] = set()
        yield Expected(documents=_count_new(source, connection, inspector, chosen.names, relations, notes, counted))
        for name in chosen.names:
            try:
                with explained(source.url):
                    if connection.closed:
                        connection = _connected(source, engine)
                        inspector = sa.inspect(connection)
                    table = _table(source, inspector, name, relations)
                    for reference in _closed(connection, table.references, rights):
                        text = f"Table {name}: {reference.table} may not be read, so references to it show only keys."
                        yield Notice(text=text)
                        table = replace(table, references=tuple(r for r in table.references if r is not reference))
                    yield from _read_table(source, connection, table, notes, is_counted=name in counted)
            except Exception as err:  # noqa: BLE001 whatever one table's schema or driver does; the others go on
                connection.close()
                reason = str(err) if isinstance(err, SourceError) else f"{type(err).__name__}: {err}"
                yield ScopeFailed(scope=name, reason=reason)
    finally:
        connection.close()
    covered = {name: root for name, root in relations.partitions.items() if root in chosen.names}
    yield SnapshotComplete(
        scopes=frozenset({*chosen.names, *(set(chosen.missing) & set(source.tables))}) - covered.keys(),
        fixed_scopes=True,
        changes_only=True,
        covered={name: root for name, root in covered.items() if name not in chosen.names},
    )


def _count_new(
    source: SqlSource,
    connection: sa.Connection,
    inspector: sa.Inspector,
    names: Sequence[str],
    relations: Relations,
    notes: Notes | None,
    counted: set[str],
) -> int:
    """Rows of the tables that nothing is noted of, so that progress is told of their sum. counted: which they are.

    Of a table that cannot be counted the error is told when it is read.
    """
    noted = {scope for scope, _, _ in notes.find(name="table")} if notes is not None else set()
    rows = 0
    for name in names:
        if name not in noted:
            try:
                table = _table(source, inspector, name, relations)
                if table.key:  # others are counted as they are read, once
                    rows += int(connection.execute(Joined.of(table).alone(sa.func.count())).scalar_one())
                    connection.rollback()
                    counted.add(name)
            except Exception:  # noqa: BLE001 whatever one table's schema or driver does
                connection.close()
                break
    return rows


def _closed(
    connection: sa.Connection, references: Sequence[Reference], rights: dict[tuple[str | None, str], bool]
) -> Iterator[Reference]:
    """Those references whose rows the source's user may not read. rights: what has been found out in this read."""
    for reference in references:
        place = (reference.schema, reference.table)
        if place not in rights and connection.dialect.name != "sqlite":
            named = {*reference.referenced, *reference.labels}
            columns: list[sa.ColumnClause[Any]] = [sa.column(column) for column in named]
            other = sa.table(reference.table, *columns, schema=reference.schema)
            try:
                connection.execute(sa.select(*columns).select_from(other).where(sa.false()))
                rights[place] = True
            except sa.exc.DBAPIError as err:
                if not has_no_rights(err):
                    raise
                rights[place] = False
            connection.rollback()
        if not rights.get(place, True):
            yield reference


def _connected(source: SqlSource, engine: sa.Engine) -> sa.Connection:
    with explained(source.url):
        return engine.connect()


def _read_table(
    source: SqlSource, connection: sa.Connection, table: Table, notes: Notes | None, *, is_counted: bool
) -> Iterator[SourceEvent]:
    if not table.key:
        yield from read_unkeyed(connection, table, source.place)
        return
    method = choose_method(connection, table, source.cursors.get(table.name, ""))
    reader = TableReader(connection, table, source.place, method, source.tombstones.get(table.name, ""))
    if table.name in source.keys:
        _require_unique(reader)
    yield from read_changes(reader, notes, source.patience, is_counted=is_counted)

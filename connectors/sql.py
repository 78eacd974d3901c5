"""Reads tables, or a named query, of any database that SQLAlchemy knows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from connectors.labels import RowLabels
from connectors.rows import key_of, key_text
from connectors.sql_connection import create_engine, explained, masked, start_read_only
from connectors.sql_digest import choose_method
from connectors.sql_schema import Table, read_table, table_names
from connectors.sql_sync import Patience, read_changes
from connectors.sql_table import Place, TableReader, document_of
from connectors.sql_unkeyed import read_unkeyed
from rag.errors import SourceError
from rag.ports import Cursor
from rag.types import SnapshotComplete, SourceEvent, Unreadable, Upsert

_PAGE_ROWS = 1000


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
    labels: RowLabels = RowLabels()

    def read(self, cursor: Cursor | None = None) -> Iterator[SourceEvent]:
        """Yield what changed since the cursor's notes, table by table in key order; every row when there are none.

        Raises SourceError when the database cannot be reached, or a table, key or column is missing.
        """
        engine = create_engine(self.url)
        try:
            with explained(self.url), engine.connect() as connection:
                start_read_only(connection)
                if self.query:
                    yield from _read_query(self, connection)
                else:
                    yield from _read_tables(self, connection, cursor)
        finally:
            engine.dispose()

    def check(self) -> str:
        """What the source holds, in one line. Raises SourceError like `read`."""
        engine = create_engine(self.url)
        try:
            with explained(self.url), engine.connect() as connection:
                if self.query:
                    _query_columns(self, connection)
                    return f"{masked(self.url)}: the query runs"
                tables = _tables(self, connection)
                names = ", ".join(table.name for table in tables[:8]) + ("…" if len(tables) > 8 else "")
                return f"{masked(self.url)}: {len(tables)} tables ({names})"
        finally:
            engine.dispose()

    @property
    def place(self) -> Place:
        return Place(source=self.name, url=self.url, labels=self.labels)


def _tables(source: SqlSource, connection: sa.Connection) -> list[Table]:
    inspector = sa.inspect(connection)
    for setting, named in (("keys", source.keys), ("cursors", source.cursors), ("tombstones", source.tombstones)):
        for name in named:
            if source.tables and name not in source.tables:
                raise SourceError(f"{setting} names table {name!r}, which is not among tables = {list(source.tables)}.")
    names = table_names(inspector, source.schema, source.tables, source.exclude)
    if not names:
        raise SourceError(
            f"{masked(source.url)} holds no tables{f' in schema {source.schema!r}' if source.schema else ''}."
        )
    tables = [read_table(inspector, name, source.schema, source.keys.get(name, ())) for name in names]
    for setting, named in (("cursors", source.cursors), ("tombstones", source.tombstones)):
        for table in tables:
            _require_column(table, named.get(table.name), setting)
    for table in tables:
        if not table.key and (table.name in source.cursors or table.name in source.tombstones):
            raise SourceError(
                f"Table {table.name!r} has no primary key, which cursors and tombstones need. Name the columns that "
                f'tell its rows apart with keys = {{ {table.name} = ["…"] }}. Its columns: {", ".join(table.columns)}.'
            )
        source.labels.check(table.name, list(table.columns))
    return tables


def _require_unique(reader: TableReader) -> None:
    """A key from the configuration has no constraint behind it; rows that share one would hide each other."""
    repeated = reader.repeated_key()
    if repeated is not None:
        columns, (*key, count) = ", ".join(reader.table.key), repeated
        shown = ", ".join(repr(value) for value in key)
        raise SourceError(
            f"Table {reader.table.name!r} has {count} rows whose key ({columns}) is {shown}. Name columns that tell "
            f"its rows apart in keys. Its columns: {', '.join(reader.table.columns)}."
        )


def _require_column(table: Table, column: str | None, setting: str) -> None:
    if column is not None and column not in table.columns:
        raise SourceError(
            f"Table {table.name!r} has no column {column!r}, which {setting} names. "
            f"Its columns: {', '.join(table.columns)}."
        )


def _read_tables(source: SqlSource, connection: sa.Connection, cursor: Cursor | None) -> Iterator[SourceEvent]:
    tables = _tables(source, connection)
    for table in tables:
        if not table.key:
            yield from read_unkeyed(connection, table, source.place)
            continue
        method = choose_method(connection, table, source.cursors.get(table.name, ""))
        reader = TableReader(connection, table, source.place, method, source.tombstones.get(table.name, ""))
        if table.name in source.keys:
            _require_unique(reader)
        yield from read_changes(reader, cursor, source.patience)
    scopes = frozenset(table.name for table in tables)
    yield SnapshotComplete(scopes=scopes, fixed_scopes=True, changes_only=True)


def _read_query(source: SqlSource, connection: sa.Connection) -> Iterator[SourceEvent]:
    """One pass with a server-side cursor, in key order where the database sorts."""
    columns = _query_columns(source, connection)
    table = Table(name=source.name, schema=None, columns=dict.fromkeys(columns, sa.types.NullType()), key=source.key)
    statement = sa.text(source.query.rstrip().rstrip(";"))
    seen_null = 0
    with connection.execution_options(yield_per=_PAGE_ROWS).execute(statement) as result:
        for row in result:
            values = dict(zip(columns, row, strict=True))
            if any(values[column] is None for column in source.key):
                seen_null += 1
                continue
            try:
                yield Upsert(document=document_of(table, source.place, tuple(row)))
            except ValueError as err:
                name = f"{table.name}/{key_text(key_of(table.key, [values[column] for column in table.key]))}"
                yield Unreadable(document_id=name, scope=table.name, reason=f"the row cannot be rendered: {err}")
    if seen_null:
        reason = f"{seen_null} rows of the query have NULL in their key ({', '.join(source.key)})"
        yield Unreadable(document_id=f"{table.name}/NULL", scope=table.name, reason=reason)
    yield SnapshotComplete(scopes=frozenset({table.name}), fixed_scopes=True)


def _query_columns(source: SqlSource, connection: sa.Connection) -> list[str]:
    if not source.key:
        raise SourceError(
            f'Source {source.name!r} has a query but no key. Name the columns that tell its rows apart: key = ["…"].'
        )
    with connection.execution_options(stream_results=True).execute(
        sa.text(source.query.rstrip().rstrip(";"))
    ) as result:
        columns = list(result.keys())
    connection.commit()
    for column in source.key:
        if column not in columns:
            raise SourceError(
                f"The query of source {source.name!r} gives no column {column!r}. Its columns: {', '.join(columns)}."
            )
    source.labels.check(source.name, columns)
    return columns

"""Reads tables, or a named query, of any database that SQLAlchemy knows."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from connectors.rows import Field, format_value, key_of, key_text, render
from connectors.sql_schema import Reference, Table, read_table, table_names
from rag.errors import SourceError
from rag.text import humanize
from rag.types import Document, SnapshotComplete, SourceEvent, Unreadable, Upsert

_PAGE_ROWS = 1000
_EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}
_CONNECT_ARGS: dict[str, dict[str, Any]] = {
    "psycopg": {"connect_timeout": 10},
    "pymysql": {"connect_timeout": 10, "charset": "utf8mb4"},
}
_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlSource:
    """A database as a source. Each row becomes one document, `TABLE/KEY`.

    tables: those to read, all when empty; exclude: those to leave out; keys: key columns of tables that have no
    primary key. query: a SELECT to read instead of tables; then `key` names its key columns.
    """

    name: str
    url: str = field(repr=False)
    schema: str | None = None
    tables: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    query: str = ""
    key: tuple[str, ...] = ()
    tenant: str = "default"
    acl: tuple[str, ...] = ()

    def read(self, cursor: str | None = None) -> Iterator[SourceEvent]:
        """Yield every row, table by table in key order; complete unless an error is raised.

        Raises SourceError when the database cannot be reached, or a table or key is missing.
        """
        engine = create_engine(self.url)
        try:
            with _explained(self.url), engine.connect() as connection:
                _start_read_only(connection)
                reading = _read_query if self.query else _read_tables
                yield from reading(self, connection)
        finally:
            engine.dispose()

    def check(self) -> str:
        """What the source holds, in one line. Raises SourceError like `read`."""
        engine = create_engine(self.url)
        try:
            with _explained(self.url), engine.connect() as connection:
                if self.query:
                    _query_columns(self, connection)
                    return f"{masked(self.url)}: the query runs"
                tables = _tables(self, connection)
                names = ", ".join(table.name for table in tables[:8]) + ("…" if len(tables) > 8 else "")
                return f"{masked(self.url)}: {len(tables)} tables ({names})"
        finally:
            engine.dispose()


def masked(url: str) -> str:
    """A database URL without its password, and without any other credential in its query."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        return re.sub(r"//[^@/]*@", "//***@", url)
    hidden = {k: "***" if re.search(r"pass|pwd|token|secret|key", k, re.I) else v for k, v in parsed.query.items()}
    return parsed.set(query=hidden).render_as_string(hide_password=True)


def create_engine(url: str) -> sa.Engine:
    """An engine for a URL. Raises SourceError for a bad URL, a missing driver, or a missing SQLite file."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as err:
        raise SourceError(
            f"{masked(url)!r} is not a database URL. One looks like postgresql://user:password@host:5432/name."
        ) from err
    parsed = _with_driver(parsed)
    if parsed.get_backend_name() == "sqlite":
        _require_sqlite_file(parsed)
    try:
        driver = parsed.get_driver_name()
        return sa.create_engine(parsed, poolclass=sa.NullPool, connect_args=_CONNECT_ARGS.get(driver, {}))
    except sa.exc.NoSuchModuleError as err:
        raise SourceError(
            f"SQLAlchemy knows no database {parsed.drivername!r}: {err}. Check the part before :// in {masked(url)}."
        ) from err
    except ModuleNotFoundError as err:
        extra = _EXTRAS.get(parsed.get_backend_name())
        command = f"pip install 'citewell[{extra}]'" if extra else f"pip install {err.name}"
        raise SourceError(
            f"The driver for {parsed.drivername} is not installed (no module {err.name!r}): {command}"
        ) from err


def _with_driver(url: sa.URL) -> sa.URL:
    """The drivers of our extras, for a URL that names none."""
    drivers = {
        "postgresql": "postgresql+psycopg",
        "postgres": "postgresql+psycopg",
        "mysql": "mysql+pymysql",
        "mariadb": "mariadb+pymysql",
    }
    return url.set(drivername=drivers.get(url.drivername, url.drivername))


def _require_sqlite_file(url: sa.URL) -> None:
    """SQLite would make an empty database of a mistyped path."""
    database = url.database
    if not database or database == ":memory:" or database.startswith("file:"):
        return
    if not os.path.isfile(database):
        raise SourceError(f"There is no SQLite database at {os.path.abspath(database)}.")


def _start_read_only(connection: sa.Connection) -> None:
    statement = _READ_ONLY.get(connection.dialect.name)
    if statement:
        connection.execute(sa.text(statement))
        connection.commit()


class _explained:
    """Turns a driver's error into a SourceError that names the database and not the password."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, sa.exc.SQLAlchemyError | UnicodeDecodeError):
            cause = getattr(err, "orig", None) or err
            reason = " ".join(str(cause).split())[:400]
            password = sa.make_url(self._url).password
            if password:
                reason = reason.replace(str(password), "***")
            raise SourceError(f"The database {masked(self._url)} failed: {reason}\n{_remedy(reason)}") from err


def _remedy(reason: str) -> str:
    lowered = reason.lower()
    if "password" in lowered or "access denied" in lowered or "authentication" in lowered:
        return "Check the user and the password in the source's url."
    if "does not exist" in lowered or "unknown database" in lowered:
        return "Check the database's and the tables' names in the source."
    if "not a database" in lowered:
        return "The file is not an SQLite database."
    return "Check that the server runs and that the source's url has the right host and port."


def _tables(source: SqlSource, connection: sa.Connection) -> list[Table]:
    inspector = sa.inspect(connection)
    for name in source.keys:
        if source.tables and name not in source.tables:
            raise SourceError(f"keys names table {name!r}, which is not among tables = {list(source.tables)}.")
    names = table_names(inspector, source.schema, source.tables, source.exclude)
    if not names:
        raise SourceError(
            f"{masked(source.url)} holds no tables{f' in schema {source.schema!r}' if source.schema else ''}."
        )
    return [read_table(inspector, name, source.schema, source.keys.get(name, ())) for name in names]


def _read_tables(source: SqlSource, connection: sa.Connection) -> Iterator[SourceEvent]:
    tables = _tables(source, connection)
    for table in tables:
        yield from _read_table(source, connection, table)
    yield SnapshotComplete(scopes=frozenset(table.name for table in tables), fixed_scopes=True)


def _read_table(source: SqlSource, connection: sa.Connection, table: Table) -> Iterator[SourceEvent]:
    """Keyset pages: each starts after the last key of the one before, so memory stays level and nothing repeats."""
    statement, base, order = _select(table)
    after: tuple[Any, ...] | None = None
    while True:
        page = statement.order_by(*order).limit(_PAGE_ROWS)
        if after is not None:
            page = page.where(_beyond(order, after, connection.dialect.name))
        rows = connection.execution_options(stream_results=True).execute(page).all()
        connection.commit()  # no long transaction on somebody's production database
        for row in rows:
            yield Upsert(document=_document(source, connection, table, tuple(row)))
        if len(rows) < _PAGE_ROWS:
            break
        positions = [list(table.columns).index(column) for column in table.key]
        after = tuple(rows[-1][position] for position in positions)
    yield from _rows_without_key(source, connection, table, base)


def _select(table: Table) -> tuple[sa.Select[Any], sa.TableClause, list[sa.ColumnElement[Any]]]:
    """All columns raw, as the driver gives them, and after them each reference's labels, by outer joins."""
    base = sa.table(table.name, *(sa.column(c, t) for c, t in table.columns.items()), schema=table.schema)
    raw = [sa.type_coerce(base.c[c], sa.types.NullType()).label(f"c{i}") for i, c in enumerate(table.columns)]
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
        labels += [other.c[label].label(f"r{number}_{i}") for i, label in enumerate(reference.labels)]
    columns: list[Any] = [*raw, *labels]
    statement: sa.Select[Any] = sa.select(*columns).select_from(joined)
    return statement, base, [base.c[column] for column in table.key]


def _beyond(order: Sequence[sa.ColumnElement[Any]], after: Sequence[Any], dialect: str) -> sa.ColumnElement[bool]:
    """(k1, k2) > (a, b), spelt out because MySQL uses no index for the row form.

    SQLite keeps whatever was stored, so its values are bound as they came, not by the declared type.
    """
    types = [sa.types.NullType() if dialect == "sqlite" else column.type for column in order]
    bound = [sa.bindparam(None, value, type_=t) for value, t in zip(after, types, strict=True)]
    columns = [sa.type_coerce(column, sa.types.NullType()) for column in order] if dialect == "sqlite" else list(order)
    return sa.or_(
        *(sa.and_(*(columns[j] == bound[j] for j in range(i)), columns[i] > bound[i]) for i in range(len(columns)))
    )


def _rows_without_key(
    source: SqlSource, connection: sa.Connection, table: Table, base: sa.TableClause
) -> Iterator[SourceEvent]:
    """SQLite, and a key given in the configuration, allow NULL in a key; such a row is reported, not lost silently."""
    missing = sa.or_(*(base.c[column].is_(None) for column in table.key))
    count = connection.execute(sa.select(sa.func.count()).select_from(base).where(missing)).scalar_one()
    connection.commit()
    if count:
        columns = ", ".join(table.key)
        reason = f"{count} rows have NULL in their key ({columns}); give every row a key, or name another in keys"
        yield Unreadable(document_id=f"{table.name}/NULL", scope="", reason=reason)


def _document(source: SqlSource, connection: sa.Connection, table: Table, row: Sequence[Any]) -> Document:
    values = dict(zip(table.columns, row, strict=False))
    fields = _fields(table, values, list(row[len(table.columns) :]))
    key = key_of(table.key, [values[column] for column in table.key])
    label = " ".join(t for c in table.labels if (t := format_value(values[c], table.columns[c])))
    text = render(table.name, fields, table_comment=table.comment)
    key_fields = [f for f in fields if f.name in {*table.key, *table.labels}]
    return Document(
        id=f"{table.name}/{key_text(key)}",
        source=source.name,
        title=f"{humanize(table.name)} {', '.join(str(v) for v in key.values())}" + (f": {label}" if label else ""),
        text=text,
        uri=_uri(source.url, table, key),
        scope=table.name,
        kind="row",
        primary_key=key,
        key_text="; ".join(render(table.name, key_fields).splitlines()),
        tenant=source.tenant,
        acl=source.acl,
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


def _uri(url: str, table: Table, key: Mapping[str, Any]) -> str:
    parsed = sa.make_url(url)
    place = sa.URL.create(parsed.get_backend_name(), host=parsed.host, port=parsed.port, database=parsed.database)
    pairs = "&".join(f"{column}={value}" for column, value in key.items())
    return f"{place.render_as_string()}#{table.name}?{pairs}"


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
            yield Upsert(document=_document(source, connection, table, tuple(row)))
    if seen_null:
        reason = f"{seen_null} rows of the query have NULL in their key ({', '.join(source.key)})"
        yield Unreadable(document_id=f"{table.name}/NULL", scope="", reason=reason)
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
    return columns

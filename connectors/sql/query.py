"""A named query as a source: its rows, which are read whole at every run."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from connectors.sql.changes.spool import spooled
from connectors.sql.documents import Place, row_event
from connectors.sql.ids import key_values, row_id
from connectors.sql.schema import Table
from rag.errors import SourceError
from rag.events import Expected, Listed, Listing, ScopeComplete, SnapshotComplete, SourceEvent, Unreadable, Upsert

_PAGE_ROWS = 1000
_UNTYPED: sa.types.TypeEngine[Any] = sa.types.NullType()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A SELECT whose rows are documents of a place. key: the columns that tell its rows apart."""

    text: str
    key: tuple[str, ...]
    place: Place

    @property
    def statement(self) -> str:
        return self.text.rstrip().rstrip(";")


def read_query(query: Query, connection: sa.Connection) -> Iterator[SourceEvent]:
    """Run a query once, with a server-side cursor, and yield its rows when all of them have been read."""
    seen = seen_null = 0
    name = query.place.source
    result = _run(connection, query.statement)
    columns = list(result.keys())
    try:
        _check_columns(query, columns)
    except SourceError:
        result.close()
        raise
    table = Table(name=name, schema=None, columns=dict.fromkeys(columns, _UNTYPED), key=query.key)
    whole = {number for number, c in enumerate(columns) if c in query.place.labels.columns or c in query.key}
    with spooled(result, whole=whole, most=_PAGE_ROWS) as (number, rows):
        yield Expected(documents=number)
        yield Listing(scope=name)
        for row in rows:
            values = dict(zip(columns, row, strict=True))
            if any(values[column] is None for column in query.key):
                seen_null += 1
            else:
                seen += 1
                yield _event(query.place, table, values, connection.dialect.name)
    if seen_null:
        reason = f"{seen_null} rows of the query have NULL in their key ({', '.join(query.key)})"
        yield Unreadable(document_id=f"{name}/NULL", scope=name, reason=reason)
    yield Listed(scope=name)
    yield ScopeComplete(scope=name, documents=seen + bool(seen_null))
    yield SnapshotComplete(scopes=frozenset({name}), fixed_scopes=True, changes_only=True)


def check_query(query: Query, connection: sa.Connection) -> None:
    """Raises SourceError for a query that cannot be read as documents. No row of it is read."""
    with _run(connection, f"SELECT * FROM (\n{query.statement}\n) q WHERE 1 = 0") as result:  # noqa: S608 the operator's own
        columns = list(result.keys())
    connection.commit()
    _check_columns(query, columns)


def _event(place: Place, table: Table, values: Mapping[str, Any], dialect: str) -> Upsert | Unreadable:
    raw = [values[column] for column in table.key]
    key = key_values(raw, raw, [table.columns[column] for column in table.key], dialect)
    return row_event(table, place, list(values.values()), name=row_id(key), key=key, raw=raw)


def _run(connection: sa.Connection, statement: str) -> sa.CursorResult[Any]:
    """Run a statement as it is written: neither a colon nor a percent sign in it means anything to us."""
    options = connection.execution_options(stream_results=True, no_parameters=True)
    return options.exec_driver_sql(statement)


def _check_columns(query: Query, columns: Sequence[str]) -> None:
    name = query.place.source
    if not query.key:
        raise SourceError(
            f'Source {name!r} has a query but no key. Name the columns that identify its rows: key = ["…"].'
        )
    for column, number in Counter(columns).items():
        if number > 1:
            raise SourceError(
                f"The query of source {name!r} gives {number} columns called {column!r}, and only one of them "
                f"would be read. Give each a name of its own: SELECT … AS {column}_2."
            )
    for column in query.key:
        if column not in columns:
            raise SourceError(
                f"The query of source {name!r} returns no column {column!r}. Its columns: {', '.join(columns)}."
            )
    query.place.labels.check(name, columns)

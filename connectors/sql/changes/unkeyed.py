"""Tables whose rows nothing tells apart but their content: no primary key, none configured.

A row's id is a digest of its values, with a number behind it where several rows are the same, so that a change is one
row that goes and one that comes. Such a table is read whole at every run; what did not change costs no embedding.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from connectors.sql.changes.spool import spooled
from connectors.sql.documents import Place, document_of, unreadable
from connectors.sql.rows import format_value
from connectors.sql.schema import Table
from connectors.sql.table.joined import Joined, numbered, raw_column
from rag.events import Expected, Listed, Listing, ScopeComplete, SourceEvent, Upsert

_PAGE_ROWS = 1000


def read_unkeyed(connection: sa.Connection, table: Table, place: Place) -> Iterator[SourceEvent]:
    """Yield all rows of a table, once all of them have been read in one pass with a server-side cursor."""
    joined = Joined.of(table)
    statement = joined.select(*numbered([*map(raw_column, joined.base.c), *joined.labels]))
    seen: Counter[str] = Counter()
    result = connection.execution_options(stream_results=True).execute(statement)
    whole = {number for number, column in enumerate(table.columns) if column in place.labels.columns}
    with spooled(result, whole=whole, most=_PAGE_ROWS) as (number, rows):
        yield Expected(documents=number)
        yield Listing(scope=table.name, by_content=True)
        for row in rows:
            first = content_name(table, row)
            seen[first] += 1
            name = f"{first}-{seen[first]}" if seen[first] > 1 else first
            try:
                yield Upsert(document=document_of(table, place, row, name=name, key=None))
            except ValueError as err:
                yield unreadable(table, place, name, err)
    yield Listed(scope=table.name)
    yield ScopeComplete(scope=table.name, documents=seen.total())


def content_name(table: Table, row: Sequence[Any]) -> str:
    """The id of a row among those of a table without a key. row: its values, and whatever is behind them."""
    texts = (
        f"{column}\0{'' if value is None else format_value(value, kind)}\0{value is None}"
        for (column, kind), value in zip(table.columns.items(), row, strict=False)
    )
    digest = hashlib.blake2b("\0\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=10)
    return f"~{digest.hexdigest()}"

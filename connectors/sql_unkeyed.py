"""Tables whose rows nothing tells apart but their content: no primary key, none configured.

A row's id is a digest of its values, with a number behind it where several rows are the same. Such a table is read
whole at every run; what did not change costs no embedding.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from connectors.rows import format_value
from connectors.sql_documents import Place, document_of
from connectors.sql_joined import Joined, numbered, raw_column
from connectors.sql_schema import Table
from rag.types import Listed, Listing, ScopeComplete, SourceEvent, Unreadable, Upsert

_PAGE_ROWS = 1000


def read_unkeyed(connection: sa.Connection, table: Table, place: Place) -> Iterator[SourceEvent]:
    """Yield all rows of a table in one pass with a server-side cursor."""
    joined = Joined.of(table)
    statement = joined.select(*numbered([*map(raw_column, joined.base.c), *joined.labels]))
    seen: Counter[bytes] = Counter()
    yield Listing(scope=table.name, by_content=True)
    with connection.execution_options(yield_per=_PAGE_ROWS).execute(statement) as result:
        for row in result:
            digest = _digest(table, tuple(row)[: len(table.columns)])
            seen[digest] += 1
            again = f"-{seen[digest]}" if seen[digest] > 1 else ""
            name = f"~{digest.hex()}{again}"
            try:
                yield Upsert(document=document_of(table, place, tuple(row), name=name, key=None))
            except ValueError as err:
                reason = f"the row cannot be rendered: {err}"
                yield Unreadable(document_id=f"{table.name}/{name}", scope=table.name, reason=reason)
    connection.commit()
    yield Listed(scope=table.name)
    yield ScopeComplete(scope=table.name, documents=seen.total())


def _digest(table: Table, values: tuple[Any, ...]) -> bytes:
    texts = (
        f"{column}\0{'' if value is None else format_value(value, kind)}\0{value is None}"
        for (column, kind), value in zip(table.columns.items(), values, strict=True)
    )
    return hashlib.blake2b("\0\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=10).digest()

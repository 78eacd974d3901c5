"""Tables to test with: schemas written out, and databases in memory."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from connectors.sql.documents import Place
from connectors.sql.schema import Table
from connectors.sql.table.method import Method
from connectors.sql.table.reader import TableReader
from connectors.sql.visibility import RowVisibility

PLACE = Place(source="shop", url="sqlite:///shop.sqlite")


def a_table(columns: Mapping[str, Any] | None = None, *, key: tuple[str, ...] = ("id",), **more: Any) -> Table:
    """A table of numbered texts, or of these columns."""
    return Table(
        name=more.pop("name", "t"), schema=None, columns=columns or {"id": sa.Integer(), "body": sa.Text()}, key=key, **more
    )  # fmt: skip


def sqlite_file(path: Path, *statements: str) -> Path:
    """A database in a file, made, or changed, by statements."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


@contextmanager
def sqlite(*statements: str) -> Iterator[sa.Connection]:
    """A connection to a database in memory, made by statements."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.commit()
        yield connection
    engine.dispose()


def a_reader(
    connection: sa.Connection,
    table: Table,
    *,
    cursor: str = "",
    tombstone: str = "",
    labels: RowVisibility = RowVisibility(),
) -> TableReader:
    method = Method(name="cursor", column=cursor) if cursor else Method(name="scan")
    place = Place(source="shop", url="sqlite:///shop.sqlite", labels=labels)
    return TableReader(connection, table, place, method, tombstone)


def sql_of(statement: Any, dialect: str) -> str:
    """A statement as text, on one line, with its values in it."""
    names = {"mysql": "sqlalchemy.dialects.mysql", "postgresql": "sqlalchemy.dialects.postgresql"}
    module = __import__(names.get(dialect, "sqlalchemy.dialects.sqlite"), fromlist=["dialect"])
    compiled = statement.compile(dialect=module.dialect(), compile_kwargs={"literal_binds": True})
    return " ".join(str(compiled).split())

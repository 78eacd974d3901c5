"""A row's digest."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import FLOAT

from connectors.sql.table.digests import database_digest, python_digest
from tests.support.tables import sql_of

COLUMNS: list[sa.ColumnElement[Any]] = [sa.column("a", sa.Integer()), sa.column("b", sa.Text())]


def digest_of(dialect: str, columns: list[sa.ColumnElement[Any]]) -> sa.ColumnElement[Any]:
    digest = database_digest(dialect, columns)
    assert digest is not None
    return digest


def test_postgres_hashes_the_whole_row() -> None:
    digest = digest_of("postgresql", COLUMNS)
    assert "md5(CAST(row(a, b) AS TEXT))" in sql_of(sa.select(digest), "postgresql")


def test_mysql_tells_null_from_an_empty_text() -> None:
    text = sql_of(sa.select(digest_of("mysql", COLUMNS)), "mysql")
    assert "coalesce(concat('=', b), '-')" in text
    assert sql_of(sa.select(digest_of("mariadb", COLUMNS)), "mysql") == text


def test_mysql_s_floats_are_hashed_with_all_their_digits() -> None:
    columns: list[sa.ColumnElement[Any]] = [sa.column("price", FLOAT()), sa.column("b", sa.Text())]
    text = sql_of(sa.select(digest_of("mysql", columns)), "mysql")
    assert "concat('=', price + 0e0)" in text
    assert "b + 0e0" not in text


def test_a_database_without_md5_makes_no_digest() -> None:
    assert database_digest("sqlite", COLUMNS) is None


def test_our_own_digest_tells_types_and_places_apart() -> None:
    rows = [(1, "a"), ("1", "a"), ("a", 1), (1, "a", None), (1, None)]
    assert len({python_digest(row) for row in rows}) == len(rows)
    assert python_digest([1, "a"]) == python_digest((1, "a"))
    assert 0 <= python_digest(["\udcff"]) < 2**56

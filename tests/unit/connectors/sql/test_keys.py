"""Keys of rows: as conditions, and kept between runs."""

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from connectors.sql.keys import KeyColumns, decode, encode, is_single
from tests.support.tables import sql_of, sqlite

VALUES = [
    None, True, 7, 1.5, "text", datetime(2021, 1, 2, 3, 4, 5, 6), date(2021, 1, 2), time(9, 30), timedelta(days=-1, microseconds=3),
    Decimal("1.10"), UUID(int=5), b"\x00\xff",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_a_value_comes_back_from_json_as_it_went(value: Any) -> None:
    (back,) = decode(json.loads(json.dumps(encode([value]))))
    assert back == value
    assert type(back) is type(value)


def test_other_binary_values_are_kept_as_bytes_and_unknown_ones_as_text() -> None:
    assert decode(encode([bytearray(b"a"), memoryview(b"b")])) == (b"a", b"b")
    assert encode([postgresql.Range(1, 2)]) == ["[1,2)"]


PAIR = [sa.column("a", sa.Integer()), sa.column("b", sa.Integer())]


def ids_where(condition: Any) -> list[tuple[int, int]]:
    """The rows of a 3 by 3 table that a condition holds for."""
    rows = ", ".join(f"({a}, {b})" for a in range(3) for b in range(3))
    with sqlite("CREATE TABLE t (a INT, b INT)", f"INSERT INTO t VALUES {rows}") as db:
        statement = sa.select(*PAIR).select_from(sa.table("t")).where(condition)
        return [tuple(row) for row in db.execute(statement)]


ALL = [(a, b) for a in range(3) for b in range(3)]


@pytest.mark.parametrize("key", ALL)
def test_rows_are_after_a_key_or_up_to_it(key: tuple[int, int]) -> None:
    columns = KeyColumns(PAIR, "sqlite")
    assert ids_where(columns.after(key)) == [row for row in ALL if row > key]
    assert ids_where(columns.up_to(key)) == [row for row in ALL if row <= key]


def test_a_range_has_the_limits_that_it_is_given() -> None:
    columns = KeyColumns(PAIR, "sqlite")
    assert columns.between(None, None) == []
    assert ids_where(sa.and_(*columns.between((0, 1), (1, 1)))) == [(0, 2), (1, 0), (1, 1)]
    assert ids_where(sa.and_(*columns.between((2, 0), None))) == [(2, 1), (2, 2)]
    assert ids_where(sa.and_(*columns.between(None, (0, 0)))) == [(0, 0)]


def test_rows_are_among_keys_of_one_column_and_of_several() -> None:
    assert ids_where(KeyColumns(PAIR, "sqlite").among([(0, 1), (2, 2)])) == [(0, 1), (2, 2)]
    assert ids_where(KeyColumns(PAIR[:1], "sqlite").among([(1,)])) == [(1, 0), (1, 1), (1, 2)]
    assert ids_where(KeyColumns(PAIR, "sqlite").starting_at(2)) == [(2, 0), (2, 1), (2, 2)]


def of(kind: Any, dialect: str) -> KeyColumns:
    return KeyColumns([sa.column("k", kind)], dialect)


@pytest.mark.parametrize(
    ("kind", "dialect", "extra"),
    [
        (sa.Integer(), "postgresql", None),
        (sa.Text(), "postgresql", None),
        (sa.Uuid(), "postgresql", None),
        (sa.Enum("a", name="e"), "postgresql", "CAST(k AS TEXT)"),
        (sa.DateTime(), "postgresql", "CAST(k AS TEXT)"),
        (sa.Float(), "postgresql", "CAST(k AS TEXT)"),
        (sa.types.NullType(), "postgresql", 'CAST(k AS TEXT) COLLATE "C"'),
        (sa.DateTime(), "mysql", None),
        (mysql.FLOAT(), "mysql", "k + 0e0"),
        (mysql.ENUM("a"), "mysql", "k + 0"),
        (mysql.SET("a"), "mariadb", "k + 0"),
        (mysql.BIT(8), "mysql", None),
        (sa.Float(), "sqlite", None),
    ],
)
def test_another_form_is_read_where_the_driver_s_value_cannot_be_compared(
    kind: Any, dialect: str, extra: str | None
) -> None:
    extras = of(kind, dialect).extras
    texts = [sql_of(sa.select(each.label("x")), dialect.replace("mariadb", "mysql")) for each in extras]
    assert texts == ([f"SELECT {extra} AS x"] if extra is not None else [])


def test_the_other_form_is_the_key_that_is_compared() -> None:
    keys = KeyColumns([sa.column("a", sa.Integer()), sa.column("b", sa.DateTime())], "postgresql")
    assert keys.key([1, datetime(2021, 1, 1)], ["2021-01-01 00:00:00"]) == (1, "2021-01-01 00:00:00")
    assert keys.sorted_by == [0, 1]


def test_mysql_s_lists_are_sorted_by_their_number_once_they_are_in_a_subquery() -> None:
    columns: list[sa.ColumnElement[Any]] = [sa.column("a", sa.Integer()), sa.column("b", mysql.ENUM("x", "y"))]
    assert KeyColumns(columns, "mysql").sorted_by == [0, 2]


def test_mysql_s_bits_are_compared_as_a_number_and_other_bytes_as_they_are() -> None:
    assert of(mysql.BIT(16), "mysql").key([b"\x01\x00"], []) == (256,)
    assert of(mysql.BINARY(2), "mysql").key([b"\x01\x00"], []) == (b"\x01\x00",)
    assert of(postgresql.BIT(8), "postgresql").key(["01"], ["01"]) == ("01",)


def bound(kind: Any, dialect: str, value: Any) -> list[Any]:
    return list(of(kind, dialect).among([(value,)]).compile().params.values())


def test_a_uuid_is_compared_with_postgres_as_its_text() -> None:
    assert bound(sa.Uuid(), "postgresql", UUID(int=5)) == [str(UUID(int=5))]
    assert bound(sa.Uuid(), "mysql", UUID(int=5)) == [UUID(int=5)]
    assert bound(sa.Integer(), "postgresql", 5) == [5]


@pytest.mark.parametrize(
    ("kind", "is_typed"),
    [(mysql.BIT(8), False), (mysql.YEAR(), False), (mysql.INTEGER(), True), (mysql.DATETIME(), True)],
)
def test_types_that_sqlalchemy_cannot_compare_are_compared_without_their_type(kind: Any, is_typed: bool) -> None:
    assert isinstance(of(kind, "mysql").columns[0].type, sa.types.NullType) is not is_typed


def test_a_text_that_is_not_utf8_is_found_again_in_sqlite() -> None:
    broken = b"\xff".decode("utf-8", "surrogateescape")
    with sqlite("CREATE TABLE t (k TEXT)", "INSERT INTO t VALUES (CAST(x'ff' AS TEXT)), ('a')") as db:
        statement = (
            sa.select(sa.func.count()).select_from(sa.table("t")).where(of(sa.Text(), "sqlite").among([(broken,)]))
        )
        assert db.execute(statement).scalar_one() == 1


def test_only_mysql_s_float_prints_six_digits() -> None:
    assert is_single(mysql.FLOAT())
    assert not is_single(mysql.DOUBLE())

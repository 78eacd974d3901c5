"""Rows from what statements give."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import FLOAT

from connectors.sql.rows import Blob
from connectors.sql.table.decoding import Decoder, Row, told_apart
from connectors.sql.table.method import Method
from connectors.sql.table.statements import Statements
from tests.support.tables import a_table

SCAN, HASHED, MOVED = Method(name="scan"), Method(name="ranges"), Method(name="cursor", column="moved")


def decoder(dialect: str, method: Method, columns: Any = None, **more: Any) -> Decoder:
    return Decoder(Statements(dialect, a_table(columns, **more), method))


def test_a_digest_of_the_database_is_the_last_value() -> None:
    row = decoder("postgresql", HASHED).row((7, "text", "123"))
    assert (row.key, row.name, row.values, row.digest) == ((7,), "7", (7, "text"), 123)


def test_a_digest_is_made_of_all_values_where_the_database_makes_none() -> None:
    read = decoder("sqlite", SCAN)
    assert read.row((7, "text")).digest != read.row((7, "other")).digest
    assert read.row((7, "text")).values == (7, "text")


def test_a_digest_is_made_of_key_cursor_and_labels_where_a_column_moves() -> None:
    columns = {"id": sa.Integer(), "body": sa.Text(), "moved": sa.Integer()}
    read = decoder("sqlite", MOVED, columns)
    one = read.row((7, "text", 1, "label"))
    assert one.digest == read.row((7, "other", 1, "label")).digest
    assert one.digest != read.row((7, "text", 2, "label")).digest
    assert one.digest != read.row((7, "text", 1, "new label")).digest
    assert one.digest == read.key_and_digest((7, 7, 1, "label")).digest


def test_the_size_of_a_binary_value_is_all_that_is_known_of_it() -> None:
    read = decoder("postgresql", HASHED, {"id": sa.Integer(), "cover": sa.LargeBinary()})
    assert read.row((7, 4096, "1")).values == (7, Blob(4096))
    assert read.row((7, None, "1")).values == (7, None)


def test_another_form_of_the_key_is_read_before_the_values() -> None:
    read = decoder("mysql", HASHED, {"id": FLOAT(), "body": sa.Text()})
    row = read.row((1.25, 1.2, "text", 5))
    assert (row.key, row.values) == ((1.25,), (1.2, "text"))
    assert read.raw_key(row) == [1.2]
    assert row.name == "%float:1.25"
    assert read.key((1.2, 1.25)) == (1.25,)
    assert read.key_and_digest((1.2, 1.25, "9")) == Row(key=(1.25,), name="%float:1.25", digest=9)


def test_the_key_s_columns_may_stand_anywhere() -> None:
    read = decoder("sqlite", SCAN, {"body": sa.Text(), "b": sa.Integer(), "a": sa.Integer()}, key=("a", "b"))
    assert read.row(("text", 2, 1)).key == (1, 2)


def test_of_two_rows_with_one_name_the_second_is_told() -> None:
    rows = [Row(key=(1,), name="1"), Row(key=("1",), name="1"), Row(key=(2,), name="2")]
    first, second, third = told_apart(rows)
    assert (first, third) == (rows[0], rows[2])
    assert second.name == "1~1"
    assert "1 and '1'" in second.error

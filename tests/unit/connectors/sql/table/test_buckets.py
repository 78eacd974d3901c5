"""Buckets of keys: which keys have one, and that the database and we make the same text of it."""

from typing import Any

import pytest
import sqlalchemy as sa

from connectors.sql.table.buckets import bucket_of, database_bucket, has_buckets
from tests.support.tables import sql_of


def test_a_row_is_in_the_bucket_of_its_key_s_text() -> None:
    assert bucket_of("42", 8) == (bucket_of("42", 256) or 0) % 8
    assert bucket_of("a%2Cb", 256) == bucket_of("a%2Cb", 256)
    assert len({bucket_of(str(n), 8) for n in range(100)}) == 8


def test_a_key_of_two_values_is_no_key_of_their_texts_joined() -> None:
    assert bucket_of("1,23", 256) != bucket_of("12,3", 256)


@pytest.mark.parametrize("name", ["%float:1.5", "%sha256:ab,x", "1,%array:{a}"])
def test_an_id_that_does_not_show_its_key_has_no_bucket(name: str) -> None:
    assert bucket_of(name, 8) is None


@pytest.mark.parametrize(
    ("types", "are_shown"),
    [
        ([sa.Integer()], True),
        ([sa.String(), sa.Uuid()], True),
        ([sa.Enum("a", "b")], False),
        ([sa.Integer(), sa.DateTime()], False),
        ([sa.Float()], False),
    ],
)
def test_only_numbers_texts_and_uuids_have_buckets(types: Any, are_shown: bool) -> None:
    assert has_buckets(types) is are_shown


KEY: list[sa.ColumnElement[Any]] = [sa.column("a", sa.Integer()), sa.column("b", sa.Text())]


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("postgresql", "get_byte(decode(md5(concat_ws(chr(31), a, b)), 'hex'), 0)"),
        ("mysql", "conv(substr(md5(CAST(concat_ws(char(31), a, b) AS CHAR CHARACTER SET utf8mb4)), 1, 2), 16, 10)"),
    ],
)
def test_the_database_takes_the_first_byte_of_the_same_hash(dialect: str, text: str) -> None:
    assert text in sql_of(sa.select(database_bucket(dialect, KEY, 8)), dialect)


def test_a_single_bucket_costs_no_hash() -> None:
    assert sql_of(sa.select(database_bucket("postgresql", KEY, 1)), "postgresql").startswith("SELECT 0")

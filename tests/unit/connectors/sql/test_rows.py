import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg.types.multirange import Multirange as MultiRange
from psycopg.types.range import Range
from sqlalchemy.dialects import mysql

from connectors.sql.rows import (
    Blob,
    Field,
    Unread,
    as_label,
    format_value,
    json_value,
    label_columns,
    metadata_value,
    render,
)

NULL = sa.types.NullType()


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "column_type", "text"),
    [
        (Decimal("0.990"), NULL, "0.990"),
        (1.98, sa.Numeric(10, 2), "1.98"),
        (2, sa.Numeric(10, 2), "2.00"),
        (1, sa.Boolean(), "yes"),
        (False, NULL, "no"),
        (datetime(2021, 1, 2, 3, 4, 5), NULL, "2021-01-02 03:04:05"),
        ("2021-01-02 03:04:05", sa.DateTime(), "2021-01-02 03:04:05"),
        (datetime(2021, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), NULL, "2021-01-02 01:04:05 UTC"),
        (datetime(2021, 1, 2, tzinfo=UTC), NULL, "2021-01-02 00:00:00 UTC"),
        (date(2021, 1, 2), NULL, "2021-01-02"),
        (time(9, 30), NULL, "09:30:00"),
        ("not a date", sa.DateTime(), "not a date"),
        ('{"b": 1, "a": "中"}', sa.JSON(), '{"a": "中", "b": 1}'),
        (["x", "y"], NULL, "x, y"),
        (uuid.UUID(int=1), NULL, "00000000-0000-0000-0000-000000000001"),
        (b"\x00\x01", NULL, "(binary, 2 bytes, not indexed)"),
        ("  padded ", NULL, "padded"),
    ],
)
def test_values_read_as_people_write_them(value: object, column_type: sa.types.TypeEngine[Any], text: str) -> None:
    assert format_value(value, column_type) == text


def test_a_row_names_table_columns_comments_and_references_and_leaves_nulls_out() -> None:
    fields = [
        Field(name="AlbumId", value=4, type=NULL),
        Field(name="Title", value="Let There Be Rock", type=NULL, comment="as printed"),
        Field(name="ArtistId", value=1, type=NULL, reference="AC/DC", reference_key="Artist id"),
        Field(name="Notes", value=None, type=NULL),
    ]
    assert render("Album", fields, table_comment="all releases") == (
        "Album (all releases)\nAlbum id: 4\nTitle (as printed): Let There Be Rock\nArtist: AC/DC (Artist id 1)"
    )


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["Id", "FirstName", "LastName"], ("FirstName", "LastName")),
        (["id", "title", "body"], ("title",)),
        (["编号", "名称"], ("名称",)),
        (["id", "model", "make"], ("model", "make")),
        (["id", "street", "town", "land"], ()),
    ],
)
def test_the_columns_that_name_a_row_are_found(names: list[str], labels: tuple[str, ...]) -> None:
    assert label_columns(names, names, key=names[:1]) == labels


def test_values_of_keys_are_json() -> None:
    assert [json_value(value) for value in (Decimal(3), "x,y/z", b"\xff", None, 1.5)] == [3, "x,y/z", "ff", None, 1.5]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (timedelta(hours=-12, minutes=-30), sa.Time(), "-12:30:00"),
        (timedelta(hours=100, minutes=15), sa.Time(), "100:15:00"),
        (timedelta(seconds=1, microseconds=5), sa.Time(), "0:00:01.000005"),
        (timedelta(days=1), sa.Interval(), "1 day, 0:00:00"),
        (Unread("year 20000 is out of range"), NULL, "(cannot be read: year 20000 is out of range)"),
        (b"ab\xff".decode("utf-8", "surrogateescape"), NULL, "(cannot be read: 3 bytes that are not UTF-8)"),
    ],
)
def test_durations_and_values_that_cannot_be_read(value: object, kind: sa.types.TypeEngine[Any], text: str) -> None:
    assert format_value(value, kind) == text


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (1e16, sa.Float(), "1e+16"),
        (float("inf"), sa.Float(), "Infinity"),
        (float("nan"), NULL, "NaN"),
        (b"\x05", mysql.BIT(4), "0101"),
        (b"\x01", mysql.BIT(), "1"),
        ("05", mysql.BIT(4), "05"),
        (b"\x05", sa.LargeBinary(), "(binary, 1 bytes, not indexed)"),
        (20210102, sa.DateTime(), "20210102"),
        ("2021-01-02", sa.Date(), "2021-01-02"),
        ("20210102", sa.Date(), "2021-01-02"),
        (20210102, sa.Date(), "20210102"),
        ("20210102", sa.DateTime(), "2021-01-02 00:00:00"),
        ("20210102", sa.Text(), "20210102"),
        (1, mysql.TINYINT(1), "yes"),
        (1, mysql.TINYINT(4), "1"),
        (2, mysql.TINYINT(1), "2"),
        (1, mysql.INTEGER(display_width=1), "1"),
        (Range(1, 5), NULL, "[1, 5)"),
        (Range(None, datetime(2021, 1, 2), bounds="(]"), NULL, "(, 2021-01-02 00:00:00]"),
        (Range(empty=True), NULL, "empty"),
        ([Range(1, 5), Range(7, 9)], NULL, "[1, 5), [7, 9)"),
        (MultiRange([Range(1, 5), Range(7, 9)]), NULL, "{[1, 5), [7, 9)}"),
        (Colour.RED, NULL, "red"),
        ("not json", sa.JSON(), "not json"),
        (Blob(3), NULL, "(binary, 3 bytes, not indexed)"),
        (1.5, sa.Numeric(), "1.5"),
        (float("inf"), sa.Numeric(10, 2), "Infinity"),
    ],
)
def test_values_of_each_database_read_alike(value: object, kind: sa.types.TypeEngine[Any], text: str) -> None:
    assert format_value(value, kind) == text


def test_a_label_is_one_line_of_at_most_200_characters() -> None:
    assert as_label(" a\n b ") == "a b"
    assert as_label("x" * 200) == "x" * 200
    assert as_label("x" * 199 + " y") == "x" * 199 + "…"


def test_a_reference_s_column_loses_its_id_unless_that_is_all_of_its_name() -> None:
    fields = [
        Field(name=name, value=1, type=NULL, reference="AC/DC", reference_key="Id") for name in ("artist_id", "id")
    ]
    assert render("t", fields) == "T\nArtist: AC/DC (Id 1)\nId: AC/DC (Id 1)"


@pytest.mark.parametrize(
    ("value", "kind", "held"),
    [
        (datetime(2021, 1, 2), NULL, "2021-01-02T00:00:00"),
        (date(2021, 1, 2), NULL, "2021-01-02"),
        ("20210102", sa.Date(), "2021-01-02"),
        (Decimal("1.50"), NULL, 1.5),
        (Decimal("2.00"), NULL, 2),
        (1.5, NULL, 1.5),
        ("text", NULL, "text"),
        (None, NULL, None),
        (1, sa.Boolean(), True),
    ],
)
def test_values_are_filtered_by_what_they_are(value: object, kind: sa.types.TypeEngine[Any], held: object) -> None:
    found = metadata_value(value, kind)
    assert found == held
    assert type(found) is type(held)


def test_a_key_of_bytes_that_are_no_text_is_told_as_such() -> None:
    assert json_value("ab\udcff") == "(cannot be read: 3 bytes that are not UTF-8)"
    assert json_value(Decimal("1.5")) == "1.5"


@pytest.mark.parametrize(
    ("names", "texts", "labels"),
    [
        (["id", "first_name"], ["first_name"], ("first_name",)),
        (["id", "last_name", "code"], ["last_name"], ("code",)),
        (["id", "product_name", "notes", "a", "b"], ["product_name", "notes", "a", "b"], ("product_name",)),
        (["id", "product_name", "notes", "a", "b"], ["notes", "a", "b"], ()),
        (["id", "a", "b"], ["id", "a", "b"], ("a", "b")),
    ],
)
def test_rows_are_named_by_names_and_short_texts(names: list[str], texts: list[str], labels: tuple[str, ...]) -> None:
    assert label_columns(names, texts, key=names[:1]) == labels

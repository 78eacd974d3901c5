import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
import sqlalchemy as sa

from connectors.sql.rows import Field, Unread, format_value, json_value, label_columns, render

NULL = sa.types.NullType()


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
def test_values_read_as_people_write_them(value: object, column_type: sa.types.TypeEngine, text: str):
    assert format_value(value, column_type) == text


def test_a_row_names_table_columns_comments_and_references_and_leaves_nulls_out():
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
def test_the_columns_that_name_a_row_are_found(names: list[str], labels: tuple[str, ...]):
    assert label_columns(names, names, key=names[:1]) == labels


def test_values_of_keys_are_json():
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
def test_durations_and_values_that_cannot_be_read(value: object, kind: sa.types.TypeEngine, text: str):
    assert format_value(value, kind) == text

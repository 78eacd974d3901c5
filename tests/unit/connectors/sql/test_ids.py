"""Ids of rows: typed, canonical, injective."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.mysql import FLOAT
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from connectors.sql.ids import key_values, legacy_row_id, plain_key, row_id

NULL = sa.types.NullType()


def name(value: object, text: object, kind: sa.types.TypeEngine[Any], dialect: str) -> str:
    return row_id(key_values([value], [text], [kind], dialect))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (7, sa.Integer()),
        (-7, sa.BigInteger()),
        ("a/b,c%d", sa.String()),
        ("naïve 名", sa.Text()),
        (UUID(int=5), sa.Uuid()),
    ],
)
def test_numbers_texts_and_uuids_keep_the_id_that_they_had(value: object, kind: sa.types.TypeEngine[Any]) -> None:
    for dialect in ("postgresql", "mysql", "sqlite"):
        assert name(value, value, kind, dialect) == legacy_row_id([value])


def test_times_with_a_zone_are_told_apart_to_the_microsecond() -> None:
    first, second = "2026-03-01 12:00:00.25+00", "2026-03-01 12:00:00.5+00"
    value = datetime(2026, 3, 1, 12, tzinfo=UTC)
    kind = sa.DateTime(timezone=True)
    assert name(value, first, kind, "postgresql") != name(value, second, kind, "postgresql")
    assert legacy_row_id([value]) == "2026-03-01 12:00:00 UTC"


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ((["a", "b"], "{a,b}"), (["a, b"], '{"a, b"}'), ARRAY(sa.Text)),
        (([1, "1"], '[1, "1"]'), ([1, 1], "[1, 1]"), JSONB()),
        ((1, "1"), ("1", '"1"'), JSONB()),
        (({"a": None}, '{"a": null}'), ('{"a": null}', '"{\\"a\\": null}"'), JSONB()),
        ((16777216.0, 16777216.0), (16777216.0, 16777215.0), FLOAT()),
    ],
)
def test_values_whose_plain_forms_meet_are_told_apart(
    one: tuple[object, object], other: tuple[object, object], kind: sa.types.TypeEngine[Any]
) -> None:
    dialect = "mysql" if isinstance(kind, FLOAT) else "postgresql"
    assert name(*one, kind, dialect) != name(*other, kind, dialect)


LOOSE = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.text(max_size=8), st.binary(max_size=8), st.integers().map(str),
    st.floats(allow_nan=False).map(repr), st.binary(max_size=4).map(bytes.hex),
)  # fmt: skip


@given(st.lists(LOOSE, min_size=2, max_size=2), st.sampled_from([NULL, sa.BLOB()]))
def test_what_sqlite_tells_apart_has_ids_that_differ(pair: list[object], kind: sa.types.TypeEngine[Any]) -> None:
    """SQLite holds 1 and 1.0 to be equal, so a key has one of them only."""
    one, other = pair
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    same = one == other if numbers or type(one) is type(other) else False
    assert same or name(one, one, kind, "sqlite") != name(other, other, kind, "sqlite")


@given(st.lists(st.text(max_size=6), min_size=2, max_size=2), st.lists(st.text(max_size=6), min_size=2, max_size=2))
def test_two_texts_never_make_the_id_of_two_others(one: list[str], other: list[str]) -> None:
    types = [sa.Text(), sa.Text()]
    ids = [row_id(key_values(key, key, types, "postgresql")) for key in (one, other)]
    assert (one == other) == (ids[0] == ids[1])


def test_a_long_key_is_hashed_and_still_told_apart() -> None:
    one, other = ("x" * 5000 + end for end in "ab")
    ids = {name(text, text, sa.Text(), "postgresql") for text in (one, other)}
    assert len(ids) == 2
    assert max(map(len, ids)) < 200


def test_bytes_that_are_no_text_make_an_id_that_is() -> None:
    broken = b"ab\xff".decode("utf-8", "surrogateescape")
    assert name(broken, broken, sa.Text(), "sqlite") == "%bytes:6162ff"
    assert name("%bytes:6162ff", "%bytes:6162ff", sa.Text(), "sqlite") == "%25bytes:6162ff"


def test_durations_keep_the_id_that_they_had() -> None:
    value = timedelta(hours=-12, minutes=-30)
    assert name(value, value, sa.Time(), "mysql") == legacy_row_id([value]) == "-1 day%2C 11:30:00"


def test_the_texts_of_a_key_come_back_from_its_id() -> None:
    key = ["a,b", "c/d%", "7"]
    assert plain_key(row_id(key_values(key, key, [sa.Text()] * 3, "postgresql"))) == key
    assert plain_key("1,%array:{a}") == []


def test_arrays_and_other_values_have_tags_of_their_own() -> None:
    assert name([1, 2], "{1,2}", ARRAY(sa.Integer), "postgresql") == "%array:{1%2C2}"
    assert name((1, 2), "(1,2)", NULL, "postgresql") == "%value:(1%2C2)"
    assert name({"b": 1, "a": 2}, {}, sa.JSON(), "mysql") == '%json:{"a": 2%2C "b": 1}'


def test_only_sqlite_keeps_bytes_and_texts_in_one_column() -> None:
    assert name(b"ab", b"ab", sa.LargeBinary(), "sqlite") == "%blob:6162"
    assert name(b"ab", b"ab", sa.LargeBinary(), "mysql") == "6162"
    assert name("12", "12", NULL, "sqlite") == "%text:12"
    assert name("12", "12", NULL, "mysql") == "12"
    assert name("012", "012", NULL, "sqlite") == "012"


def test_a_time_with_a_zone_stands_as_the_database_s_text_or_in_iso() -> None:
    value = datetime(2026, 3, 1, 12, tzinfo=UTC)
    kind = sa.DateTime(timezone=True)
    assert name(value, "2026-03-01 12:00:00+00", kind, "postgresql") == "%time:2026-03-01 12:00:00+00"
    assert name(value, value, kind, "mysql") == "%time:2026-03-01 12:00:00+00:00"

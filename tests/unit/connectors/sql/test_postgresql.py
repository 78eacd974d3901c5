"""What psycopg cannot decode comes as PostgreSQL's own text."""

from datetime import date, datetime
from typing import Any

import psycopg
import pytest
from psycopg import adapt, postgres

from connectors.sql.postgresql import load_everything


class Connection:
    """A connection to a server, as far as loaders are concerned."""

    def __init__(self, encoding: str = "UTF8") -> None:
        self.adapters = adapt.AdaptersMap(postgres.adapters)
        self.info = type(
            "info", (), {"parameter_status": lambda _, name: encoding if name == "server_encoding" else None}
        )()
        load_everything(self, object())

    def load(self, kind: str, text: bytes) -> Any:
        oid = postgres.types[kind].oid
        return self.adapters.get_loader(oid, psycopg.pq.Format.TEXT)(oid).load(text)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("date", "infinity"),
        ("timestamp", "20000-01-01 00:00:00"),
        ("timestamptz", "0044-03-15 00:00:00+00 BC"),
        ("time", "24:00:00"),
    ],
)
def test_a_time_that_python_does_not_have_is_its_text(kind: str, text: str) -> None:
    assert Connection().load(kind, text.encode()) == text


def test_other_times_are_times() -> None:
    assert Connection().load("date", b"2021-01-02") == date(2021, 1, 2)
    assert Connection().load("timestamp", b"2021-01-02 03:04:05") == datetime(2021, 1, 2, 3, 4, 5)


def test_an_interval_is_as_the_database_writes_it() -> None:
    assert Connection().load("interval", b"-1 mon +02:00:00") == "-1 mon +02:00:00"


def test_a_number_that_is_too_long_for_python_is_its_text() -> None:
    number = b"9" * 5000
    assert Connection().load("jsonb", number) == number.decode()
    assert Connection().load("json", b'{"a": 1}') == {"a": 1}


def test_text_of_a_database_without_an_encoding_is_kept_as_bytes() -> None:
    assert Connection("SQL_ASCII").load("text", b"ab\xff") == "ab\udcff"
    with pytest.raises(UnicodeDecodeError):
        Connection().load("text", b"ab\xff")

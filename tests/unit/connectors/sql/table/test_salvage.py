"""Rows of which a value cannot be decoded."""

from collections.abc import Sequence, Set
from typing import Any

import pytest
import sqlalchemy as sa

from connectors.sql.keys import Key
from connectors.sql.rows import Unread
from connectors.sql.table.salvage import is_undecodable, salvage

ROWS = {1: ("a", "x"), 2: ("b", "y"), 3: ("c", "z")}


class Database:
    """Rows of the columns 0 and 1. broken: (row, column) that cannot be decoded; lost: a connection that is gone."""

    def __init__(
        self, broken: Set[tuple[int, int]] = frozenset(), *, error: Exception = ValueError("bad year")
    ) -> None:
        self.broken, self.error = broken, error
        self.asked = 0

    def read(self, columns: Sequence[int], keys: Sequence[Key]) -> list[tuple[Any, ...]]:
        self.asked += 1
        if any((number, column) in self.broken for (number,) in keys for column in columns):
            raise self.error
        return [tuple(ROWS[number][column] for column in columns) for (number,) in keys if number in ROWS]


KEYS = [(1,), (2,), (3,)]


def test_a_value_that_cannot_be_decoded_costs_itself_alone() -> None:
    found = salvage(KEYS, [0, 1], Database({(2, 1)}).read)
    assert found == [("a", "x"), ("b", Unread("bad year")), ("c", "z")]


def test_rows_that_decode_are_read_at_once() -> None:
    database = Database()
    assert salvage(KEYS, [0, 1], database.read) == list(ROWS.values())
    assert database.asked == 1
    assert salvage([], [0, 1], database.read) == []
    assert database.asked == 1


def test_a_row_that_is_gone_meanwhile_is_no_row() -> None:
    database = Database({(9, 0), (9, 1)})

    def read(columns: Sequence[int], keys: Sequence[Key]) -> list[tuple[Any, ...]]:
        return [] if len(columns) == 1 else database.read(columns, keys)

    assert salvage([(9,)], [0, 1], read) == []


@pytest.mark.parametrize("keys", [KEYS, KEYS[1:2]])
def test_a_connection_that_is_lost_is_no_value(keys: list[Key]) -> None:
    lost = sa.exc.OperationalError("SELECT", {}, Exception("server closed the connection"))
    with pytest.raises(sa.exc.OperationalError):
        salvage(keys, [0, 1], Database({(2, 1)}, error=lost).read)


def test_a_connection_that_is_lost_on_the_way_is_no_value() -> None:
    lost = sa.exc.OperationalError("SELECT", {}, Exception("server closed the connection"))

    def read(columns: Sequence[int], keys: Sequence[Key]) -> list[tuple[Any, ...]]:
        raise lost if len(columns) == 1 else ValueError("bad year")

    with pytest.raises(sa.exc.OperationalError):
        salvage([(1,)], [0, 1], read)


def test_the_reason_is_the_driver_s_own_on_one_line() -> None:
    error = sa.exc.DataError("SELECT secret", {}, Exception("date\n out of range" + "!" * 300))
    ((_, value),) = salvage([(2,)], [0, 1], Database({(2, 1)}, error=error).read)
    assert value.reason.startswith("date out of range!")
    assert len(value.reason) == 200


@pytest.mark.parametrize(
    ("err", "is_of_a_value"),
    [
        (ValueError("year 20000"), True),
        (sa.exc.DataError("q", {}, Exception("x")), True),
        (sa.exc.OperationalError("q", {}, Exception("Could not decode to UTF-8 column 'a'")), True),
        (sa.exc.OperationalError("q", {}, Exception("no such table")), False),
    ],
)
def test_errors_of_values_are_told_from_errors_of_statements(err: Exception, is_of_a_value: bool) -> None:
    assert is_undecodable(err) is is_of_a_value

"""Rows of which a driver cannot decode a value: the value is lost, not the row, and not the rows beside it."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from connectors.sql.keys import Key
from connectors.sql.rows import Unread

UNDECODABLE = (sa.exc.DBAPIError, ValueError, OverflowError)  # what `is_undecodable` is asked of

Column = TypeVar("Column")
Read = Callable[[Sequence[Column], Sequence[Key]], list[tuple[Any, ...]]]


def is_undecodable(err: Exception) -> bool:
    """Whether an error came from a value, not from the connection or the statement."""
    if not isinstance(err, sa.exc.DBAPIError):
        return True
    return isinstance(err, sa.exc.DataError) or "decode" in str(err.orig).lower()


def salvage(keys: Sequence[Key], columns: Sequence[Column], read: Read[Column]) -> list[tuple[Any, ...]]:
    """Rows by key; halving finds the ones that do not decode, and those are read column by column."""
    if not keys:
        return []
    try:
        return read(columns, keys)
    except UNDECODABLE as err:
        if not is_undecodable(err):
            raise
    if len(keys) == 1:
        return _by_column(keys[0], columns, read)
    middle = len(keys) // 2
    return [*salvage(keys[:middle], columns, read), *salvage(keys[middle:], columns, read)]


def _by_column(key: Key, columns: Sequence[Column], read: Read[Column]) -> list[tuple[Any, ...]]:
    """One row, each column by a statement of its own; none when it has gone meanwhile."""
    values: list[Any] = []
    for column in columns:
        try:
            found = read([column], [key])
            if not found:
                return []
            values.append(found[0][0])
        except UNDECODABLE as err:
            if not is_undecodable(err):
                raise
            values.append(Unread(" ".join(str(getattr(err, "orig", None) or err).split())[:200]))
    return [tuple(values)]

"""Results that are read to their end before the first row is given, so that no transaction waits for what is done with
them: a day of embedding beside an open transaction keeps a database from cleaning up after itself."""

import pickle
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import sqlalchemy as sa

from connectors.sql.rows import Blob

_MEMORY_BYTES = 8 << 20  # of rows that are kept in memory; more are in a file that has no name
_PAGE_BYTES = 16 << 20
_FIRST_ROWS = 32
_VALUE_BYTES = 48  # of a value that is neither text nor bytes


class PageSize:
    """How many rows to ask for at once, so that they come to about 16 MiB; it learns from those that came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.rows = min(_FIRST_ROWS, most)

    def learn(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take the rows of a page, as the driver gave them."""
        if rows:
            average = sum(map(_weight, rows)) / len(rows)
            self.rows = max(min(int(_PAGE_BYTES / max(average, 1.0)), 4 * self.rows, self._most), 1)


def _weight(row: Sequence[Any]) -> int:
    return sum(len(value) if isinstance(value, str | bytes) else _VALUE_BYTES for value in row)


@contextmanager
def spooled(
    result: sa.CursorResult[Any], *, whole: Collection[int], most: int
) -> Iterator[tuple[int, Iterator[tuple[Any, ...]]]]:
    """The number of a result's rows, and the rows, read to the end, and its transaction ended.

    whole: the places of columns whose binary values are kept; of the others only the size is. most: rows at once.
    """
    with SpooledTemporaryFile(max_size=_MEMORY_BYTES) as file:
        size = PageSize(most)
        number = 0
        while rows := result.fetchmany(size.rows):
            size.learn(rows)
            number += len(rows)
            pickle.dump([_measured(row, whole) for row in rows], file)
        result.close()
        result.connection.commit()
        file.seek(0)
        yield number, _rows_in(file)


def _measured(row: Sequence[Any], whole: Collection[int]) -> tuple[Any, ...]:
    """A row with the sizes of its binary values in their places."""
    return tuple(
        Blob(len(value)) if isinstance(value, bytes | bytearray | memoryview) and place not in whole else value
        for place, value in enumerate(row)
    )


def _rows_in(file: IO[bytes]) -> Iterator[tuple[Any, ...]]:
    while True:
        try:
            rows = pickle.load(file)  # noqa: S301 written a moment ago, to a file that only this process can reach
        except EOFError:
            return
        yield from rows

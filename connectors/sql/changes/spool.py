"""Results that are read to their end before the first row is given, so that no transaction waits for what is done with
them: a day of embedding beside an open transaction keeps a database from cleaning up after itself."""

import pickle
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import sqlalchemy as sa

from connectors.sql.rows import Blob
from connectors.sql.table.page_size import PageSize

_MEMORY_BYTES = 8 << 20  # of rows that are kept in memory; more are in a file that has no name


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

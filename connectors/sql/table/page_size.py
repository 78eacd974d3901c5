"""How many rows are asked for at once."""

from collections.abc import Sequence
from typing import Any

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

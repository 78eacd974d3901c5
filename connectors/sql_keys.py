"""Keys of rows: kept between runs as JSON, and as conditions over ranges of them."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa

Key = tuple[Any, ...]
_TYPES: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "seconds": (timedelta, timedelta.total_seconds, lambda seconds: timedelta(seconds=seconds)),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
    "bytes": (bytes, lambda value: b64encode(value).decode(), b64decode),
}


def encode(values: Sequence[Any]) -> list[Any]:
    """Values as JSON can hold them; a type that is not known is kept as its text."""
    return [_encode(bytes(value) if isinstance(value, bytearray | memoryview) else value) for value in values]


def _encode(value: Any) -> Any:
    for name, (kind, to_json, _) in _TYPES.items():
        if isinstance(value, kind):
            return {name: to_json(value)}
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def decode(stored: Sequence[Any]) -> Key:
    return tuple(_decode(value) for value in stored)


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((name, inner),) = value.items()
    return _TYPES[name][2](inner)


class KeyColumns:
    """Conditions over a table's key columns, spelt out because MySQL uses no index for (a, b) > (x, y)."""

    def __init__(self, columns: Sequence[sa.ColumnElement[Any]], dialect: str) -> None:
        # SQLite keeps whatever was stored, so its values are bound as they came, not by the declared type.
        self._loose = dialect == "sqlite"
        self.columns = [self._plain(column) for column in columns]
        self._types = [sa.types.NullType() if self._loose else column.type for column in columns]

    def _plain(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.type_coerce(column, sa.types.NullType()) if self._loose else column

    def _bound(self, key: Key) -> list[sa.BindParameter[Any]]:
        return [sa.bindparam(None, value, type_=t) for value, t in zip(key, self._types, strict=True)]

    def after(self, key: Key) -> sa.ColumnElement[bool]:
        """Rows whose key comes after this one."""
        bound = self._bound(key)
        return sa.or_(*(self._differs_at(i, bound, self.columns[i] > bound[i]) for i in range(len(bound))))

    def starting_at(self, first: Any) -> sa.ColumnElement[bool]:
        """Rows whose first column is at least this."""
        return self.columns[0] >= sa.bindparam(None, first, type_=self._types[0])

    def up_to(self, key: Key) -> sa.ColumnElement[bool]:
        """Rows whose key comes before this one, and the row of this one."""
        bound = self._bound(key)
        last = len(bound) - 1
        steps = [self._differs_at(i, bound, self.columns[i] < bound[i]) for i in range(last)]
        return sa.or_(*steps, self._differs_at(last, bound, self.columns[last] <= bound[last]))

    def _differs_at(
        self, i: int, bound: list[sa.BindParameter[Any]], condition: sa.ColumnElement[bool]
    ) -> sa.ColumnElement[bool]:
        return sa.and_(*(self.columns[j] == bound[j] for j in range(i)), condition)

    def between(self, low: Key | None, high: Key | None) -> list[sa.ColumnElement[bool]]:
        """Rows after low, up to high; None is no limit."""
        return [*([self.after(low)] if low is not None else []), *([self.up_to(high)] if high is not None else [])]

    def among(self, keys: Sequence[Key]) -> sa.ColumnElement[bool]:
        """Rows with one of these keys."""
        if len(self.columns) == 1:
            return self.columns[0].in_([self._bound(key)[0] for key in keys])
        return sa.or_(
            *(sa.and_(*(c == b for c, b in zip(self.columns, self._bound(key), strict=True))) for key in keys)
        )

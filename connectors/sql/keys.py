"""Keys of rows: as conditions over ranges of them, kept between runs as JSON.

A key is compared by the database itself, in a form that equals the stored value: PostgreSQL gets the text that it gave
(`infinity`, dates before our era, arrays and REALs come back as they went), MariaDB the double behind a FLOAT and the
number behind a BIT or an ENUM, by which it sorts them.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from connectors.sql.rows import is_text

Key = tuple[Any, ...]
_TYPES: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "microseconds": (timedelta, lambda value: value // timedelta(microseconds=1), lambda n: timedelta(microseconds=n)),
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
    """Conditions over a table's key columns, spelt out because MySQL uses no index for (a, b) > (x, y).

    Where a value as the driver gives it cannot be compared, another form of it is read beside it: `extras`.
    """

    def __init__(self, columns: Sequence[sa.ColumnElement[Any]], dialect: str) -> None:
        self._dialect = dialect
        self._types = [column.type for column in columns]
        forms = [_form(column, dialect) for column in columns]
        self.columns = [ordered for ordered, _, _ in forms]
        self._compared = [compared for _, compared, _ in forms]
        self._extra_at = [i for i, (_, _, extra) in enumerate(forms) if extra is not None]
        self.extras = [extra for _, _, extra in forms if extra is not None]

    @property
    def sorted_by(self) -> list[int]:
        """By which of the key columns, with the extras behind them, rows are sorted once they are in a subquery."""
        places = list(range(len(self.columns)))
        if self._dialect in ("mysql", "mariadb"):  # a subquery's ENUM is text; PostgreSQL's extras are text themselves
            for number, position in enumerate(self._extra_at):
                places[position] = len(self.columns) + number
        return places

    def key(self, raw: Sequence[Any], extras: Sequence[Any]) -> Key:
        """A row's key as the conditions take it, from the values of the key columns and of the extras."""
        values = [_bits(v) if isinstance(v, bytes) and _is_bit(t) else v for v, t in zip(raw, self._types, strict=True)]
        for position, extra in zip(self._extra_at, extras, strict=True):
            values[position] = extra
        return tuple(values)

    def _bound(self, key: Key) -> list[sa.ColumnElement[Any]]:
        return [self._bind(value, column) for value, column in zip(key, self._compared, strict=True)]

    def _bind(self, value: Any, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        if self._dialect == "sqlite" and isinstance(value, str) and not is_text(value):
            return sa.cast(sa.literal(value.encode("utf-8", "surrogateescape"), sa.LargeBinary), sa.Text)
        if self._dialect == "postgresql" and isinstance(value, UUID):
            value = str(value)
        return sa.bindparam(None, value, type_=column.type)

    def after(self, key: Key) -> sa.ColumnElement[bool]:
        """Rows whose key comes after this one."""
        bound = self._bound(key)
        return sa.or_(*(self._differs_at(i, bound, self._compared[i] > bound[i]) for i in range(len(bound))))

    def starting_at(self, first: Any) -> sa.ColumnElement[bool]:
        """Rows whose first column is at least this."""
        return self._compared[0] >= self._bind(first, self._compared[0])

    def up_to(self, key: Key) -> sa.ColumnElement[bool]:
        """Rows whose key comes before this one, and the row of this one."""
        bound = self._bound(key)
        last = len(bound) - 1
        steps = [self._differs_at(i, bound, self._compared[i] < bound[i]) for i in range(last)]
        return sa.or_(*steps, self._differs_at(last, bound, self._compared[last] <= bound[last]))

    def _differs_at(
        self, i: int, bound: list[sa.ColumnElement[Any]], condition: sa.ColumnElement[bool]
    ) -> sa.ColumnElement[bool]:
        return sa.and_(*(self._compared[j] == bound[j] for j in range(i)), condition)

    def between(self, low: Key | None, high: Key | None) -> list[sa.ColumnElement[bool]]:
        """Rows after low, up to high; None is no limit."""
        return [*([self.after(low)] if low is not None else []), *([self.up_to(high)] if high is not None else [])]

    def among(self, keys: Sequence[Key]) -> sa.ColumnElement[bool]:
        """Rows with one of these keys."""
        if len(self._compared) == 1:
            return self._compared[0].in_([self._bound(key)[0] for key in keys])
        return sa.or_(
            *(sa.and_(*(c == b for c, b in zip(self._compared, self._bound(key), strict=True))) for key in keys)
        )


def _form(
    column: sa.ColumnElement[Any], dialect: str
) -> tuple[sa.ColumnElement[Any], sa.ColumnElement[Any], sa.ColumnElement[Any] | None]:
    """A key column as it is sorted by and as it is compared, and what has to be read to compare with it later."""
    untyped = sa.type_coerce(column, sa.types.NullType())
    if dialect == "sqlite":  # it keeps whatever was stored, so values are bound as they came, not by the declared type
        return untyped, untyped, None
    if dialect == "postgresql" and isinstance(column.type, sa.types.NullType):
        # A composite type: what is compared with it becomes a record, and no text is read as one. No index serves this.
        text = sa.collate(sa.cast(untyped, sa.Text), "C")
        return text, text, text
    if dialect == "postgresql" and not isinstance(column.type, sa.Integer):
        plain = isinstance(column.type, sa.String | sa.Uuid) and not isinstance(column.type, sa.Enum)
        return untyped, untyped, None if plain else sa.cast(untyped, sa.Text)
    if dialect in ("mysql", "mariadb") and (is_single(column.type) or _is_listed(column.type)):
        number = sa.type_coerce(untyped + sa.literal_column("0e0" if is_single(column.type) else "0"), sa.Float())
        return untyped, number, number
    if _is_bit(column.type) or column.type.__class__.__name__ == "YEAR":  # neither has operators in SQLAlchemy
        return untyped, untyped, None
    return column, column, None


def is_single(column_type: sa.types.TypeEngine[Any]) -> bool:
    """Whether it is MySQL's FLOAT, of which the server prints six digits."""
    return column_type.__class__.__name__ == "FLOAT"


def _is_listed(column_type: sa.types.TypeEngine[Any]) -> bool:
    """Whether values are sorted by their place in a list and compared by their text: MySQL's ENUM and SET."""
    return column_type.__class__.__name__ in ("ENUM", "SET")


def _is_bit(column_type: sa.types.TypeEngine[Any]) -> bool:
    return column_type.__class__.__module__.startswith("sqlalchemy.dialects.mysql") and (
        column_type.__class__.__name__ == "BIT"
    )


def _bits(value: bytes) -> int:
    return int.from_bytes(value, "big")

"""The tables of the sync fuzz: for each database, those whose keys and kinds have it read them in different ways.

Every table has a column `n`, a whole number that its key is made from, so that one statement fits all of them, and a
column `note`, whose text is what changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Database = Literal["sqlite", "postgresql", "mariadb"]
SPACING = 10  # between the first rows' numbers, so that others can come between them
SPAN = 1000  # numbers of a partition
_START = datetime(2026, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A table. key: the SQL of the key's values, in the order of `key_columns`, for a row's number.

    steady: never dropped, emptied by TRUNCATE or renamed, because others hang on it; alters: gains and loses columns.
    """

    name: str
    key_columns: tuple[str, ...]
    key_types: tuple[str, ...]
    key: Callable[[int], tuple[str, ...]]
    size: int
    extra: str = ""  # a further column's DDL
    clauses: str = ""  # behind the columns
    ends: str = ""  # behind the table
    steady: bool = False
    alters: bool = True
    only: bool = False  # named with ONLY, because another table inherits from it
    parts: int = 0  # partitions

    @property
    def is_keyed(self) -> bool:
        return bool(self.key_columns)


def shapes(database: Database) -> list[Shape]:
    """The tables of a database, in the order in which they can be created."""
    return [*_common(database), *_SPECIAL[database]()]


def _common(database: Database) -> list[Shape]:
    text = "VARCHAR(60)" if database == "mariadb" else "TEXT"
    return [
        Shape(
            name="maker", key_columns=("id",), key_types=("INTEGER",), key=_whole, size=12, steady=True, alters=False
        ),
        Shape(name="item", key_columns=("id",), key_types=("INTEGER",), key=_whole, size=150, steady=True),
        Shape(name="book", key_columns=("code",), key_types=(text,), key=_code, size=100),
        Shape(name="cell", key_columns=("lot", "place"), key_types=(text, "INTEGER"), key=_cell, size=32),
        Shape(
            name="product",
            key_columns=("id",),
            key_types=("INTEGER",),
            key=_whole,
            size=45,
            extra="maker_id INTEGER",
            clauses="FOREIGN KEY (maker_id) REFERENCES maker (id) ON DELETE SET NULL",
        ),
        Shape(name="tally", key_columns=(), key_types=(), key=lambda n: (), size=24),
        Shape(
            name="stock",
            key_columns=("id",),
            key_types=("INTEGER",),
            key=_whole,
            size=24,
            extra="divisor INTEGER DEFAULT 1",
            steady=True,
            alters=False,
        ),
    ]


def _sqlite() -> list[Shape]:
    return [Shape(name="loose", key_columns=("k",), key_types=("",), key=_loose, size=32)]


def _postgresql() -> list[Shape]:
    return [
        Shape(name="moment", key_columns=("at",), key_types=("TIMESTAMPTZ",), key=_moment, size=32),
        Shape(name="words", key_columns=("tags",), key_types=("TEXT[]",), key=_words, size=32),
        Shape(name="gauge", key_columns=("level",), key_types=("REAL",), key=_real, size=32),
        Shape(
            name="event",
            key_columns=("id",),
            key_types=("INTEGER",),
            key=_whole,
            size=45,
            ends="PARTITION BY RANGE (id)",
            steady=True,
            alters=False,
            parts=3,
        ),
        Shape(name="person", key_columns=("id",), key_types=("INTEGER",), key=_whole, size=24, steady=True, only=True),
        Shape(
            name="pupil",
            key_columns=("id",),
            key_types=("INTEGER",),
            key=_whole,
            size=24,
            ends="INHERITS (person)",
            steady=True,
            alters=False,
        ),
    ]


def _mariadb() -> list[Shape]:
    colours = "ENUM('red','green','blue')"
    return [
        Shape(name="moment", key_columns=("at",), key_types=("DATETIME(6)",), key=_datetime, size=32),
        Shape(name="gauge", key_columns=("level",), key_types=("FLOAT",), key=_float, size=32),
        Shape(name="seat", key_columns=("colour", "place"), key_types=(colours, "INTEGER"), key=_seat, size=32),
    ]


_SPECIAL = {"sqlite": _sqlite, "postgresql": _postgresql, "mariadb": _mariadb}


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _whole(n: int) -> tuple[str, ...]:
    return (str(n),)


def _code(n: int) -> tuple[str, ...]:
    prefix = ("a", "B/", "c,", "é ", "書", "d-", "it's ", "x,y/")[n % 8]
    return (quoted(f"{prefix}{n}" if n % 3 else f"{prefix}{n:06d}"),)


def _cell(n: int) -> tuple[str, ...]:
    return (quoted(f"lot, {n // 7}" if n // 7 % 2 else f"lot {n // 7}"), str(n % 7))


def _loose(n: int) -> tuple[str, ...]:
    """A whole number, the same as text, its digits as bytes, and a fraction, from four numbers that follow each other."""
    number = n // 4
    return ((str(number), quoted(str(number)), f"x'{str(number).encode().hex()}'", f"{number}.5")[n % 4],)


def _moment(n: int) -> tuple[str, ...]:
    return (quoted(f"{_START + timedelta(milliseconds=250 * n)}+00"),)


def _datetime(n: int) -> tuple[str, ...]:
    return (quoted(str(_START + timedelta(milliseconds=250 * n))),)


def _words(n: int) -> tuple[str, ...]:
    """Two words, and one that reads like the two."""
    return (f"ARRAY['a{n // 2}', 'b']" if n % 2 else f"ARRAY['a{n // 2}, b']",)


def _real(n: int) -> tuple[str, ...]:
    return (f"CAST({n} / 10.0 AS REAL)",)


def _float(n: int) -> tuple[str, ...]:
    return (f"{n / 10}",)


def _seat(n: int) -> tuple[str, ...]:
    return (quoted(("red", "green", "blue")[n % 3]), str(n // 3))

"""Buckets of keys: the rows of a range shared out by a hash of their keys, which the database makes, and we from a
row's id. Where a range differs from its notes, only the buckets in which it does have to be read.

Nothing but the number of rows that are read hangs on both giving the same bucket: a row in another one than was noted
makes two buckets differ, and both are read.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import BIGINT, CHAR

from connectors.sql.ids import plain_key

_PART = "\x1f"  # between the values of a key


def bucket_of(name: str, buckets: int) -> int | None:
    """The bucket of a row, by its id in its table; None where the id does not show the key's own text."""
    texts = plain_key(name)
    return hashlib.md5(_PART.join(texts).encode("utf-8", "surrogatepass")).digest()[0] % buckets if texts else None  # noqa: S324 as in the database


def has_buckets(types: Sequence[sa.types.TypeEngine[Any]]) -> bool:
    """Whether the text of a key of these types is what its row's id shows."""
    return all(isinstance(t, sa.Integer | sa.String | sa.Uuid) and not isinstance(t, sa.Enum) for t in types)


def database_bucket(dialect: str, key: Sequence[sa.ColumnElement[Any]], buckets: int) -> sa.ColumnElement[int]:
    """The same from the key's columns, inside the database; for at most 256 buckets."""
    if buckets == 1:
        return sa.literal_column("0")
    text = sa.func.concat_ws(sa.literal_column("chr(31)" if dialect == "postgresql" else "char(31)"), *key)
    count: sa.ColumnElement[int] = sa.literal_column(str(buckets))
    if dialect == "postgresql":
        first: sa.ColumnElement[int] = sa.func.get_byte(
            sa.func.decode(sa.func.md5(text), sa.literal_column("'hex'")), 0
        )
        return first % count
    digits = sa.func.substr(sa.func.md5(sa.cast(text, CHAR(charset="utf8mb4"))), 1, 2)
    return sa.cast(sa.func.conv(digits, 16, 10), BIGINT(unsigned=True)) % count

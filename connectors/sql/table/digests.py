"""A row's digest: made inside the database where it can be, else here from the values that were read."""

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import BIGINT
from sqlalchemy.dialects.postgresql import BIT

from connectors.sql.keys import is_single

UNKNOWN = -1  # the digest of a row that could not be decoded


def database_digest(dialect: str, columns: Sequence[sa.ColumnElement[Any]]) -> sa.ColumnElement[Any] | None:
    """The first 60 bits of the MD5 of a row's values, as an integer expression; None where the database has no MD5."""
    if dialect == "postgresql":
        digits = sa.func.substr(sa.func.md5(sa.cast(sa.func.row(*columns), sa.Text)), 1, 15)
        return sa.cast(sa.cast(sa.literal_column("'x'").concat(digits), BIT(60)), sa.BigInteger)
    if dialect in ("mysql", "mariadb"):
        # NULL is '-', so that it differs from ''. A row over max_allowed_packet has no hash: it counts as changed.
        present: sa.ColumnElement[str] = sa.literal_column("'='")
        absent: sa.ColumnElement[str] = sa.literal_column("'-'")
        exact = [column + sa.literal_column("0e0") if is_single(column.type) else column for column in columns]
        parts = [sa.func.coalesce(sa.func.concat(present, column), absent) for column in exact]
        digits = sa.func.substr(sa.func.md5(sa.func.concat_ws(sa.literal_column("char(31)"), *parts)), 1, 15)
        number = sa.func.conv(digits, sa.literal_column("16"), sa.literal_column("10"))
        return sa.cast(sa.func.coalesce(number, sa.func.floor(sa.func.rand() * 1e15)), BIGINT(unsigned=True))
    return None


def python_digest(values: Sequence[Any]) -> int:
    """A row's hash where the database makes none."""
    return int.from_bytes(hashlib.blake2b(repr(tuple(values)).encode("utf-8", "surrogatepass"), digest_size=7).digest())

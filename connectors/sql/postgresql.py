"""What psycopg cannot decode comes as PostgreSQL's own text: one such value costs nothing, where it cost its row.

`infinity`, dates before our era and after the year 9999 have no Python value; text of a database without an encoding
(SQL_ASCII) may be no UTF-8, and then its bytes are kept as surrogates (PEP 383, connectors/sql/rows.py).
"""

from typing import Any

from psycopg import DataError, adapt
from psycopg.types import datetime as dates
from psycopg.types import json


class _AsText(adapt.Loader):
    """Mixed in before a loader of psycopg's: the text, where that fails."""

    def load(self, data: Any) -> Any:
        try:
            return super().load(data)  # type: ignore[safe-super]
        except (DataError, ValueError, OverflowError):
            return bytes(data).decode()


class _Date(_AsText, dates.DateLoader):
    pass


class _Timestamp(_AsText, dates.TimestampLoader):
    pass


class _Timestamptz(_AsText, dates.TimestamptzLoader):
    pass


class _Time(_AsText, dates.TimeLoader):
    pass  # 24:00 is the end of a day


class _Interval(adapt.Loader):
    """As the database writes it: Python has no months, and an hour less than a day is `-1 day, 23:00:00` to it."""

    def load(self, data: Any) -> str:
        return bytes(data).decode()


class _Json(_AsText, json.JsonLoader):
    pass


class _Text(adapt.Loader):
    def load(self, data: Any) -> str:
        return bytes(data).decode("utf-8", "surrogateescape")


_LOADERS = {"date": _Date, "timestamp": _Timestamp, "timestamptz": _Timestamptz, "time": _Time, "interval": _Interval}
_LOADERS |= dict.fromkeys(("json", "jsonb"), _Json)  # a number of 5,000 digits


def load_everything(connection: Any, record: object) -> None:
    """Register the loaders with a connection; that of texts only where they may be anything, because it is slower."""
    for name, loader in _LOADERS.items():
        connection.adapters.register_loader(name, loader)
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        for name in ("text", "varchar", "bpchar", "name"):
            connection.adapters.register_loader(name, _Text)

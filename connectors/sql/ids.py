"""Ids of rows: what tells a row apart within its table, as the tail of its document's id.

An id is typed, canonical and injective: two rows never share one, and it depends on nothing but the key's value.
Numbers, texts, UUIDs and most other values stand in it as people write them. A value whose plain form would not tell it
from another one (an array, JSON, a time with a zone, a blob beside texts) stands as the database's own text behind a
tag, `%array:{a,b}`; a percent sign within a value is escaped, so that no value can look like a tag.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from connectors.sql.keys import is_single
from connectors.sql.rows import is_text, json_value

_TAG = re.compile("%[a-z]")  # what is escaped has a digit there
_LONGEST_BYTES = 1500  # of an id; a longer one is its hash and its beginning (PostgreSQL indexes 2,700 bytes at most)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """One value of a key, as JSON can hold it. tag: its kind, where what is held could be another value's as well."""

    held: str | int | float | bool | None
    tag: str = ""

    def __str__(self) -> str:
        text = _escaped(str(self.held))
        return f"%{self.tag}:{text}" if self.tag else text


def key_values(
    values: Sequence[Any], texts: Sequence[Any], types: Sequence[sa.types.TypeEngine[Any]], dialect: str
) -> list[KeyValue]:
    """A row's key, value by value.

    values: as the driver gives them; texts: as they are compared (`KeyColumns.key`), which for what PostgreSQL holds
    beside numbers, texts and UUIDs is the database's own text.
    """
    return [_value(*each, dialect) for each in zip(values, texts, types, strict=True)]


def row_id(key: Sequence[KeyValue]) -> str:
    """The id of the row with this key."""
    whole = ",".join(map(str, key))
    if len(whole.encode()) <= _LONGEST_BYTES:
        return whole
    return f"%sha256:{hashlib.sha256(whole.encode()).hexdigest()},{whole[:60]}"


def plain_key(name: str) -> list[str]:
    """The texts of a row's key, from its id; none where a value stands behind a tag, or as a hash."""
    parts = name.split(",")
    if any(_TAG.match(part) for part in parts):
        return []
    return [part.replace("%2F", "/").replace("%2C", ",").replace("%25", "%") for part in parts]


def legacy_row_id(values: Sequence[Any]) -> str:
    """The id that a row had before ids were typed."""
    return ",".join(_escaped(str(_held(value))) for value in values)


def _value(value: Any, text: Any, kind: sa.types.TypeEngine[Any], dialect: str) -> KeyValue:
    if isinstance(value, str) and not is_text(value):
        return KeyValue(tag="bytes", held=value.encode("utf-8", "surrogateescape").hex())
    if isinstance(value, list | tuple | set | dict) or (dialect == "postgresql" and _is_json(kind)):
        own = text if isinstance(text, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
        return KeyValue(tag="json" if _is_json(kind) else "array" if isinstance(value, list) else "value", held=own)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return KeyValue(tag="time", held=text if isinstance(text, str) else value.isoformat(sep=" "))
    if is_single(kind) and isinstance(text, float):
        return KeyValue(tag="float", held=repr(text))
    if dialect == "sqlite" and isinstance(value, bytes):
        return KeyValue(tag="blob", held=value.hex())
    if dialect == "sqlite" and isinstance(value, str) and _takes_any(kind) and _is_number(value):
        return KeyValue(tag="text", held=value)
    return KeyValue(held=_held(value))


def _held(value: Any) -> str | int | float | bool | None:
    return str(value) if isinstance(value, timedelta) else json_value(value)


def _takes_any(kind: sa.types.TypeEngine[Any]) -> bool:
    """Whether a column of SQLite's keeps '1' beside 1: it has no affinity to texts or numbers."""
    return isinstance(kind, sa.types.NullType | sa.LargeBinary)


def _is_number(text: str) -> bool:
    """Whether a number would stand as this text."""
    try:
        return text == (str(int(text)) if re.fullmatch(r"-?[0-9]+", text) else repr(float(text)))
    except (ValueError, OverflowError):
        return False


def _is_json(kind: sa.types.TypeEngine[Any]) -> bool:
    return isinstance(getattr(kind, "data_type", kind), sa.JSON)


def _escaped(text: str) -> str:
    """Commas part the values of a key, a slash parts the table from it."""
    return text.replace("%", "%25").replace(",", "%2C").replace("/", "%2F")

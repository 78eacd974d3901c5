"""A database row as readable text, the same text whatever database it came from."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from rag.language.text import humanize

_LABEL_NAMES = (
    "name", "title", "label", "full_name", "display_name", "subject", "名称", "姓名", "标题", "名字", "name_en", "code",
    "username", "email",
)  # fmt: skip
LABEL_CHARS = 200
_FIRST, _LAST = ("first_name", "given_name", "firstname"), ("last_name", "family_name", "surname", "lastname")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A value with the column it came from. `reference` is the label of the row that it points at."""

    name: str
    value: Any
    type: sa.types.TypeEngine[Any]
    comment: str = ""
    reference: str = ""
    reference_key: str = ""


@dataclass(frozen=True, slots=True)
class Blob:
    """In a binary value's place: its size, which is all that is said of it."""

    bytes: int


@dataclass(frozen=True, slots=True)
class Unread:
    """In a value's place: the driver could not decode it."""

    reason: str


def label_columns(names: Sequence[str], text_names: Sequence[str], key: Sequence[str]) -> tuple[str, ...]:
    """The columns that name a row to a reader; empty when none does.

    names: all columns; text_names: those that hold text; key: the primary key.
    """
    normal = {humanize(name).lower().replace(" ", "_"): name for name in names}
    first = next((normal[n] for n in _FIRST if n in normal), None)
    last = next((normal[n] for n in _LAST if n in normal), None)
    if first and last:
        return first, last
    for candidate in _LABEL_NAMES:
        if candidate in normal:
            return (normal[candidate],)
    ends = next((name for name in text_names if humanize(name).lower().endswith((" name", " title"))), None)
    others = [name for name in text_names if name not in key]
    return (ends,) if ends else tuple(others) if len(others) <= 2 else ()


def as_label(text: str) -> str:
    """A text as it names a row: on one line, and no longer than people read a name."""
    line = " ".join(text.split())
    return line if len(line) <= LABEL_CHARS else f"{line[:LABEL_CHARS].rstrip()}…"


def render(table: str, fields: Sequence[Field], *, table_comment: str = "") -> str:
    """One line a field, after a line with the table's name. NULLs are left out; binary values are only named."""
    heading = humanize(table) + (f" ({table_comment})" if table_comment else "")
    return "\n".join([heading, *(line for field in fields if (line := _line(field)))])


def _line(field: Field) -> str:
    if field.value is None:
        return ""
    name = humanize(field.name)
    text = format_value(field.value, field.type)
    if field.reference:
        name = name.removesuffix(" id") or name
        text = f"{field.reference} ({field.reference_key} {text})"
    comment = f" ({field.comment})" if field.comment else ""
    return f"{name}{comment}: {text}" if text else ""


def format_value(value: Any, column_type: sa.types.TypeEngine[Any]) -> str:
    """A value as people write it. Databases that lack a type (SQLite) are read by the column's declared one."""
    value = _as_declared(value, column_type)
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case bytes() | bytearray() | memoryview():
            return format_value(Blob(len(bytes(value))), column_type)
        case Blob():
            return f"(binary, {value.bytes} bytes, not indexed)"
        case datetime():
            return _datetime(value)
        case date() | time():
            return value.isoformat()
        case timedelta():
            return _duration(value) if isinstance(column_type, sa.Time) else str(value)
        case Decimal():
            return f"{value:f}"
        case float():
            return repr(value) if math.isfinite(value) else f"{Decimal(value)}"
        case Enum():
            return str(value.value)
        case UUID():
            return str(value)
        case list() | tuple() | set():
            return ", ".join(format_value(item, sa.types.NullType()) for item in value)
        case dict():
            return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
        case str() if not is_text(value):
            return f"(cannot be read: {len(value.encode('utf-8', 'surrogateescape'))} bytes that are not UTF-8)"
        case _ if hasattr(value, "isempty"):
            return _range(value)
        case Sequence() if not isinstance(value, str):  # of ranges
            return "{" + ", ".join(format_value(item, sa.types.NullType()) for item in value) + "}"
        case Unread():
            return f"(cannot be read: {value.reason})"
        case _:
            return str(value).strip()


def is_text(value: str) -> bool:
    """Whether a string holds characters only, and no bytes that could not be decoded (PEP 383)."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _range(value: Any) -> str:
    """A range as databases write it, its ends as people write them."""
    if value.isempty:
        return "empty"
    ends = (format_value(end, sa.types.NullType()) for end in (value.lower, value.upper))
    opening, closing = value.bounds
    return f"{opening}{', '.join(ends)}{closing}"


def _duration(value: timedelta) -> str:
    """[-]H:MM:SS, as databases write it; Python would write a negative one as '-1 day, 23:00:00'."""
    seconds, micros = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    fraction = f".{micros:06}" if micros else ""
    sign = "-" if value < timedelta() else ""
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"


def _as_declared(value: Any, column_type: sa.types.TypeEngine[Any]) -> Any:
    if isinstance(column_type, sa.Boolean) or _is_tiny_boolean(column_type):
        return bool(value) if value in (0, 1) else value
    if isinstance(column_type, sa.Numeric) and not isinstance(column_type, sa.Float) and isinstance(value, int | float):
        return _decimal(value, column_type.scale)
    if isinstance(value, bytes) and column_type.__class__.__name__ == "BIT":
        return f"{int.from_bytes(value, 'big'):0{getattr(column_type, 'length', None) or 1}b}"
    if isinstance(column_type, sa.JSON) and isinstance(value, str):
        return _json(value)
    if isinstance(column_type, sa.DateTime) and isinstance(value, str):
        return _parsed(datetime.fromisoformat, value)
    if isinstance(column_type, sa.Date) and isinstance(value, str):
        return _parsed(date.fromisoformat, value)
    return value


def _is_tiny_boolean(column_type: sa.types.TypeEngine[Any]) -> bool:
    """MySQL's BOOLEAN is TINYINT(1)."""
    return column_type.__class__.__name__ == "TINYINT" and getattr(column_type, "display_width", None) == 1


def _decimal(value: float, scale: int | None) -> Any:
    number = Decimal(repr(value))
    return number.quantize(Decimal(1).scaleb(-scale)) if scale is not None and number.is_finite() else number


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _parsed(parse: Any, value: str) -> Any:
    try:
        return parse(value)
    except ValueError:
        return value


def _datetime(value: datetime) -> str:
    """With a zone: in UTC, so that the text does not depend on the connection's zone."""
    if value.tzinfo is not None:
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return value.isoformat(sep=" ")


def metadata_value(value: Any, column_type: sa.types.TypeEngine[Any]) -> str | int | float | bool | None:
    """A value as a filter compares it: numbers as numbers, times in ISO 8601; None for NULL."""
    value = _as_declared(value, column_type)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal) and value != value.to_integral_value():
        return float(value)
    return json_value(value)


def json_value(value: Any) -> str | int | float | bool | None:
    """A value as JSON can hold it, and as it stands in titles."""
    if value is None or isinstance(value, int | float | bool) or (isinstance(value, str) and is_text(value)):
        return value
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return format_value(value, sa.types.NullType())

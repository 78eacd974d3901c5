"""Filters: one small JSON form for REST, CLI, Python, LlamaIndex and configuration.

    {"source": "shop"}                                equality
    {"table": ["orders", "invoices"]}                 any of
    {"metadata.total": {"gte": 100, "lt": 500}}       a range of numbers, or of dates: {"gte": "2026-01-01"}
    {"source": "shop", "tags": "vip"}                 all of these
    {"any": [{…}, {…}]}   {"not": {…}}   {"all": [{…}, {…}]}

A filter only ever narrows what a caller sees: their tenant and rights are joined to it last, with AND.
"""

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rag.boundary.json_values import is_unicode
from rag.documents import Document
from rag.errors import FilterError

Value = str | int | float | bool
FIELDS: Mapping[str, str] = {
    "source": "source",
    "table": "scope",
    "document_id": "document_id",
    "kind": "kind",
    "tags": "tags",
    "updated_at": "updated_at",
    "page": "page",
}
_METADATA = "metadata."
_NAME = re.compile(r"[^\x00-\x1f\"\\\[\]\ud800-\udfff]{1,100}")
_BOUNDS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
_MAX_DEPTH, _MAX_CONDITIONS, _MAX_VALUES, _MAX_CHARS = 8, 100, 1000, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """The field holds one of these values; of a list, one of its elements does."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """The field is a number, or a time where `dates`, within bounds (gt, gte, lt, lte)."""

    field: str
    bounds: Mapping[str, float | datetime]
    dates: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class All:
    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    part: "Filter"


Filter = OneOf | Between | All | AnyOf | Not


def parse_filter(form: Any) -> Filter | None:
    """Read the JSON form; None for none or an empty one. Raises FilterError saying what is wrong with it."""
    if form is None or form == {}:
        return None
    budget = [_MAX_CONDITIONS]
    return _group(form, 1, budget)


def _group(form: Any, depth: int, budget: list[int]) -> Filter:
    if not isinstance(form, Mapping) or not form:
        raise FilterError(f"A filter is an object with at least one condition, not {_shown(form)}.")
    if depth > _MAX_DEPTH:
        raise FilterError(f"A filter may be nested {_MAX_DEPTH} levels deep; this one is deeper.")
    parts = tuple(_part(name, value, depth, budget) for name, value in form.items())
    return parts[0] if len(parts) == 1 else All(parts=parts)


def _part(name: Any, value: Any, depth: int, budget: list[int]) -> Filter:
    budget[0] -= 1
    if budget[0] < 0:
        raise FilterError(f"A filter may have {_MAX_CONDITIONS} conditions; this one has more.")
    if name == "not":
        return Not(part=_group(value, depth + 1, budget))
    if name in ("any", "all"):
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise FilterError(f'"{name}" takes a list of at least one filter, not {_shown(value)}.')
        parts = tuple(_group(inner, depth + 1, budget) for inner in value)
        return AnyOf(parts=parts) if name == "any" else All(parts=parts)
    field = _field(name)
    if isinstance(value, Mapping):
        return _between(field, value)
    values = value if isinstance(value, list | tuple) else [value]
    if not values or len(values) > _MAX_VALUES:
        raise FilterError(f"{name!r} takes 1 to {_MAX_VALUES} values, not {len(values)}.")
    return OneOf(field=field, values=tuple(_value(field, one) for one in values))


def _field(name: Any) -> str:
    if isinstance(name, str) and name in FIELDS:
        return FIELDS[name]
    if isinstance(name, str) and name.startswith(_METADATA) and _NAME.fullmatch(name.removeprefix(_METADATA)):
        return name
    known = ", ".join(FIELDS)
    raise FilterError(
        f'There is no field {_shown(name)} to filter by. Fields: {known}, metadata.NAME; "any", "all", "not".'
    )


def _value(field: str, value: Any) -> Value:
    if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise FilterError(f"{field!r} is compared with text, a number, true or false, not with {_shown(value)}.")
    if isinstance(value, str) and not is_unicode(value):
        raise FilterError(f"{field!r} is compared with {value!r}, which contains an unpaired UTF-16 surrogate.")
    if isinstance(value, str) and len(value) > _MAX_CHARS:
        raise FilterError(f"A value of a filter may have {_MAX_CHARS} characters; one for {field!r} has {len(value)}.")
    if field == "updated_at":
        return int(_time(value).timestamp())
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise FilterError(f"{field!r} is compared with {value}, which has more than 64 bits.")
    return value


def _between(field: str, form: Mapping[Any, Any]) -> Between:
    unknown = [name for name in form if name not in _BOUNDS]
    if unknown or not form:
        raise FilterError(f"A range of {field!r} takes {', '.join(_BOUNDS)}, not {_shown(unknown or form)}.")
    if field == "updated_at":
        return Between(field=field, bounds={n: _time(v).timestamp() for n, v in form.items()}, dates=False)
    if all(isinstance(value, str) for value in form.values()):
        return Between(field=field, bounds={name: _time(value) for name, value in form.items()}, dates=True)
    return Between(field=field, bounds={name: _number(field, value) for name, value in form.items()}, dates=False)


def _number(field: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise FilterError(f"A range of {field!r} takes numbers, or dates such as 2026-01-31, not {_shown(value)}.")


def _time(value: Any) -> datetime:
    """A time from ISO 8601 text or Unix seconds; without a zone it is UTC."""
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise FilterError(f"{_shown(value)} is not a date; write 2026-01-31 or 2026-01-31T12:00:00+00:00.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def matches(condition: Filter, document: Document, page: int | None = None) -> bool:
    """Whether a document passes: what the index does, for a reader and for tests."""
    match condition:
        case All():
            return all(matches(part, document, page) for part in condition.parts)
        case AnyOf():
            return any(matches(part, document, page) for part in condition.parts)
        case Not():
            return not matches(condition.part, document, page)
        case OneOf():
            return any(
                _equal(held, value) for held in _held(condition.field, document, page) for value in condition.values
            )
        case Between():
            return any(_within(held, condition) for held in _held(condition.field, document, page))


def _held(field: str, document: Document, page: int | None) -> list[Any]:
    if field.startswith(_METADATA):
        found: Any = document.metadata.get(field.removeprefix(_METADATA))
    else:
        found = {"document_id": document.id, "page": page}.get(field) or getattr(document, field, None)
    return list(found) if isinstance(found, tuple) else [] if found is None else [found]


def _equal(held: Any, value: Value) -> bool:
    if isinstance(held, bool) or isinstance(value, bool) or isinstance(held, str) or isinstance(value, str):
        return type(held) is type(value) and held == value
    return bool(held == value)


def _within(held: Any, condition: Between) -> bool:
    if condition.dates:
        try:
            held = _time(held) if isinstance(held, str) else None
        except FilterError:
            held = None
    elif isinstance(held, bool) or not isinstance(held, int | float):
        held = None
    return held is not None and all(_BOUNDS[name](held, bound) for name, bound in condition.bounds.items())

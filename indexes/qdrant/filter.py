"""A search's scope as Qdrant's filter."""

import json
from collections.abc import Sequence
from typing import Any

from qdrant_client import models

from rag.filters import All, AnyOf, Between, Filter, Not, OneOf, Value
from rag.ports import NOBODY, PUBLIC, Identity, Scope

_EXACT_AS_FLOAT = 2**53
# qdrant-edge 0.9 takes True for 1 in a condition, so truth is stored as text that no data has (private use).
_STORED = {True: "\ue000true", False: "\ue000false"}
_HELD = {text: value for value, text in _STORED.items()}


def stored(value: Value) -> Value:
    """A metadata value as it is stored."""
    return _STORED[value] if isinstance(value, bool) else value


def held(value: Value) -> Value:
    """A stored metadata value as it was."""
    return _HELD.get(value, value) if isinstance(value, str) else value


def scope_filter(scope: Scope) -> models.Filter:
    """The filter of a search. The caller's tenant and groups are joined last, with AND, whatever was asked for."""
    must: list[Any] = []
    if scope.where is not None:
        must.append(_condition(scope.where))
    if scope.sources:
        must.append(models.FieldCondition(key="source", match=models.MatchAny(any=list(scope.sources))))
    must.append(_rights(scope.identity))
    return models.Filter(must=must)


def of_source(source: str) -> models.Filter:
    """The points of a source."""
    return models.Filter(must=[models.FieldCondition(key="source", match=models.MatchValue(value=source))])


def any_source() -> models.Filter:
    """All points but the marks, which belong to no tenant and are found by no search."""
    return models.Filter(must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key="source"))])


def access(tenant: str, groups: Sequence[str]) -> list[str]:
    """Tenant and groups of a document in one field: one condition on it costs a third of one on each."""
    return [json.dumps([tenant, group], ensure_ascii=False) for group in groups or (PUBLIC,)]


def _rights(identity: Identity) -> models.FieldCondition:
    allowed = access(identity.tenant, [PUBLIC, *(group for group in identity.groups if group not in (PUBLIC, NOBODY))])
    match = models.MatchAny(any=allowed) if len(allowed) > 1 else models.MatchValue(value=allowed[0])
    return models.FieldCondition(key="access", match=match)


def _condition(where: Filter) -> Any:
    match where:
        case All():
            return models.Filter(must=[_condition(part) for part in where.parts])
        case AnyOf():
            return models.Filter(should=[_condition(part) for part in where.parts])
        case Not():
            return models.Filter(must_not=[_condition(where.part)])
        case OneOf():
            key = _key(where.field)
            values = [stored(value) for value in where.values]
            texts = [value for value in values if isinstance(value, str)]
            found = [models.FieldCondition(key=key, match=models.MatchAny(any=texts))] if texts else []
            return models.Filter(should=[*found, *(_equals(key, v) for v in values if not isinstance(v, str))])
        case Between():
            bounds: dict[str, Any] = dict(where.bounds)
            kind = models.DatetimeRange if where.dates else models.Range
            return models.FieldCondition(key=_key(where.field), range=kind(**bounds))


def _equals(key: str, value: int | float) -> models.FieldCondition:
    """Equality with a number holds for 3 and 3.0 alike, where a float can tell it from its neighbours."""
    if isinstance(value, int) and abs(value) >= _EXACT_AS_FLOAT:
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))
    return models.FieldCondition(key=key, range=models.Range(gte=float(value), lte=float(value)))


def _key(field: str) -> str:
    """A field as Qdrant's JSON path; names under metadata are quoted, because they may hold dots and blanks."""
    section, dot, name = field.partition(".")
    return f'{section}."{name}"' if dot else field

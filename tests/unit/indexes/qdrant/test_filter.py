"""Filters as Qdrant's own in-memory evaluation reads them, on payloads as they are stored."""

from typing import Any

import pytest
from qdrant_client import models
from qdrant_client.local.payload_filters import check_filter

from indexes.qdrant.filter import access, any_source, held, of_source, scope_filter, stored
from indexes.qdrant.payload import payload_of
from rag.documents import Chunk, Document
from rag.filters import All, AnyOf, Between, Not, OneOf, parse_filter
from rag.ports import NOBODY, PUBLIC, Identity, Scope


def payload(**fields: Any) -> dict[str, Any]:
    document = Document(**{"id": "d", "source": "shop", "title": "T", "text": "x", "uri": "u", **fields})
    return payload_of(Chunk(id="c", document=document, ordinal=0, text="x", start=0, end=1, page=2))


def passes(condition: models.Filter, of: dict[str, Any]) -> bool:
    return check_filter(condition, of, "c", {})


def seen(scope: Scope, **fields: Any) -> bool:
    return passes(scope_filter(scope), payload(**fields))


def test_a_tenant_sees_its_own_alone() -> None:
    assert seen(Scope(identity=Identity(tenant="a")), tenant="a")
    assert not seen(Scope(identity=Identity(tenant="a")), tenant="b")


@pytest.mark.parametrize(("groups", "acl", "sees"), [
    ((), (), True), (("hr",), (), True), (("hr",), ("hr", "it"), True), (("hr",), ("it",), False), ((), ("hr",), False),
    ((NOBODY,), (NOBODY,), False), ((PUBLIC,), ("hr",), False), (("a", "b"), ("b",), True),
])  # fmt: skip
def test_a_group_sees_what_is_its_own_or_everybody_s(groups: tuple[str, ...], acl: tuple[str, ...], sees: bool) -> None:
    assert seen(Scope(identity=Identity(groups=groups)), acl=acl) is sees


def test_no_name_of_a_group_passes_for_that_of_a_tenant() -> None:
    assert access("a", ["b"]) != access("a\0b", [""])
    assert not seen(Scope(identity=Identity(tenant='a", "b')), tenant="a", acl=("b",))


def test_sources_narrow_and_none_are_all() -> None:
    assert seen(Scope(sources=("docs", "shop")))
    assert seen(Scope())
    assert not seen(Scope(sources=("docs",)))


def test_rights_are_joined_to_whatever_was_asked_for() -> None:
    either = AnyOf(parts=(OneOf(field="source", values=("shop",)), OneOf(field="tenant", values=("b",))))
    assert not seen(Scope(identity=Identity(tenant="a"), where=either), tenant="b")


@pytest.mark.parametrize(("where", "fields", "sees"), [
    (OneOf(field="kind", values=("row",)), {"kind": "row"}, True),
    (OneOf(field="kind", values=("row",)), {"kind": "file"}, False),
    (OneOf(field="tags", values=("a", "b")), {"tags": ("b", "c")}, True),
    (Not(part=OneOf(field="kind", values=("row",))), {"kind": "row"}, False),
    (All(parts=(OneOf(field="kind", values=("row",)), OneOf(field="tags", values=("a",)))), {"kind": "row"}, False),
    (AnyOf(parts=(OneOf(field="kind", values=("row",)), OneOf(field="tags", values=("a",)))), {"kind": "row"}, True),
    (Between(field="page", bounds={"gte": 2.0, "lt": 3.0}, dates=False), {}, True),
    (Between(field="page", bounds={"gt": 2.0}, dates=False), {}, False),
    (parse_filter({"metadata.day": {"gte": "2024-03-01"}}), {"metadata": {"day": "2024-03-01"}}, True),
    (parse_filter({"metadata.day": {"gte": "2024-03-01"}}), {"metadata": {"day": "2024-02-29"}}, False),
    (parse_filter({"metadata.n": [1, "a"]}), {"metadata": {"n": 1.0}}, True),
    (parse_filter({"metadata.n": [1, "a"]}), {"metadata": {"n": "a"}}, True),
    (parse_filter({"metadata.n": [1, "a"]}), {"metadata": {"n": "1"}}, False),
])  # fmt: skip
def test_a_filter_lets_through_what_passes_it(where: Any, fields: dict[str, Any], sees: bool) -> None:
    assert seen(Scope(where=where), **fields) is sees


def test_numbers_that_no_float_tells_apart_are_told_apart() -> None:
    where = parse_filter({"metadata.n": 2**53})
    assert seen(Scope(where=where), metadata={"n": 2**53})
    assert not seen(Scope(where=where), metadata={"n": 2**53 + 1})


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**62])
def test_an_integer_that_is_no_float_is_compared_as_an_integer(number: int) -> None:
    assert condition_for(number).match == models.MatchValue(value=number)
    smaller = number - 1 if 0 < number <= 2**53 else 7
    assert condition_for(smaller).range == models.Range(gte=smaller, lte=smaller)


def condition_for(value: int) -> Any:
    [group, _] = scope_filter(Scope(where=OneOf(field="metadata.n", values=(value,)))).must or []
    assert isinstance(group, models.Filter)
    [condition] = group.should or []
    return condition


def test_true_is_not_one_and_no_text_passes_for_it() -> None:
    where = parse_filter({"metadata.paid": True})
    assert seen(Scope(where=where), metadata={"paid": True})
    assert not any(seen(Scope(where=where), metadata={"paid": value}) for value in (1, "true", "True", False))
    assert [held(stored(value)) for value in (True, False, 1, "true", 2.5)] == [True, False, 1, "true", 2.5]


def test_a_name_with_a_dot_is_one_name() -> None:
    where = parse_filter({"metadata.net. weight": "a"})
    [condition, _] = scope_filter(Scope(where=where)).must or []
    assert isinstance(condition, models.Filter)
    fields = [each for each in condition.should or [] if isinstance(each, models.FieldCondition)]
    assert [field.key for field in fields] == ['metadata."net. weight"']


def test_marks_are_of_no_source() -> None:
    assert passes(any_source(), payload())
    assert not passes(any_source(), {"generation": "7"})
    assert passes(of_source("shop"), payload())
    assert not passes(of_source("docs"), payload())

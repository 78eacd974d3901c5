from typing import Any

import pytest

from rag.documents import Document
from rag.errors import FilterError
from rag.filters import OneOf, matches, parse_filter

DOCUMENT = Document(
    id="orders/7", source="shop", title="Order 7", text="…", uri="u", scope="orders", kind="row", updated_at=1_767_225_600,
    tags=("vip", "2026"), metadata={"total": 99.5, "city": 'O"Brien', "paid": True, "placed": "2026-03-01", "n": 3},
)  # fmt: skip


def passes(form: dict[str, Any]) -> bool:
    parsed = parse_filter(form)
    assert parsed is not None
    return matches(parsed, DOCUMENT, page=4)


@pytest.mark.parametrize(
    "form",
    [
        {"source": "shop"},
        {"table": ["invoices", "orders"], "kind": "row"},
        {"tags": "vip"},
        {"metadata.total": {"gte": 99, "lt": 100}},
        {"metadata.n": 3.0},
        {"metadata.city": 'O"Brien'},
        {"metadata.paid": True},
        {"metadata.placed": {"gt": "2026-02-28", "lte": "2026-03-01T00:00:00+00:00"}},
        {"updated_at": {"gte": "2026-01-01"}},
        {"page": 4},
        {"any": [{"source": "other"}, {"tags": ["2026"]}]},
        {"not": {"source": "other"}},
        {"all": [{"source": "shop"}, {"not": {"tags": "x"}}]},
    ],
)
def test_what_a_filter_describes_passes_and_its_negation_does_not(form: dict[str, Any]) -> None:
    assert passes(form)
    assert not passes({"not": form})


@pytest.mark.parametrize(
    "form",
    [
        {"metadata.paid": 1},
        {"metadata.n": True},
        {"metadata.n": "3"},
        {"metadata.city": "O*"},
        {"metadata.city": "O%"},
        {"source": "shop' OR '1'='1"},
        {"metadata.absent": {"lt": 1e9}},
        {"metadata.city": {"gte": "2020-01-01"}},
        {"metadata.city": {"gte": -1}},
        {"metadata.paid": {"gte": 0}},
        {"metadata.total": {"gte": "2020-01-01"}},
        {"page": {"gt": 4}},
        {"page": {"lt": 4}},
    ],
)
def test_nothing_but_the_value_itself_passes(form: dict[str, Any]) -> None:
    assert not passes(form)


def nested(levels: int) -> dict[str, Any]:
    form: dict[str, Any] = {"source": "shop"}
    for _ in range(levels):
        form = {"not": form}
    return form


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ([], "is an object"),
        ("source = 'shop'", "is an object"),
        ({"tenant": "b"}, "no field 'tenant'"),
        ({"acl": "hr"}, "no field 'acl'"),
        ({'metadata.a"].b': 1}, "no field"),
        ({"metadata.": 1}, "no field"),
        ({"source": None}, "compared with text, a number"),
        ({"source": [["shop"]]}, "compared with text, a number"),
        ({"source": []}, "takes 1 to 1000 values"),
        ({"source": ["x"] * 1001}, "takes 1 to 1000 values"),
        ({"source": "x" * 1001}, "1000 characters"),
        ({"source": {}}, "A range"),
        ({"source": {"$ne": "shop"}}, r"takes gt, gte, lt, lte, not \['\$ne'\]"),
        ({"metadata.total": {"gte": "cheap"}}, "is not a date"),
        ({"metadata.total": {"gte": float("nan")}}, "takes numbers"),
        ({"metadata.total": float("inf")}, "compared with"),
        ({"metadata.n": 2**63}, "64 bits"),
        ({"metadata.n": -(2**63) - 1}, "64 bits"),
        ({"metadata.total": {"gte": True}}, "takes numbers"),
        ({"metadata.total": {"gte": 10**400}}, "takes numbers"),
        ({"updated_at": True}, "is not a date"),
        ({"metadata.city": "\ud800"}, "unpaired UTF-16 surrogate"),
        ({"updated_at": "yesterday"}, "is not a date"),
        ({"any": []}, "at least one filter"),
        ({"any": {"source": "shop"}}, "takes a list"),
        ({"not": []}, "is an object"),
        ({"not": {}}, "at least one condition"),
        (nested(8), "8 levels"),
        ({"any": [{"page": n} for n in range(100)]}, "100 conditions"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_reason(form: Any, said: str) -> None:
    with pytest.raises(FilterError, match=said):
        parse_filter(form)


def test_an_empty_filter_is_none() -> None:
    assert parse_filter({}) is None
    assert parse_filter(None) is None


@pytest.mark.parametrize(
    "form",
    [
        nested(7),
        {"any": [{"page": n} for n in range(99)]},
        {"source": ["x"] * 1000},
        {"source": "x" * 1000},
        {"metadata.n": [2**63 - 1, -(2**63)]},
        {"updated_at": 1_767_225_600},
    ],
)
def test_what_is_just_within_the_limits_is_a_filter(form: dict[str, Any]) -> None:
    assert parse_filter(form) is not None


def test_one_condition_is_not_wrapped() -> None:
    assert parse_filter({"source": "shop"}) == OneOf(field="source", values=("shop",))


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(FilterError) as raised:
        parse_filter(["x" * 200])
    assert str(raised.value) == f"A filter is an object with at least one condition, not ['{'x' * 75}…."


def test_a_value_of_eighty_characters_is_shown_whole() -> None:
    with pytest.raises(FilterError, match="x" * 76):
        parse_filter(["x" * 76])

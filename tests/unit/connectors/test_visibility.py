"""Who may see a row: what it does not say clearly, nobody sees."""

from typing import Any

import pytest
import sqlalchemy as sa

from connectors.files.visibility import FileVisibility, PathRule
from connectors.sql.rows import Unread
from connectors.sql.visibility import RightsUnknown, RowVisibility
from rag.errors import SourceError
from rag.ports import NOBODY
from tests.support.rights import ALL, FORMS

TYPES = {"org": sa.Text(), "seen_by": sa.Text()}


def acl(labels: RowVisibility, value: Any) -> tuple[str, ...]:
    return labels.of({"org": "acme", "seen_by": value}, TYPES)["acl"]


@pytest.mark.parametrize(("value", "seen_by"), FORMS)
def test_an_acl_column_lets_in_whom_it_names_and_nobody_else(value: Any, seen_by: frozenset[str] | None) -> None:
    labels = RowVisibility(acl=("staff",), acl_column="seen_by")
    if seen_by is None:
        with pytest.raises(RightsUnknown, match=r"its seen_by is "):
            acl(labels, value)
    elif seen_by == ALL:
        assert acl(labels, value) == ()
    else:
        assert acl(labels, value) == (tuple(sorted(seen_by)) or (NOBODY,))


@pytest.mark.parametrize("value", [None, "", " ", "[]", '[""]', []])
def test_without_an_acl_of_the_source_a_row_that_names_nobody_is_seen_by_nobody(value: Any) -> None:
    assert acl(RowVisibility(acl_column="seen_by"), value) == (NOBODY,)
    everyone = RowVisibility(acl_column="seen_by", acl=("*",))
    assert acl(everyone, value) == (() if value in (None, "", " ") else (NOBODY,))


@pytest.mark.parametrize("value", [["hr"], ("hr",), {"hr"}, frozenset({"hr"})])
def test_arrays_are_lists_of_groups(value: Any) -> None:
    assert acl(RowVisibility(acl_column="seen_by"), value) == ("hr",)


@pytest.mark.parametrize(
    "value", [[None], [["hr"]], [b"hr"], [True], 1.5, b"hr", {"hr": 1}, Unread("no UTF-8"), "\udcff"]
)
def test_values_that_are_no_groups_let_nobody_in(value: Any) -> None:
    with pytest.raises(RightsUnknown):
        acl(RowVisibility(acl=("staff",), acl_column="seen_by"), value)


@pytest.mark.parametrize("tenant", [None, "", "  ", Unread("no UTF-8"), "\udcff"])
def test_a_row_without_tenant_belongs_to_none(tenant: Any) -> None:
    with pytest.raises(RightsUnknown, match="its org"):
        RowVisibility(tenant_column="org").of({"org": tenant}, TYPES)


def test_the_source_s_own_acl_holds_where_no_column_is_named() -> None:
    assert RowVisibility().of({}, {})["acl"] == ()
    assert RowVisibility(acl=("hr", "board")).of({}, {})["acl"] == ("board", "hr")


def test_a_rule_can_open_a_file_to_all_of_its_tenant() -> None:
    labels = FileVisibility(acl=("staff",), rules=(PathRule(path="open/*", acl=("*",)),))
    assert labels.of("open/a.md", [{"open/a.md"}])["acl"] == ()
    assert labels.of("b.md", [{"open/a.md"}])["acl"] == ("staff",)


@pytest.mark.parametrize(
    ("labels", "setting"),
    [(RowVisibility(tenant_column="org"), "tenant_column"), (RowVisibility(acl_column="org"), "acl_column")],
)
def test_a_table_that_does_not_say_who_may_see_its_rows_is_refused(labels: RowVisibility, setting: str) -> None:
    with pytest.raises(SourceError, match=f"no column 'org'.*{setting}"):
        labels.check("album", ["id", "title"])
    labels.check("album", ["id", "org"])
    RowVisibility().check("album", ["id"])


def test_a_row_says_itself_who_may_see_it_where_a_column_is_named() -> None:
    assert not RowVisibility(tenant="acme", acl=("hr",), metadata=("price",)).are_of_rows
    assert RowVisibility(tenant_column="org").are_of_rows
    assert RowVisibility(acl_column="seen_by").are_of_rows
    assert RowVisibility(tenant_column="org", acl_column="seen_by", metadata=("price",)).columns == {
        "org",
        "seen_by",
        "price",
    }


def test_a_row_belongs_to_the_tenant_that_its_column_names() -> None:
    assert RowVisibility(tenant_column="org").of({"org": " acme "}, TYPES)["tenant"] == "acme"
    assert RowVisibility(tenant="own").of({"org": "acme"}, TYPES)["tenant"] == "own"


def test_columns_to_filter_by_are_those_that_the_row_has() -> None:
    labels = RowVisibility(metadata=("price", "year", "none"), tags=("new",))
    found = labels.of({"price": 2, "none": None}, {"price": sa.Integer(), "none": sa.Integer()})
    assert (found["metadata"], found["tags"]) == ({"price": 2}, ("new",))


def test_an_array_of_groups_may_be_written_as_json_and_broken_json_names_none() -> None:
    labels = RowVisibility(acl_column="seen_by")
    assert acl(labels, '["hr", 7]') == ("7", "hr")
    with pytest.raises(RightsUnknown, match="JSON list"):
        acl(labels, '["hr"')


RULES = (
    PathRule(path="a/*", tenant="acme", acl=("hr",), tags=("x",)), PathRule(path="b/*", tags=("y", "x")), PathRule(path="c/*", acl=("board",)),
)  # fmt: skip


def test_of_the_rules_that_name_a_file_the_last_one_holds_and_tags_add_up() -> None:
    labels = FileVisibility(tenant="own", tags=("all",), rules=RULES)
    found = labels.of("f", [{"f"}, {"f"}, {"f"}])
    assert (found["tenant"], found["acl"], found["tags"]) == ("acme", ("board",), ("all", "x", "y"))
    assert labels.of("f", [{"f"}, {"f"}, {"other"}])["acl"] == ("hr",)
    assert labels.of("f", [set(), set(), set()])["tenant"] == "own"

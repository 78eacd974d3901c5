"""What a table's rows hang on, besides their values."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa

from connectors.sql.changes.signature import drift, signature_of
from connectors.sql.documents import Place
from connectors.sql.schema import Table
from connectors.sql.visibility import RowVisibility
from tests.support.memory_table import CURSOR, MemoryTable

BASE = MemoryTable(rows={})


def signature(**changed: Any) -> dict[str, Any]:
    return signature_of(replace(BASE, **changed))  # type: ignore[arg-type]


def labelled(**options: Any) -> Place:
    return Place(source="shop", url="sqlite://", labels=RowVisibility(**options))


@pytest.mark.parametrize(
    "changed",
    [
        {"method": CURSOR},
        {"tombstone": "gone"},
        {"columns": {"id": sa.BigInteger(), "body": sa.Text()}},
        {"comment": "all albums"},
        {"place": labelled(tenant="acme")},
        {"place": labelled(acl_column="body")},
        {"place": Place(source="shop", url="sqlite:///other.sqlite")},
    ],
)
def test_whatever_rows_hang_on_changes_it(changed: dict[str, Any]) -> None:
    assert signature(**changed) != signature()
    assert signature() == signature()


def test_rows_that_say_who_may_see_them_are_read_by_rules_that_have_a_number() -> None:
    assert signature(place=labelled(acl_column="body"))["rights"] == 2
    assert "rights" not in signature()


def columns(**types: str) -> dict[str, Any]:
    return {"columns": types}


def test_what_became_of_columns_is_told() -> None:
    told = drift(columns(a="INT", b="INT", c="INT"), columns(a="INT", b="TEXT", d="INT"), "t")
    assert told.startswith("Table t: column d was added; column c was removed; column b is TEXT, was INT.")


def test_nothing_is_told_where_no_column_changed() -> None:
    assert drift(columns(a="INT"), columns(a="INT"), "t") == ""


class Commented(MemoryTable):
    """A table whose columns have comments."""

    comments: ClassVar[dict[str, str]] = {}

    @property
    def table(self) -> Table:
        return replace(super().table, column_comments=self.comments)


def test_the_comments_of_columns_change_it_and_empty_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    without = signature_of(Commented(rows={}))  # type: ignore[arg-type]
    monkeypatch.setattr(Commented, "comments", {"body": "", "id": ""})
    assert signature_of(Commented(rows={})) == without  # type: ignore[arg-type]
    monkeypatch.setattr(Commented, "comments", {"body": "what it says"})
    assert signature_of(Commented(rows={})) != without  # type: ignore[arg-type]

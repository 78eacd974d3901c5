"""Tables whose rows nothing tells apart but their content."""

import pytest
import sqlalchemy as sa

from connectors.sql.changes.unkeyed import content_name, read_unkeyed
from connectors.sql.documents import Place
from connectors.sql.visibility import RowVisibility
from rag.events import Expected, Listed, Listing, ScopeComplete, Unreadable, Upsert
from tests.support.tables import PLACE, a_table, sqlite

LOG = a_table({"at": sa.Text(), "body": sa.Text()}, key=(), name="log")
MAKE = "CREATE TABLE log (at TEXT, body TEXT)"


def test_a_table_is_one_listing_by_content() -> None:
    with sqlite(MAKE, "INSERT INTO log VALUES ('mon', 'a'), ('tue', 'b')") as db:
        expected, listing, *upserts, listed, complete = read_unkeyed(db, LOG, PLACE)
    assert (expected, listing) == (Expected(documents=2), Listing(scope="log", by_content=True))
    assert (listed, complete) == (Listed(scope="log"), ScopeComplete(scope="log", documents=2))
    documents = [event.document for event in upserts if isinstance(event, Upsert)]
    assert [document.text for document in documents] == ["Log\nAt: mon\nBody: a", "Log\nAt: tue\nBody: b"]
    assert {document.primary_key for document in documents} == {None}


def test_rows_that_are_the_same_are_counted() -> None:
    with sqlite(MAKE, "INSERT INTO log VALUES ('mon', 'a'), ('mon', 'a'), ('mon', 'a')") as db:
        ids = [event.document.id for event in read_unkeyed(db, LOG, PLACE) if isinstance(event, Upsert)]
    assert ids == [ids[0], f"{ids[0]}-2", f"{ids[0]}-3"]


@pytest.mark.parametrize("other", [("mon", None), ("mona", ""), ("tue", ""), ("mon", "None")])
def test_rows_that_differ_have_names_that_do(other: tuple[str, str | None]) -> None:
    assert content_name(LOG, ("mon", "")) != content_name(LOG, other)


def test_what_stands_behind_a_row_s_values_is_no_part_of_its_name() -> None:
    assert content_name(LOG, ("mon", "a", "label")) == content_name(LOG, ("mon", "a"))
    assert content_name(LOG, ("mon", "a")).startswith("~")


def test_a_row_that_does_not_say_who_may_see_it_is_told_and_counted() -> None:
    place = Place(source="shop", url="sqlite://", labels=RowVisibility(acl_column="body"))
    with sqlite(MAKE, "INSERT INTO log VALUES ('mon', '{odd'), ('tue', 'staff')") as db:
        events = list(read_unkeyed(db, LOG, place))
    (told,) = (event for event in events if isinstance(event, Unreadable))
    assert told.withdrawn
    assert events[-1] == ScopeComplete(scope="log", documents=2)


def test_a_binary_column_that_says_who_may_see_a_row_is_read_whole() -> None:
    table = a_table({"org": sa.LargeBinary(), "cover": sa.LargeBinary()}, key=(), name="log")
    place = Place(source="shop", url="sqlite://", labels=RowVisibility(metadata=("org",)))
    with sqlite("CREATE TABLE log (org BLOB, cover BLOB)", "INSERT INTO log VALUES (x'ab', x'ab')") as db:
        (event,) = (event for event in read_unkeyed(db, table, place) if isinstance(event, Upsert))
    assert event.document.metadata == {"org": "ab"}

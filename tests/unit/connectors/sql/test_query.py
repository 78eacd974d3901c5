"""A named query as a source, over SQLite in memory."""

from typing import Any

import pytest
import sqlalchemy as sa

from connectors.sql.documents import Place
from connectors.sql.query import Query, check_query, read_query
from connectors.sql.visibility import RowVisibility
from rag.errors import SourceError
from rag.events import Expected, Listed, Listing, ScopeComplete, SnapshotComplete, SourceEvent, Unreadable, Upsert
from tests.support.tables import sqlite

MAKE = [
    "CREATE TABLE album (id INT, title TEXT, cover BLOB)",
    "INSERT INTO album VALUES (1, 'a', x'00'), (2, 'b', x'0000')",
]


def a_query(text: str = "SELECT id, title FROM album", *, key: tuple[str, ...] = ("id",), **labels: Any) -> Query:
    place = Place(source="albums", url="sqlite://", labels=RowVisibility(**labels))
    return Query(text=text, key=key, place=place)


def read(query: Query, *more: str) -> list[SourceEvent]:
    with sqlite(*MAKE, *more) as db:
        return list(read_query(query, db))


def test_the_rows_of_a_query_are_one_listing() -> None:
    expected, listing, one, _, *end = read(a_query())
    assert (expected, listing) == (Expected(documents=2), Listing(scope="albums"))
    assert isinstance(one, Upsert)
    assert (one.document.id, one.document.primary_key, one.document.source) == ("albums/1", {"id": 1}, "albums")
    assert one.moved_from == ""
    assert end == [
        Listed(scope="albums"),
        ScopeComplete(scope="albums", documents=2),
        SnapshotComplete(scopes=frozenset({"albums"}), fixed_scopes=True, changes_only=True),
    ]


def test_rows_without_a_key_are_one_entry() -> None:
    events = read(a_query(), "INSERT INTO album VALUES (NULL, 'x', NULL), (NULL, 'y', NULL)")
    (told,) = (event for event in events if isinstance(event, Unreadable))
    assert "2 rows of the query have NULL in their key (id)" in told.reason
    assert events[-2] == ScopeComplete(scope="albums", documents=3)
    assert not any(isinstance(event, Unreadable) for event in read(a_query()))


def test_a_semicolon_at_the_end_is_no_part_of_a_query() -> None:
    assert a_query("SELECT 1 ; \n").statement == "SELECT 1 "
    with sqlite(*MAKE) as db:
        check_query(a_query("SELECT id, title FROM album;"), db)


def test_colons_and_percent_signs_mean_nothing_to_us() -> None:
    events = read(a_query("SELECT id, ':x %s ' || title AS title FROM album"))
    assert any(":x %s a" in event.document.text for event in events if isinstance(event, Upsert))


def test_of_binary_values_only_the_size_is_read() -> None:
    (one, _) = (e for e in read(a_query("SELECT id, cover FROM album")) if isinstance(e, Upsert))
    assert "1 bytes" in one.document.text


def test_binary_keys_and_labels_are_read_whole() -> None:
    (one, _) = (e for e in read(a_query("SELECT id, cover FROM album", key=("cover",))) if isinstance(e, Upsert))
    assert one.document.id == "albums/%blob:00"
    place = Place(source="albums", url="sqlite://", labels=RowVisibility(metadata=("cover",)))
    (one, _) = (
        e for e in read(Query(text="SELECT id, cover FROM album", key=("id",), place=place)) if isinstance(e, Upsert)
    )
    assert one.document.metadata == {"cover": "00"}


def test_a_row_that_does_not_say_who_may_see_it_is_withdrawn() -> None:
    events = read(a_query("SELECT id, '{odd' AS org FROM album", acl_column="org"))
    assert [event.withdrawn for event in events if isinstance(event, Unreadable)] == [True, True]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (a_query(key=()), "has a query but no key"),
        (a_query(key=("number",)), "no column 'number'. Its columns: id, title"),
        (a_query(acl_column="org"), "has no column 'org'"),
    ],
)
def test_a_query_that_cannot_be_read_says_why(query: Query, told: str) -> None:
    with sqlite(*MAKE) as db:
        with pytest.raises(SourceError, match=told):
            list(read_query(query, db))
        with pytest.raises(SourceError, match=told):
            check_query(query, db)


def test_columns_with_one_name_are_told() -> None:
    with pytest.raises(SourceError, match="2 columns called 'title'"):
        read(a_query("SELECT id, title, title FROM album"))


def test_a_check_reads_no_row() -> None:
    with sqlite(*MAKE) as db:
        check_query(a_query("SELECT id, json(title) FROM album"), db)  # which no row is: it is never asked
        with pytest.raises(sa.exc.OperationalError):
            check_query(a_query("SELECT id FROM nowhere"), db)

"""A database as a source: its tables, one after the other."""

from pathlib import Path
from typing import Any

import pytest

from connectors.sql.source import SqlSource
from connectors.sql.visibility import RowVisibility
from rag.errors import SourceError
from rag.events import Expected, Notice, ScopeComplete, ScopeFailed, SnapshotComplete, Unreadable, Upsert
from tests.support.following import Follower
from tests.support.tables import sqlite_file

ALBUMS = ["CREATE TABLE album (id INTEGER PRIMARY KEY, title TEXT)", "INSERT INTO album VALUES (1, 'a'), (2, 'b')"]
SONGS = ["CREATE TABLE song (id INTEGER PRIMARY KEY, title TEXT)", "INSERT INTO song VALUES (1, 'x')"]
LOG = ["CREATE TABLE log (body TEXT)", "INSERT INTO log VALUES ('mon'), ('tue')"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return sqlite_file(tmp_path / "shop.sqlite", *ALBUMS, *SONGS)


def source(file: Path, **options: Any) -> SqlSource:
    return SqlSource(name="shop", url=f"sqlite:///{file}", **options)


def of(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_all_tables_are_read_and_each_is_a_scope(file: Path) -> None:
    events = list(source(file).read())
    assert [event.scope for event in of(events, ScopeComplete)] == ["album", "song"]
    assert events[-1] == SnapshotComplete(scopes=frozenset({"album", "song"}), fixed_scopes=True, changes_only=True)
    assert events[0] == Expected(documents=3)


def test_only_new_tables_are_counted_before(file: Path) -> None:
    follower = Follower(source=source(file, tables=("album",)))
    follower.read()
    assert next(iter(source(file).read(follower.notes))) == Expected(documents=1)


def test_a_table_without_a_key_is_counted_as_it_is_read(file: Path) -> None:
    sqlite_file(file, *LOG)
    events = list(source(file).read())
    assert [event.documents for event in of(events, Expected)] == [3, 2]
    assert [event.document.id for event in of(events, Upsert) if event.document.scope == "log"] != []


def test_a_table_that_is_not_there_fails_and_the_others_go_on(file: Path) -> None:
    events = list(source(file, tables=("album", "cd")).read())
    assert [event.scope for event in of(events, ScopeComplete)] == ["album"]
    (failed,) = of(events, ScopeFailed)
    assert "There is no table 'cd'" in failed.reason
    assert [event.scopes for event in of(events, SnapshotComplete)] == [{"album", "cd"}]


def test_a_table_to_leave_out_that_is_not_there_is_only_told(file: Path) -> None:
    events = list(source(file, exclude=("song", "cd")).read())
    assert len(of(events, Notice)) == 1
    assert [event.scopes for event in of(events, SnapshotComplete)] == [{"album"}]
    assert of(events, ScopeFailed) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tables": ("cd",)}, "There is no table 'cd'"),
        ({"exclude": ("album", "song")}, r"no tables\.$"),
        ({"exclude": ("album", "song"), "schema": "main"}, "no tables in schema 'main'"),
        ({"tables": ("album",), "cursors": {"song": "at"}}, "cursors names table 'song'"),
        ({"tables": ("album",), "keys": {"song": ("id",)}}, "keys names table 'song'"),
        ({"tables": ("album",), "tombstones": {"song": "id"}}, "tombstones names table 'song'"),
    ],
)
def test_a_source_without_what_it_names_is_an_error(file: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(SourceError, match=told):
        list(source(file, **options).read())
    with pytest.raises(SourceError, match=told):
        source(file, **options).check()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cursors": {"album": "at"}}, "Table 'album' has no column 'at', named in cursors"),
        ({"tombstones": {"album": "gone"}}, "no column 'gone', named in tombstones"),
        ({"keys": {"album": ("number",)}}, "no column 'number'"),
        ({"labels": RowVisibility(acl_column="org")}, "no column 'org'"),
    ],
)
def test_a_table_without_what_is_said_of_it_fails_alone(file: Path, options: dict[str, Any], told: str) -> None:
    events = list(source(file, **options).read())
    assert told in of(events, ScopeFailed)[0].reason
    assert "SourceError" not in of(events, ScopeFailed)[0].reason
    assert isinstance(events[-1], SnapshotComplete)
    with pytest.raises(SourceError, match=told):
        source(file, **options).check()


@pytest.mark.parametrize("setting", ["cursors", "tombstones"])
def test_a_cursor_and_a_tombstone_need_a_key(file: Path, setting: str) -> None:
    sqlite_file(file, *LOG)
    events = list(source(file, tables=("log",), **{setting: {"log": "body"}}).read())
    assert "has no primary key" in of(events, ScopeFailed)[0].reason


def test_a_configured_key_that_repeats_is_told_with_its_value(file: Path) -> None:
    sqlite_file(file, *LOG, "INSERT INTO log VALUES ('mon')")
    events = list(source(file, tables=("log",), keys={"log": ("body",)}).read())
    assert "2 rows whose key (body) is 'mon'" in of(events, ScopeFailed)[0].reason
    sqlite_file(file, "DELETE FROM log WHERE body = 'mon'")
    assert of(list(source(file, tables=("log",), keys={"log": ("body",)}).read()), ScopeFailed) == []


def test_rows_that_are_referred_to_name_their_row_unless_their_table_is_left_out(file: Path) -> None:
    sqlite_file(
        file,
        "CREATE TABLE take (id INTEGER PRIMARY KEY, album_id INT REFERENCES album)",
        "INSERT INTO take VALUES (1, 2)",
    )
    (take,) = of(list(source(file, tables=("take",)).read()), Upsert)
    assert "Album: b (Album id 2)" in take.document.text
    (bare,) = of(list(source(file, tables=("take",), exclude=("album",)).read()), Upsert)
    assert "Album id: 2" in bare.document.text


def test_a_cursor_and_a_tombstone_are_used(file: Path) -> None:
    sqlite_file(
        file, "ALTER TABLE album ADD at INT", "ALTER TABLE album ADD gone INT", "UPDATE album SET at = 1, gone = id - 1"
    )
    options: dict[str, Any] = {"tables": ("album",), "cursors": {"album": "at"}, "tombstones": {"album": "gone"}}
    follower = Follower(source=source(file, **options))
    follower.read()
    assert set(follower.documents) == {"album/1"}
    assert (follower.notes.kept["album", "table"].head or {})["method"]["column"] == "at"


def test_a_query_is_read_in_place_of_tables(file: Path) -> None:
    events = list(source(file, query="SELECT id, title FROM album", key=("id",)).read())
    assert [event.document.id for event in of(events, Upsert)] == ["shop/1", "shop/2"]


def test_a_check_says_what_is_there_in_one_line(file: Path) -> None:
    assert source(file).check().endswith("2 tables (album, song)")
    assert source(file, query="SELECT id FROM album", key=("id",)).check().endswith("the query runs")
    sqlite_file(file, *(f"CREATE TABLE t{n} (id INTEGER PRIMARY KEY)" for n in range(7)))
    assert source(file).check().endswith("…)")


def test_a_file_that_is_no_database_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(
        "no database, but a text that is long enough to be read as the head of one\n" * 9
    )
    for read in (source(tmp_path / "notes.txt").check, lambda: list(source(tmp_path / "notes.txt").read())):
        with pytest.raises(SourceError, match="not an SQLite database"):
            read()


def test_a_table_that_breaks_while_it_is_read_leaves_the_next_one_a_connection(file: Path) -> None:
    sqlite_file(file, "CREATE VIEW broken AS SELECT id FROM nowhere", *LOG)
    events = list(source(file, tables=("broken", "album")).read())
    assert [event.scope for event in of(events, ScopeFailed)] == ["broken"]
    assert [event.scope for event in of(events, ScopeComplete)] == ["album"]


def test_nothing_can_be_written_through_a_source(file: Path) -> None:
    with pytest.raises(SourceError, match="readonly"):
        list(source(file, query="DELETE FROM album RETURNING id", key=("id",)).read())


def test_a_password_is_in_no_repr(file: Path) -> None:
    assert "secret" not in repr(SqlSource(name="s", url="postgresql://ada:secret@db/shop"))


def test_rows_without_a_key_are_told(file: Path) -> None:
    sqlite_file(file, "CREATE TABLE tag (name TEXT PRIMARY KEY)", "INSERT INTO tag VALUES (NULL), ('a')")
    events = list(source(file, tables=("tag",)).read())
    assert "1 rows have NULL" in of(events, Unreadable)[0].reason

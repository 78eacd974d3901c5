"""What a sync finds, and what it reads to find it, on each kind of database."""

import threading
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from connectors.sql.changes.patience import Patience
from connectors.sql.connection import create_engine
from connectors.sql.source import SqlSource
from rag.events import Listing, Notice, Unreadable, Upsert
from tests.support.databases import server_database
from tests.support.following import Follower

Run = Callable[..., None]


@pytest.fixture
def run(database: str) -> Iterator[Run]:
    engine = sa.create_engine(database, poolclass=sa.NullPool)

    def execute(*statements: str) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    yield execute
    engine.dispose()


def fill(run: Run, rows: int, table: str = "item") -> None:
    run(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name VARCHAR(80))")
    for start in range(0, rows, 500):
        values = ", ".join(f"({i}, 'item number {i}')" for i in range(start, min(start + 500, rows)))
        run(f"INSERT INTO {table} VALUES {values}")


def truth(database: str) -> dict[str, str]:
    found = Follower(source=SqlSource(name="s", url=database))
    found.read()
    return found.texts


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Every statement that a source sends, with the number of rows that it got."""
    sent: list[tuple[str, int]] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append((statement, cursor.rowcount))

    sa.event.listen(sa.Engine, "after_cursor_execute", note)
    yield sent
    sa.event.remove(sa.Engine, "after_cursor_execute", note)


def test_changes_inserts_and_deletes_are_found_wherever_they_are(database: str, run: Run) -> None:
    fill(run, 3000)
    synced = Follower(source=SqlSource(name="s", url=database))
    assert len(synced.changes()) == 3000
    assert synced.changes() == []
    run("UPDATE item SET name = 'new' WHERE id IN (0, 777, 2999)", "DELETE FROM item WHERE id IN (5, 1500)")
    run("INSERT INTO item VALUES (-4, 'first'), (99999, 'last')")
    assert sorted(synced.changes()) == ["item/-4", "item/0", "item/2999", "item/777", "item/99999"]
    assert synced.texts == truth(database)
    assert synced.changes() == []


def test_a_table_that_grows_many_times_over_is_followed(database: str, run: Run) -> None:
    fill(run, 10)
    synced = Follower(source=SqlSource(name="s", url=database))
    synced.read()
    for start in range(10, 9010, 1000):
        values = ", ".join(f"({i * 7 % 9001 + 10}, 'grown {i}')" for i in range(start, start + 1000))
        run(f"INSERT INTO item VALUES {values}")
    synced.read()
    run("DELETE FROM item WHERE id BETWEEN 900 AND 4000")
    synced.read()
    assert synced.texts == truth(database)
    assert synced.changes() == []


def test_unchanged_ranges_are_not_read_where_the_database_hashes(
    database: str, run: Run, statements: list[tuple[str, int]]
) -> None:
    if database.startswith("sqlite"):
        pytest.skip("SQLite has no hash function: its tables are scanned")
    fill(run, 5000)
    synced = Follower(source=SqlSource(name="s", url=database, tables=("item",)))
    synced.read()
    run("UPDATE item SET name = 'new' WHERE id = 2500")
    statements.clear()
    assert synced.changes() == ["item/2500"]
    rows = sum(count for statement, count in statements if " item" in statement and count > 0)
    assert rows < 400  # sums of 20 ranges, the keys of one range, one row


def test_composite_text_keys_and_nulls_are_compared_like_any_other(database: str, run: Run) -> None:
    run("CREATE TABLE line (a VARCHAR(20), b INTEGER, v VARCHAR(20), PRIMARY KEY (a, b))")
    values = ", ".join(f"('k{i // 9}', {i % 9}, NULL)" for i in range(900))
    run(f"INSERT INTO line VALUES {values}")
    synced = Follower(source=SqlSource(name="s", url=database))
    synced.read()
    run("UPDATE line SET v = '' WHERE a = 'k3' AND b = 4", "UPDATE line SET v = 'x' WHERE a = 'k50' AND b = 0")
    run("DELETE FROM line WHERE a = 'k99' AND b = 8", "INSERT INTO line VALUES ('a', 1, 'y')")
    assert sorted(synced.changes()) == ["line/a,1", "line/k3,4", "line/k50,0"]
    assert synced.texts == truth(database)


def test_a_changed_label_renders_the_rows_that_show_it_again(database: str, run: Run) -> None:
    run(
        "CREATE TABLE artist (id INTEGER PRIMARY KEY, name VARCHAR(40))",
        "CREATE TABLE album (id INTEGER PRIMARY KEY, title VARCHAR(40), artist_id INTEGER, "
        "FOREIGN KEY (artist_id) REFERENCES artist (id))",
        "INSERT INTO artist VALUES (1, 'AC/DC'), (2, 'Accept')",
        "INSERT INTO album VALUES (1, 'Powerage', 1), (2, 'Breaker', 2), (3, 'Stiff Upper Lip', 1)",
    )
    synced = Follower(source=SqlSource(name="s", url=database))
    synced.read()
    run("UPDATE artist SET name = 'Acca Dacca' WHERE id = 1")
    assert sorted(synced.changes()) == ["album/1", "album/3", "artist/1"]
    assert "Artist: Acca Dacca (Artist id 1)" in synced.texts["album/3"]


def test_an_interrupted_first_read_goes_on_after_its_last_note(database: str, run: Run) -> None:
    fill(run, 3000)
    synced = Follower(source=SqlSource(name="s", url=database))
    synced.read(stop_after=1500)
    run("UPDATE item SET name = 'changed meanwhile' WHERE id = 3", "DELETE FROM item WHERE id = 4")
    again = synced.read()
    assert Listing(scope="item", resumes=True, by_content=True) in again
    assert sum(isinstance(event, Upsert) for event in again) < 2000
    assert synced.texts == truth(database)


def test_schema_drift_is_told_and_only_changed_rows_count(database: str, run: Run) -> None:
    fill(run, 20)
    synced = Follower(source=SqlSource(name="s", url=database))
    synced.read()
    before = dict(synced.texts)
    run("ALTER TABLE item ADD COLUMN colour VARCHAR(20)", "UPDATE item SET colour = 'red' WHERE id = 7")
    notes = [event.text for event in synced.read() if isinstance(event, Notice)]
    assert len(notes) == 1
    assert "column colour was added" in notes[0]
    assert [document for document in before if synced.texts[document] != before[document]] == ["item/7"]
    run("ALTER TABLE item DROP COLUMN colour")
    assert "column colour was removed" in next(e.text for e in synced.read() if isinstance(e, Notice))
    assert synced.texts == before


# A cursor column.


STAMPS = "CREATE TABLE item (id INTEGER PRIMARY KEY, name VARCHAR(80), updated_at TIMESTAMP NULL, gone INTEGER)"


def by_cursor(database: str, *, overlap: float = 300.0, reconcile_every: float = 3600.0, **options: Any) -> Follower:
    patience = Patience(overlap=overlap, reconcile_every=reconcile_every)
    return Follower(
        source=SqlSource(name="s", url=database, cursors={"item": "updated_at"}, patience=patience, **options)
    )


def stamp(moved: timedelta = timedelta()) -> str:
    return (datetime.now(UTC) + moved).strftime("%Y-%m-%d %H:%M:%S")


def test_a_cursor_reads_what_it_points_at(database: str, run: Run) -> None:
    old = stamp(timedelta(days=-2))
    run(STAMPS, *(f"INSERT INTO item VALUES ({i}, 'a', '{old}', 0)" for i in range(50)))
    run(f"INSERT INTO item VALUES (50, 'newest', '{stamp(timedelta(hours=-1))}', 0)")
    synced = by_cursor(database)
    synced.read()
    run(f"UPDATE item SET name = 'b', updated_at = '{stamp()}' WHERE id = 9")
    assert synced.changes() == ["item/50", "item/9"]  # the newest row stands at the edge, and is read again
    assert "b" in synced.texts["item/9"]


def test_a_thousand_rows_of_one_timestamp_are_all_read(database: str, run: Run) -> None:
    run(STAMPS)
    synced = by_cursor(database)
    synced.read()
    now = stamp()
    for half in (range(1, 1501), range(1501, 3001)):  # the second half comes after the first has been read
        run("INSERT INTO item VALUES " + ", ".join(f"({i}, 'row {i}', '{now}', 0)" for i in half))
        synced.read()
    assert len(synced.texts) == 3000


@pytest.mark.parametrize("reconcile_every", [0.0, 3600.0])
def test_a_row_committed_late_by_a_long_transaction_is_found(database: str, run: Run, reconcile_every: float) -> None:
    """Its timestamp is older than rows that were read before it could be seen."""
    run(STAMPS, f"INSERT INTO item VALUES (1, 'a', '{stamp(timedelta(minutes=-9))}', 0)")
    synced = by_cursor(database, reconcile_every=reconcile_every)
    synced.read()
    early = stamp(timedelta(minutes=-2))
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    if database.startswith("sqlite"):  # one writer at a time: what was written late is all that can be shown
        run(f"INSERT INTO item VALUES (2, 'in time', '{stamp()}', 0)")
        synced.read()
        run(f"INSERT INTO item VALUES (3, 'late', '{early}', 0)")
    else:
        with engine.connect() as slow:
            slow.exec_driver_sql(f"INSERT INTO item VALUES (3, 'late', '{early}', 0)")
            run(f"INSERT INTO item VALUES (2, 'in time', '{stamp()}', 0)")
            synced.read()
            slow.commit()
    engine.dispose()
    synced.read()
    assert set(synced.texts) == {"item/1", "item/2", "item/3"}


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_writer_whose_clock_is_an_hour_off_loses_no_row(database: str, run: Run, hours: int) -> None:
    """The whole table is compared in every run unless the configuration says otherwise, so no clock is trusted."""
    run(STAMPS)
    synced = by_cursor(database, reconcile_every=0.0)
    for number in range(4):
        moved = timedelta(hours=hours if number % 2 else 0)
        run(f"INSERT INTO item VALUES ({number}, 'row {number}', '{stamp(moved)}', 0)")
        synced.read()
    assert len(synced.texts) == 4


def test_a_second_change_within_the_clock_s_tick_is_found(database: str, run: Run) -> None:
    now = stamp()
    run(STAMPS, f"INSERT INTO item VALUES (1, 'first', '{now}', 0)")
    synced = by_cursor(database, reconcile_every=0.0)
    synced.read()
    run("UPDATE item SET name = 'second' WHERE id = 1")
    synced.read()
    assert "second" in synced.texts["item/1"]


@pytest.mark.parametrize("reconcile_every", [0.0, 3600.0])
def test_rows_marked_as_deleted_stop_answering(database: str, run: Run, reconcile_every: float) -> None:
    run(STAMPS, *(f"INSERT INTO item VALUES ({i}, 'a', '{stamp()}', 0)" for i in range(4)))
    synced = by_cursor(database, reconcile_every=reconcile_every, tombstones={"item": "gone"})
    synced.read()
    run(f"UPDATE item SET gone = 1, updated_at = '{stamp()}' WHERE id = 2")
    synced.read()
    assert set(synced.texts) == {"item/0", "item/1", "item/3"}


def test_a_column_kept_by_the_database_is_chosen_and_another_is_not() -> None:
    with server_database("mariadb") as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE kept (id INTEGER PRIMARY KEY, updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP "
                "ON UPDATE CURRENT_TIMESTAMP)"
            )
            connection.exec_driver_sql("CREATE TABLE loose (id INTEGER PRIMARY KEY, updated_at TIMESTAMP NULL)")
        synced = Follower(source=SqlSource(name="s", url=url))
        synced.read()
        methods = {scope: head["method"] for scope, _, head in synced.notes.find(name="table")}
        assert (methods["kept"]["method"], methods["kept"]["column"]) == ("cursor", "updated_at")
        assert methods["loose"]["method"] == "ranges"
        assert "nothing shows that updated_at is updated" in methods["loose"]["why"]
        engine.dispose()


def test_a_column_kept_by_a_trigger_is_chosen() -> None:
    with server_database("postgresql") as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            for statement in (
                "CREATE TABLE kept (id INTEGER PRIMARY KEY, updated_at TIMESTAMPTZ)",
                "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at = now(); RETURN NEW; END'",
                "CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION touch()",
                "INSERT INTO kept VALUES (1, NULL)",
            ):
                connection.exec_driver_sql(statement)
        synced = Follower(source=SqlSource(name="s", url=url))
        synced.read()
        (head,) = [head for _, _, head in synced.notes.find(name="table")]
        assert (head["method"]["method"], head["method"]["column"]) == ("cursor", "updated_at")
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO kept VALUES (2, NULL)")
        assert "kept/2" in synced.changes()
        engine.dispose()


# Rows that cannot be read.


def test_a_value_that_cannot_be_decoded_costs_neither_its_row_nor_its_neighbours() -> None:
    with server_database("postgresql") as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE day (id INTEGER PRIMARY KEY, at DATE)")
            connection.exec_driver_sql("INSERT INTO day SELECT i, '2020-01-01' FROM generate_series(1, 300) i")
            connection.exec_driver_sql("UPDATE day SET at = '20000-01-01' WHERE id = 77")
        synced = Follower(source=SqlSource(name="s", url=url))
        assert [event for event in synced.read() if isinstance(event, Unreadable)] == []
        assert len(synced.texts) == 300
        assert "20000-01-01" in synced.texts["day/77"]
        assert synced.changes() == []
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE day SET at = '2000-01-01' WHERE id = 77")
        assert synced.changes() == ["day/77"]
        engine.dispose()


def test_text_that_is_no_utf8_in_sqlite_costs_no_row(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        connection.exec_driver_sql("INSERT INTO t VALUES (1, 'a'), (2, CAST(x'ff41' AS TEXT)), (3, 'c')")
    synced = Follower(source=SqlSource(name="s", url=url))
    assert [event for event in synced.read() if isinstance(event, Unreadable)] == []
    assert set(synced.texts) == {"t/1", "t/2", "t/3"}
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE t SET v = 'b' WHERE id = 2")
    assert synced.changes() == ["t/2"]
    engine.dispose()


def test_a_stopped_reader_leaves_no_connection(database: str, run: Run) -> None:
    fill(run, 3000)
    events = SqlSource(name="s", url=database).read()
    assert isinstance(events, Generator)
    next(events)
    events.close()
    assert threading.active_count() < 20
    engine = create_engine(database)
    run("DROP TABLE item")
    engine.dispose()

"""Reading a table, over SQLite in memory."""

from typing import Any

import pytest
import sqlalchemy as sa

from connectors.sql.rows import Unread
from connectors.sql.table.page_size import PageSize
from connectors.sql.visibility import RowVisibility
from rag.events import Unreadable, Upsert
from tests.support.tables import a_reader, a_table, sqlite

MAKE = "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)"
MOVING = a_table({"id": sa.Integer(), "body": sa.Text(), "moved": sa.Integer(), "gone": sa.Integer()})
MAKE_MOVING = "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT, moved INTEGER, gone INTEGER)"
NOT_UTF8 = "CAST(x'ff' AS TEXT)"


def insert(count: int) -> str:
    return f"INSERT INTO t VALUES {', '.join(f'({n}, {chr(39)}row {n}{chr(39)})' for n in range(1, count + 1))}"


def test_a_range_is_read_in_key_order() -> None:
    with sqlite(MAKE, insert(9)) as db:
        reader = a_reader(db, a_table())
        assert [row.name for row in reader.page((3,), (8,), limit=4)] == ["4", "5", "6", "7"]
        assert reader.page(None, None, limit=1)[0].values[:2] == (1, "row 1")


def test_pages_follow_one_another_to_the_end() -> None:
    with sqlite(MAKE, insert(9)) as db:
        reader = a_reader(db, a_table())
        reader.size = PageSize(4)
        pages = [([row.name for row in page], last) for page, last in reader.pages(None, None)]
    assert pages == [(["1", "2", "3", "4"], False), (["5", "6", "7", "8"], False), (["9"], True)]


def test_a_range_that_ends_with_a_page_ends_with_an_empty_one() -> None:
    with sqlite(MAKE, insert(4)) as db:
        reader = a_reader(db, a_table())
        reader.size = PageSize(4)
        assert [(len(page), last) for page, last in reader.pages(None, None)] == [(4, False), (0, True)]


def test_many_keys_are_looked_up_in_parts_and_missing_ones_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite(MAKE, insert(70)) as db:
        found = list(a_reader(db, a_table()).by_keys([(n,) for n in range(1, 80)]))
    assert [row.name for row in found] == [str(n) for n in range(1, 71)]


def test_digests_change_with_a_row_and_with_nothing_else() -> None:
    with sqlite(MAKE, insert(3)) as db:
        reader = a_reader(db, a_table())
        before = {row.name: row.digest for row in reader.page(None, None, limit=9)}
        db.exec_driver_sql("UPDATE t SET body = 'changed' WHERE id = 2")
        after = {row.name: row.digest for row in reader.page(None, None, limit=9)}
    assert {name for name in before if before[name] != after[name]} == {"2"}


def test_a_cursor_column_is_the_row_s_digest() -> None:
    with sqlite(MAKE_MOVING, "INSERT INTO t VALUES (1, 'a', 5, NULL), (2, 'b', 5, NULL)") as db:
        reader = a_reader(db, MOVING, cursor="moved")
        page = reader.page(None, None, limit=9)
        ((one, two),) = reader.digests([(None, None)], limit=9, among=[range(1)], buckets=1)
        assert [row.digest for row in page] == [one.digest, two.digest]
        db.exec_driver_sql("UPDATE t SET body = 'changed' WHERE id = 1")
        assert [row.digest for row in reader.page(None, None, limit=9)] == [one.digest, two.digest]
        db.exec_driver_sql("UPDATE t SET moved = 6 WHERE id = 1")
        assert reader.page(None, None, limit=1)[0].digest != one.digest


def test_digests_come_range_by_range_without_values() -> None:
    with sqlite(MAKE_MOVING, "INSERT INTO t SELECT value, 'x', 1, NULL FROM json_each('[1, 2, 3, 4]')") as db:
        ranges = [(None, (2,)), ((2,), (3,)), ((3,), None)]
        found = a_reader(db, MOVING, cursor="moved").digests(ranges, limit=9, among=[range(1)] * 3, buckets=1)
    assert [[row.name for row in rows] for rows in found] == [["1", "2"], ["3"], ["4"]]
    assert {row.values for rows in found for row in rows} == {()}


def test_rows_since_a_mark_go_on_after_the_last_one() -> None:
    with sqlite(
        MAKE_MOVING, "INSERT INTO t VALUES (1, 'a', 5, 0), (2, 'b', 7, 0), (3, 'c', 5, 0), (4, 'd', 6, 1)"
    ) as db:
        reader = a_reader(db, MOVING, cursor="moved", tombstone="gone")
        found = reader.since(5, None, limit=2)
        assert [(moved, row.name) for moved, row in found] == [(5, "1"), (5, "3")]
        assert [row.name for _, row in reader.since(5, (5, 3), limit=2)] == ["2"]
        assert [row.name for _, row in reader.since(5, None, limit=9, dead=True)] == ["4"]
        assert reader.newest() == 7
        assert reader.count() == 3


def test_rows_without_a_time_are_read_by_themselves() -> None:
    with sqlite(MAKE_MOVING, "INSERT INTO t VALUES (1, 'a', NULL, 0), (2, 'b', 7, 0), (3, 'c', NULL, 0)") as db:
        reader = a_reader(db, MOVING, cursor="moved")
        assert [row.name for row in reader.without_cursor(None, limit=9)] == ["1", "3"]
        assert [row.name for row in reader.without_cursor((1,), limit=9)] == ["3"]


def test_a_text_that_is_not_utf8_costs_its_value_and_not_its_row() -> None:
    with sqlite(MAKE, insert(5), f"UPDATE t SET body = {NOT_UTF8} WHERE id = 3") as db:
        rows = a_reader(db, a_table()).page(None, None, limit=9)
    assert [row.name for row in rows] == ["1", "2", "3", "4", "5"]
    assert isinstance(rows[2].values[1], Unread)
    assert rows[3].values[1] == "row 4"


def test_dead_rows_of_which_a_value_cannot_be_decoded_are_no_other_rows() -> None:
    with sqlite(MAKE_MOVING, f"INSERT INTO t VALUES (1, 'a', 5, 0), (2, {NOT_UTF8}, 7, 1), (3, 'c', 6, 1)") as db:
        reader = a_reader(db, MOVING, cursor="moved", tombstone="gone")
        assert [row.name for _, row in reader.since(5, None, limit=9, dead=True)] == ["3", "2"]
        assert [row.name for _, row in reader.since(5, None, limit=9)] == ["1"]


def test_rows_of_which_a_value_cannot_be_decoded_stay_in_the_order_of_the_cursor() -> None:
    with sqlite(MAKE_MOVING, f"INSERT INTO t VALUES (1, 'a', 9, 0), (2, {NOT_UTF8}, 7, 0), (3, 'c', 6, 0)") as db:
        reader = a_reader(db, MOVING, cursor="moved")
        assert [row.name for _, row in reader.since(5, None, limit=2)] == ["3", "2"]


def test_what_is_wrong_with_a_statement_is_no_value() -> None:
    with sqlite(MAKE) as db, pytest.raises(sa.exc.OperationalError, match="no such column"):
        a_reader(db, a_table({"id": sa.Integer(), "title": sa.Text()})).page(None, None, limit=9)


def test_a_row_becomes_a_document_with_its_key() -> None:
    with sqlite(MAKE, insert(1)) as db:
        reader = a_reader(db, a_table())
        event = reader.event(reader.page(None, None, limit=1)[0])
    assert isinstance(event, Upsert)
    assert (event.document.id, event.document.primary_key, event.moved_from) == ("t/1", {"id": 1}, "")


def test_a_row_whose_id_is_another_s_is_told_as_unreadable() -> None:
    table = a_table({"id": sa.Text(), "body": sa.Text()})
    with sqlite("CREATE TABLE t (id TEXT, body TEXT)", "INSERT INTO t VALUES ('a', 'x'), ('a', 'y')") as db:
        reader = a_reader(db, table)
        one, other = map(reader.event, reader.page(None, None, limit=9))
    assert isinstance(one, Upsert)
    assert isinstance(other, Unreadable)
    assert "the same id as another row" in other.reason


def test_a_row_that_does_not_say_who_may_see_it_is_withdrawn() -> None:
    with sqlite(MAKE, insert(1), "UPDATE t SET body = NULL") as db:
        reader = a_reader(db, a_table(), labels=RowVisibility(tenant_column="body"))
        event = reader.event(reader.page(None, None, limit=1)[0])
    assert isinstance(event, Unreadable)
    assert event.withdrawn


def test_a_key_that_repeats_is_found_with_its_number() -> None:
    with sqlite("CREATE TABLE t (id INT, body TEXT)", "INSERT INTO t VALUES (2, 'b'), (2, 'c'), (NULL, 'd')") as db:
        reader = a_reader(db, a_table())
        assert reader.repeated_key() == (2, 2)
        assert reader.count_without_key() == 1
        db.exec_driver_sql("DELETE FROM t WHERE body = 'c'")
        assert reader.repeated_key() is None


@pytest.mark.parametrize(
    ("columns", "key"),
    [(None, ("id",)), ({"a": sa.Integer(), "b": sa.Integer()}, ("a", "b")), ({"id": sa.Text()}, ("id",))],
)
def test_a_database_without_hashes_has_no_ranges_of_them(columns: Any, key: Any) -> None:
    with sqlite(MAKE) as db:
        reader = a_reader(db, a_table(columns, key=key))
        assert (reader.hashes_inside, reader.counts_keys, reader.has_buckets) == (False, False, False)


class Server:
    """A connection to PostgreSQL, which answers whatever it is asked with these rows."""

    dialect = type("dialect", (), {"name": "postgresql"})

    def __init__(self, *rows: tuple[Any, ...]) -> None:
        self._rows = list(rows)

    def execute(self, statement: Any) -> "Server":
        return self

    def all(self) -> list[tuple[Any, ...]]:
        return self._rows

    def commit(self) -> None:
        pass


def answering(*rows: tuple[Any, ...]) -> Any:
    return Server(*rows)


def test_sums_are_told_by_range_and_bucket_and_empty_buckets_are_not_there() -> None:
    server = answering((0, 3, "30"), (2, 0, "0"), (3, 1, "7"))
    ranges = [(None, (10,)), ((10,), None)]
    assert a_reader(server, a_table()).sums(ranges, buckets=2) == [{0: (3, 30)}, {1: (1, 7)}]


def test_rows_of_numbers_are_in_the_range_that_their_key_lies_in() -> None:
    server = answering((5, "1"), (10, "2"), (11, "3"))
    found = a_reader(server, a_table()).digests(
        [(None, (10,)), ((10,), None)], limit=9, among=[range(8)] * 2, buckets=8
    )
    assert [[(row.key, row.digest) for row in rows] for rows in found] == [[((5,), 1), ((10,), 2)], [((11,), 3)]]


def test_rows_of_other_keys_say_which_range_they_are_in() -> None:
    server = answering((0, "a", "1"), (1, "b", "2"))
    reader = a_reader(server, a_table({"id": sa.Text(), "body": sa.Text()}))
    found = reader.digests([(None, ("a",)), (("a",), None)], limit=9, among=[range(8)] * 2, buckets=8)
    assert [[row.name for row in rows] for rows in found] == [["a"], ["b"]]


def test_only_keys_whose_ids_show_them_have_buckets() -> None:
    assert a_reader(answering(), a_table()).has_buckets
    assert not a_reader(answering(), a_table({"id": sa.DateTime(), "body": sa.Text()})).has_buckets


class Cancelling:
    """A connection whose server cancels the first statements."""

    def __init__(self, connection: sa.Connection, times: int, code: int) -> None:
        self.dialect, self._connection, self._left, self._code = connection.dialect, connection, times, code
        self.asked = 0

    def execute(self, statement: Any) -> Any:
        self.asked += 1
        if self._left:
            self._left -= 1
            raise sa.exc.OperationalError("SELECT", {}, Exception(self._code, "deadlock"))
        return self._connection.execute(statement)

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.sql.table.reader.time.sleep", lambda seconds: None)


def cancelled(db: sa.Connection, times: int, code: int = 1213) -> Any:
    return Cancelling(db, times, code)


@pytest.mark.usefixtures("no_waiting")
def test_a_statement_that_the_server_cancels_is_tried_three_times() -> None:
    with sqlite(MAKE, insert(2)) as db:
        twice = cancelled(db, 2)
        assert a_reader(twice, a_table()).count() == 2
        assert twice.asked == 3
        with pytest.raises(sa.exc.OperationalError):
            a_reader(cancelled(db, 3), a_table()).count()


@pytest.mark.usefixtures("no_waiting")
def test_a_statement_that_fails_otherwise_is_not_tried_again() -> None:
    with sqlite(MAKE, insert(2)) as db:
        wrong = cancelled(db, 1, code=1146)
        with pytest.raises(sa.exc.OperationalError):
            a_reader(wrong, a_table()).count()
    assert wrong.asked == 1


def test_a_reader_learns_how_large_rows_are() -> None:
    with sqlite(MAKE, "INSERT INTO t SELECT value, hex(zeroblob(1000000)) FROM json_each('[1, 2, 3]')") as db:
        reader = a_reader(db, a_table())
        reader.page(None, None, limit=9)
        assert reader.size.rows == 8

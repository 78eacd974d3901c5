"""The statements that read a table, as text for servers and run on SQLite."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.mysql import FLOAT

from connectors.sql.schema import Reference
from connectors.sql.table.method import Method
from connectors.sql.table.statements import Statements, spans
from tests.support.tables import a_table, sql_of, sqlite

HASHED, SCAN, MOVED = Method(name="ranges"), Method(name="scan"), Method(name="cursor", column="moved")
PAIR = {"a": sa.Integer(), "b": sa.Integer(), "body": sa.Text()}


def of(dialect: str = "postgresql", method: Method = HASHED, columns: Any = None, **more: Any) -> Statements:
    options = {name: more.pop(name) for name in ("tombstone", "whole") if name in more}
    return Statements(dialect, a_table(columns, **more), method, **options)


def page(statements: Statements, dialect: str = "postgresql") -> str:
    return sql_of(statements.select(statements.row_columns, statements.between((3,), (9,), limit=5)), dialect)


def test_ranges_that_follow_one_another_are_one_span() -> None:
    assert spans([(None, (3,)), ((3,), (6,)), ((8,), (9,)), ((9,), None)]) == [(None, (6,)), ((8,), None)]
    assert spans([((2,), None), (None, (3,))]) == [((2,), None), (None, (3,))]
    assert spans([]) == []


def test_a_page_is_a_range_in_key_order_with_its_digest() -> None:
    text = page(of())
    assert "WHERE t.id > 3 AND t.id <= 9 ORDER BY t.id LIMIT 5" in text
    assert "md5(" in text


def test_sqlite_makes_no_digest() -> None:
    statements = of("sqlite", SCAN)
    assert statements.digest is None
    assert len(statements.row_columns) == 2


@pytest.mark.parametrize(
    ("kind", "live"),
    [
        (sa.Boolean(), "(t.gone IS NULL OR t.gone IS false)"),
        (sa.Integer(), "(t.gone IS NULL OR t.gone = 0)"),
        (sa.Numeric(), "(t.gone IS NULL OR t.gone = 0)"),
        (sa.DateTime(), "t.gone IS NULL"),
    ],
)
def test_rows_that_are_marked_as_deleted_are_not_read(kind: Any, live: str) -> None:
    columns = {"id": sa.Integer(), "gone": kind}
    statements = of(columns=columns, tombstone="gone")
    assert live in page(statements)
    assert f"WHERE {live.strip('()')}" in sql_of(statements.count(), "postgresql")
    assert "gone IS" not in page(of(columns=columns)).partition("WHERE")[2]


def test_the_dead_are_read_by_the_opposite() -> None:
    statements = of(
        method=MOVED, columns={"id": sa.Integer(), "moved": sa.Integer(), "gone": sa.Integer()}, tombstone="gone"
    )
    dead = statements.since(5, None, limit=3, dead=True)
    assert "NOT (t.gone IS NULL OR t.gone = 0)" in sql_of(statements.select(statements.key_columns, dead), "postgresql")


def test_rows_without_a_key_are_left_out_where_there_may_be_any() -> None:
    assert "id IS NOT NULL" in page(of(nullable_key=True))
    assert "id IS NOT NULL" not in page(of())


def test_of_binary_values_only_the_size_is_read_unless_they_say_something() -> None:
    columns = {"id": sa.Integer(), "cover": sa.LargeBinary(), "org": sa.LargeBinary()}
    statements = of(columns=columns, whole={"org"})
    assert statements.measured == frozenset({1})
    assert "octet_length(t.cover)" in page(statements)
    assert "octet_length(t.org)" not in page(statements)
    assert of("sqlite", SCAN, columns=columns).measured == frozenset()


@pytest.mark.parametrize("method", [HASHED, MOVED])
def test_a_key_a_cursor_and_a_tombstone_are_read_whole(method: Method) -> None:
    columns = {"id": sa.LargeBinary(), "moved": sa.LargeBinary(), "gone": sa.LargeBinary()}
    whole = of(method=method, columns=columns, tombstone="gone").measured
    assert whole == (frozenset() if method is MOVED else frozenset({1}))


def test_a_cursor_column_stands_for_the_whole_row() -> None:
    columns = {"id": sa.Integer(), "moved": sa.Integer(), "body": sa.Text()}
    statements = of(method=MOVED, columns=columns)
    assert statements.cursor_columns == ["id", "moved"]
    assert "row(t.id, t.moved)" in page(statements)
    assert of(columns=columns).cursor_columns == []
    assert "row(t.id, t.moved, t.body)" in page(of(columns=columns))


def test_a_cursor_that_is_the_key_counts_once() -> None:
    assert of(method=Method(name="cursor", column="id")).cursor_columns == ["id"]


def test_labels_of_references_are_part_of_the_digest() -> None:
    artist = Reference(columns=("body",), schema=None, table="artist", referenced=("id",), labels=("name",))
    assert "row(t.id, t.body, r0.name)" in page(of(references=(artist,)))


@pytest.mark.parametrize(
    ("dialect", "columns", "key", "counts"),
    [
        ("postgresql", None, ("id",), True),
        ("postgresql", PAIR, ("a", "b"), False),
        ("postgresql", {"id": sa.Text()}, ("id",), False),
        ("sqlite", None, ("id",), False),
    ],
)
def test_ranges_of_one_whole_number_are_told_apart_by_arithmetic(
    dialect: str, columns: Any, key: Any, counts: bool
) -> None:
    assert of(dialect, columns=columns, key=key).counts_keys is counts


RANGES = [(None, (10,)), ((10,), (20,)), ((30,), None)]


def test_sums_of_numbers_are_made_in_one_pass() -> None:
    text = sql_of(of().sums(RANGES, buckets=1), "postgresql")
    assert "UNION" not in text
    assert "width_bucket(CAST(t.id AS BIGINT), ARRAY[11, 21])" in text
    assert "t.id <= 20 OR" in text
    assert "GROUP BY" in text


def test_mysql_finds_the_range_of_a_number_with_interval() -> None:
    assert "interval(t.id, 11, 21)" in sql_of(of("mysql").sums(RANGES, buckets=1), "mysql")


def test_sums_of_a_single_range_and_of_other_keys_are_made_range_by_range() -> None:
    alone = sql_of(of().sums(RANGES[:1], buckets=1), "postgresql")
    assert "width_bucket" not in alone
    assert "GROUP BY" not in alone
    pairs = of(columns=PAIR, key=("a", "b")).sums([(None, (1, 2)), ((1, 2), None)], buckets=1)
    assert sql_of(pairs, "postgresql").count("UNION ALL") == 1


def test_sums_by_bucket_are_grouped_by_it() -> None:
    text = sql_of(of(columns={"id": sa.Text()}).sums([(None, None)], buckets=8), "postgresql")
    assert "GROUP BY get_byte(decode(md5(concat_ws(chr(31), t.id)), 'hex'), 0)" in text


def digests(statements: Statements, ranges: Any, among: Any, buckets: int = 8) -> str:
    return sql_of(statements.digests(ranges, limit=99, among=among, buckets=buckets), "postgresql")


def test_digests_of_numbers_are_read_in_one_pass() -> None:
    text = digests(of(), RANGES, [range(8)] * 3)
    assert text.endswith("ORDER BY t.id LIMIT 99")
    assert "IN (" not in text
    assert "width_bucket" not in text


def test_digests_of_some_buckets_are_read_of_those_alone() -> None:
    text = digests(of(), RANGES, [{1}, range(8), {2}])
    assert "IN (1, 8, 9, 10, 11, 12, 13, 14, 15, 18)" in text


def test_a_single_range_of_numbers_needs_no_search_for_it() -> None:
    assert "width_bucket" not in digests(of(), RANGES[:1], [{1}])


def test_digests_of_other_keys_come_with_the_number_of_their_range() -> None:
    text = digests(of(columns={"id": sa.Text()}), [(None, None), (None, None)], [range(8), {2}])
    assert text.count("AS place") == 2
    assert text.count("IN (") == 1
    assert "ORDER BY anon_1.place, anon_1.c0 LIMIT 99" in text
    assert "UNION" not in digests(of(columns={"id": sa.Text()}), [(None, None)], [range(8)])


def test_without_a_digest_what_it_is_made_of_is_read() -> None:
    statements = Statements("sqlite", a_table({"id": sa.Integer(), "moved": sa.Integer()}), MOVED)
    text = sql_of(statements.digests([(None, None)], limit=9, among=[range(1)], buckets=1), "sqlite")
    assert "t.id AS c0, t.id AS c1, t.moved AS c2" in text


def test_the_newest_time_is_not_later_than_the_database_s_clock() -> None:
    columns = {"id": sa.Integer(), "moved": sa.DateTime()}
    assert "t.moved <= now()" in sql_of(of(method=MOVED, columns=columns).newest(), "postgresql")
    assert "now()" not in sql_of(of("sqlite", MOVED, columns=columns).newest(), "sqlite")
    assert "now()" not in sql_of(
        of(method=MOVED, columns={"id": sa.Integer(), "moved": sa.Integer()}).newest(), "postgresql"
    )


def test_rows_since_a_mark_come_in_order_of_cursor_and_key() -> None:
    statements = of(method=MOVED, columns={"id": sa.Integer(), "moved": sa.Integer()})
    first = sql_of(statements.select(statements.key_columns, statements.since(5, None, limit=3)), "postgresql")
    assert "WHERE t.moved >= 5 ORDER BY t.moved, t.id LIMIT 3" in first
    later = sql_of(statements.select(statements.key_columns, statements.since(5, (6, 7), limit=3)), "postgresql")
    assert "t.moved > 6 OR t.moved = 6 AND t.id > 7" in later


def test_rows_that_are_looked_up_are_not_limited() -> None:
    statements = of()
    text = sql_of(statements.select(statements.row_columns, statements.among([(1,), (2,)])), "postgresql")
    assert "t.id IN (1, 2) ORDER BY t.id" in text
    assert "LIMIT" not in text


def test_a_float_is_digested_with_all_its_digits_on_mysql() -> None:
    assert "t.price + 0e0" in page(of("mysql", columns={"id": sa.Integer(), "price": FLOAT()}), "mysql")


def test_keys_that_repeat_and_keys_that_are_missing_are_found() -> None:
    with sqlite(
        "CREATE TABLE t (id INT, body TEXT)", "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (2, 'c'), (NULL, 'd')"
    ) as db:
        statements = of("sqlite", SCAN)
        assert [tuple(row) for row in db.execute(statements.repeated_key())] == [(2, 2)]
        assert db.execute(statements.count_without_key()).scalar_one() == 1

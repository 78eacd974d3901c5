"""Results that are read to their end before the first row is given."""

from connectors.sql.changes.spool import spooled
from connectors.sql.rows import Blob
from tests.support.tables import sqlite

MAKE = ["CREATE TABLE t (id INT, cover BLOB)", "INSERT INTO t SELECT value, x'00ff' FROM json_each('[1, 2, 3, 4, 5]')"]


def test_all_rows_are_read_before_the_first_is_given() -> None:
    with sqlite(*MAKE) as db, spooled(db.exec_driver_sql("SELECT * FROM t"), whole={1}, most=2) as (number, rows):
        assert number == 5
        assert not db.in_transaction()
        assert list(rows) == [(n, b"\x00\xff") for n in range(1, 6)]


def test_of_binary_values_only_the_size_is_kept() -> None:
    with sqlite(*MAKE) as db, spooled(db.exec_driver_sql("SELECT * FROM t"), whole=set(), most=9) as (_, rows):
        assert next(rows) == (1, Blob(2))


def test_a_result_without_rows_gives_none() -> None:
    with sqlite(*MAKE[:1]) as db, spooled(db.exec_driver_sql("SELECT * FROM t"), whole=set(), most=9) as (number, rows):
        assert (number, list(rows)) == (0, [])

"""Sync keeps its promise: no row is lost, none is counted twice, and one bad table hurts no other. Real state and index."""

import itertools
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from qdrant_client import models

from connectors.sql.changes.patience import Patience
from connectors.sql.connection import create_engine
from indexes.qdrant.connect import connect_embedded
from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.new_version import NewVersion
from indexes.qdrant.schema import Encoders, Sharding
from indexes.sparse import Bm25Encoder
from rag.errors import MassDeleteRefused, SourceBusy, SourceError, StateUnavailable
from service.store.database import Database
from service.store.ledger.stored import StoredLedger
from service.store.overview import Overview
from service.syncing.upkeep import forget, verify
from tests.crash.harness import DIM, FreeEmbedder
from tests.support.databases import change, server_database, sqlite_with
from tests.support.running import wait_until
from tests.support.stores import Store, adds_up, fill, line

pytestmark = pytest.mark.timeout(600)  # tens of tables, each compared with a rebuild, on a machine that may be slow


# Ranges.


def test_a_range_that_grew_in_a_refused_run_loses_no_row(database: str, open_store: Any) -> None:
    """Its pieces and the old range used to be kept side by side, and the one called the other's rows gone."""
    fill(database, range(10, 1001, 10))
    store = open_store(database)
    store.run()
    change(database, "DELETE FROM a WHERE id <= 600 OR id BETWEEN 700 AND 900")
    fill(database, range(151, 351), create=False)
    with pytest.raises(MassDeleteRefused, match="61 of its 280"):
        store.run()
    change(database, "UPDATE a SET name = 'changed' WHERE id = 155")
    with pytest.raises(MassDeleteRefused, match="61 of its 280"):
        store.run()
    report = store.run(allow_mass_delete=True)
    assert (report.deleted, report.read, len(store.ids())) == (61, 219, 219)
    assert adds_up(report)
    again = store.run()
    assert (again.added, again.updated, again.deleted, again.unchanged) == (0, 0, 0, 219)
    assert store.is_a_clean_rebuild()


@pytest.mark.parametrize("key", ["INTEGER", "VARCHAR(20)"])
def test_a_range_that_grew_beside_a_dropped_table_is_followed(database: str, open_store: Any, key: str) -> None:
    change(
        database,
        f"CREATE TABLE a (id {key} PRIMARY KEY, name VARCHAR(80))",
        "CREATE TABLE old (id INTEGER PRIMARY KEY)",
    )
    change(database, "INSERT INTO a VALUES " + ", ".join(f"('{i:06}', 'row {i}')" for i in range(0, 2700, 3)))
    change(database, "INSERT INTO old VALUES (1)")
    store = open_store(database)
    store.run()
    change(
        database,
        "DROP TABLE old",
        "DELETE FROM a WHERE id IN (" + ", ".join(f"'{i:06}'" for i in range(300, 480, 3)) + ")",
    )
    change(database, "INSERT INTO a VALUES " + ", ".join(f"('{i:06}', 'new {i}')" for i in range(301, 901, 3)))
    report = store.run()
    assert (report.deleted, report.added, line(report, "old").error != "") == (60, 200, True)
    change(database, "UPDATE a SET name = 'changed' WHERE id = '000301'")
    assert store.run().updated == 1
    assert len(store.ids()) == 900 - 60 + 200 + 1
    assert forget(store.parts.ledger, store.parts.index, "shop", "old") == 1
    assert store.run().error == ""
    assert store.is_a_clean_rebuild()


def test_notes_that_do_not_hold_together_are_dropped_and_the_table_is_compared_anew(
    database: str, open_store: Any
) -> None:
    fill(database, range(500))
    store = open_store(database)
    store.run()
    with store.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM citewell_cursors WHERE name = 'range-1'")
    change(database, "UPDATE a SET name = 'changed' WHERE id = 3")
    report = store.run()
    assert any("is inconsistent" in note for note in report.notes)
    assert (report.updated, report.deleted, report.chunks_embedded) == (1, 0, 1)
    assert store.run().notes == []


def test_a_listing_that_was_read_but_not_closed_is_closed_and_not_read_again(database: str, open_store: Any) -> None:
    fill(database, range(300))
    store = open_store(database)
    store.run()
    change(database, "ALTER TABLE a ADD COLUMN more VARCHAR(9)", "DELETE FROM a WHERE id < 200")
    with pytest.raises(MassDeleteRefused):
        store.run()
    with pytest.raises(MassDeleteRefused):
        store.run()
    change(database, "INSERT INTO a VALUES (1, 'again', NULL)")
    report = store.run(allow_mass_delete=True)
    assert (report.read, report.deleted, len(store.ids())) == (101, 199, 101)
    assert store.run().read == 101
    assert store.is_a_clean_rebuild()


@pytest.mark.parametrize("commits", [1, 2, 3])
def test_a_row_that_a_broken_off_listing_indexed_but_did_not_note_may_go(
    database: str, open_store: Any, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    """The documents of a range are committed before its note where a batch ends between them."""
    fill(database, range(330))
    store = open_store(database)
    commit, done = StoredLedger.commit, itertools.count(1)

    def broken(self: StoredLedger, lease: Any, changes: Any) -> None:
        if next(done) > commits:
            raise SourceError("broken off")
        commit(self, lease, changes)

    monkeypatch.setattr(StoredLedger, "commit", broken)
    with pytest.raises(SourceError):
        store.run()
    monkeypatch.setattr(StoredLedger, "commit", commit)
    change(database, "DELETE FROM a WHERE id % 7 = 3")
    report = store.run()
    assert (report.error, len(store.ids())) == ("", 283)
    assert store.is_a_clean_rebuild()


# Keys of every type: as many documents as rows; changed, deleted and added each once.

POSTGRES_KEYS = {
    "smallint": ("1", "-2", "3"), "integer": ("1", "2", "3"), "bigint": ("1", "9223372036854775807", "-5"),
    "numeric": ("1", "1.5", "'NaN'"), "numeric(20,5)": ("1.50000", "2", "1e10"), "real": ("0.1", "0.2", "'Infinity'"),
    "double precision": ("0.1", "1e300", "'NaN'"), "money": ("'1.00'", "'2.50'", "'3'"), "text": ("'a,b'", "'a%2Cb'", "'/'"),
    "varchar(20)": ("'1'", "'01'", "' 1'"), "char(3)": ("'a'", "'b'", "'ab'"), "bytea": ("'\\x00'", "'\\xff'", "'\\x61'"),
    "boolean": ("true", "false"), "date": ("'2026-01-01'", "'infinity'", "'0044-03-15 BC'"),
    "time": ("'12:00'", "'12:00:00.000001'", "'23:59'"), "timetz": ("'12:00+02'", "'12:00+01'", "'11:00+00'"),
    "timestamp": ("'2026-01-01 00:00:00.000001'", "'2026-01-01'", "'-infinity'"),
    "timestamptz": ("'2026-01-01 00:00:00.1+00'", "'2026-01-01 00:00:00.2+00'", "'infinity'"),
    "interval": ("'1 day'", "'25 hours'", "'1 year 2 mons'"), "uuid": ("gen_random_uuid()", "gen_random_uuid()", "gen_random_uuid()"),
    "inet": ("'10.0.0.1'", "'10.0.0.1/8'", "'::1'"), "cidr": ("'10.0.0.0/8'", "'10.0.0.0/16'", "'::/0'"),
    "macaddr": ("'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'", "'08:00:2b:01:02:05'"), "bit(3)": ("B'101'", "B'000'", "B'111'"),
    "varbit": ("B'1'", "B'10'", "B'100'"), "text[]": ("'{a,b}'", "'{\"a, b\"}'", "'{a}'"), "integer[]": ("'{1,2}'", "'{12}'", "'{{1},{2}}'"),
    "jsonb": ("'1'", "'\"1\"'", "'[1,\"1\"]'"), "int4range": ("'[1,5)'", "'[1,6)'", "'empty'"),
    "tstzrange": ("'[2026-01-01 00:00+00,2026-01-02 00:00+00)'", "'[2026-01-01 00:00:00.5+00,)'", "'(,2026-01-01 00:00+00]'"),
    "mood": ("'sad'", "'ok'", "'happy'"), "weight": ("0.1", "0.2", "0.3"), "pair": ("'(1,\"a,b\")'", "'(1,a)'", "'(2,a)'"),
}  # fmt: skip
MARIADB_KEYS = {
    "TINYINT": ("1", "-2", "3"), "INT UNSIGNED": ("1", "4294967295", "3"), "BIGINT UNSIGNED": ("1", "18446744073709551615", "7"),
    "DECIMAL(20,5)": ("1.5", "2", "1e10"), "FLOAT": ("0.1", "16777216", "16777215"), "DOUBLE": ("0.1", "1e300", "3"),
    "BIT(10)": ("5", "1023", "0"), "YEAR": ("2026", "1999", "2000"), "DATE": ("'2026-01-01'", "'0000-00-00'", "'2026-02-01'"),
    "DATETIME": ("'2026-01-01'", "'2026-01-02'", "'2026-01-01 00:00:01'"),
    "DATETIME(6)": ("'2026-01-01 00:00:00.1'", "'2026-01-01 00:00:00.2'", "'2026-01-02'"),
    "TIMESTAMP(6)": ("'2026-01-01 00:00:00.1'", "'2026-01-01 00:00:00.2'", "'2026-01-02'"),
    "TIME(6)": ("'-12:30:00'", "'100:15:00.5'", "'0:00:00'"),
    "CHAR(5)": ("'a'", "'b'", "'ab'"), "VARCHAR(20)": ("'a,b'", "'a%2Cb'", "'/'"), "VARCHAR(20) COLLATE utf8mb4_bin": ("'a'", "'A'", "'á'"),
    "BINARY(3)": ("'a'", "x'ff'", "x'00'"), "VARBINARY(9)": ("'a'", "x'ff'", "x'00ff'"), "ENUM('z','m','a')": ("'a'", "'z'", "'m'"),
    "SET('x','y')": ("'x,y'", "'y'", "''"), "UUID": ("uuid()", "uuid()", "uuid()"), "INET6": ("'::1'", "'2001:db8::1'", "'fe80::1'"),
    "BOOLEAN": ("1", "0"),
}  # fmt: skip
SQLITE_KEYS = {
    "INTEGER": ("1", "-2", "3"), "TEXT": ("'1'", "'01'", "'a,b'"), "": ("1", "'1'", "x'31'"), "BLOB": ("x'ff'", "'ff'", "255"),
    "REAL": ("0.1", "'a'", "2"), "NUMERIC": ("1.5", "'x'", "x'78'"), "DATE": ("'2026-01-01'", "'never'", "20260101"),
    "TEXT COLLATE NOCASE": ("'a'", "'b'", "CAST(x'ff' AS TEXT)"),
}  # fmt: skip


def _check_keys(url: str, keys: Mapping[str, Sequence[str]], store: Store) -> None:
    tables = {kind: f"t{number}" for number, kind in enumerate(keys)}
    for kind, table in tables.items():
        values = ", ".join(f"({value}, 'row {i}')" for i, value in enumerate(keys[kind]))
        change(
            url, f"CREATE TABLE {table} (k {kind} PRIMARY KEY, v VARCHAR(20))", f"INSERT INTO {table} VALUES {values}"
        )
    report = store.run()
    sizes = {kind: len(values) for kind, values in keys.items()}
    assert report.error == ""
    assert {kind: line(report, tables[kind]).added for kind in keys} == sizes
    assert report.unreadable == []
    assert adds_up(report)
    again = store.run()
    assert (again.added, again.updated, again.deleted, again.fetched if "sqlite" not in url else 0) == (0, 0, 0, 0)
    for table in tables.values():
        change(url, f"UPDATE {table} SET v = 'new' WHERE v = 'row 0'")
    report = store.run()
    assert report.error == ""
    assert {
        kind: (line(report, tables[kind]).updated, line(report, tables[kind]).deleted) for kind in keys
    } == dict.fromkeys(keys, (1, 0))
    for table in tables.values():
        change(url, f"DELETE FROM {table} WHERE v = 'row 1'")
    report = store.run()
    assert report.error == ""
    assert {
        kind: (line(report, tables[kind]).updated, line(report, tables[kind]).deleted) for kind in keys
    } == dict.fromkeys(keys, (0, 1))
    for kind, table in tables.items():
        change(url, f"INSERT INTO {table} VALUES ({keys[kind][1]}, 'back')")
    report = store.run()
    assert report.error == ""
    assert {
        kind: (line(report, tables[kind]).added, line(report, tables[kind]).deleted) for kind in keys
    } == dict.fromkeys(keys, (1, 0))
    assert adds_up(report)
    assert store.is_a_clean_rebuild()


@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_keys_of_every_type_on_postgresql(open_store: Any) -> None:
    with server_database("postgresql") as url:
        change(
            url,
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
            "CREATE DOMAIN weight AS real",
            "CREATE TYPE pair AS (a int, b text)",
        )
        assert len(POSTGRES_KEYS) >= 30
        store = open_store(url)
        _check_keys(url, POSTGRES_KEYS, store)


@pytest.mark.filterwarnings("ignore:Did not recognize type")
def test_keys_of_every_type_on_mariadb(open_store: Any) -> None:
    with server_database("mariadb") as url:
        assert len(MARIADB_KEYS) >= 23
        store = open_store(f"{url}?init_command=SET sql_mode=''")
        _check_keys(f"{url}?init_command=SET sql_mode=''", MARIADB_KEYS, store)


def test_keys_of_every_type_on_sqlite(open_store: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{sqlite_with(tmp_path / 'source.sqlite')}"
    assert len(SQLITE_KEYS) >= 8
    _check_keys(url, SQLITE_KEYS, open_store(url))


def test_many_rows_under_an_enum_are_paged_in_the_order_that_the_server_sorts(open_store: Any) -> None:
    with server_database("mariadb") as url:
        change(url, "CREATE TABLE t (k ENUM('z','m','a'), n INT, v VARCHAR(9), PRIMARY KEY (k, n))")
        for kind in ("z", "m", "a"):
            change(url, "INSERT INTO t VALUES " + ", ".join(f"('{kind}', {i}, 'x')" for i in range(450)))
        store = open_store(url)
        assert store.run().added == 1350
        change(url, "UPDATE t SET v = 'y' WHERE n = 5", "DELETE FROM t WHERE n = 6")
        report = store.run()
        assert (report.updated, report.deleted, report.read) == (3, 3, 1347)
        assert store.is_a_clean_rebuild()


def test_many_rows_under_real_keys_are_each_in_one_range(open_store: Any) -> None:
    with server_database("postgresql") as url:
        change(
            url,
            "CREATE TABLE t (k real PRIMARY KEY, v text)",
            "INSERT INTO t SELECT i / 7.0, 'x' FROM generate_series(1, 1500) i",
        )
        store = open_store(url)
        assert store.run().added == 1500
        assert store.run().fetched == 0
        change(url, "UPDATE t SET v = 'y' WHERE v = 'x' AND (k * 7)::int % 100 = 0")
        assert (store.run().updated, store.run().fetched) == (15, 0)


def test_ids_do_not_hang_on_what_a_database_has_set(open_store: Any) -> None:
    with server_database("postgresql") as url:
        change(url, "CREATE TABLE t (k timestamptz PRIMARY KEY, d date, f float8, v interval, r tstzrange, b bytea)")
        change(
            url,
            "INSERT INTO t VALUES ('2026-01-01 00:00:00.5+00', '2026-03-01', 0.1, '1 day', '[2026-01-01 00:00+00,)', '\\xff')",
        )
        store = open_store(url)
        store.run()
        database = sa.make_url(url).database
        for setting in (
            "timezone = 'Asia/Tokyo'",
            "datestyle = 'SQL, DMY'",
            "extra_float_digits = 0",
            "intervalstyle = 'iso_8601'",
            "bytea_output = 'escape'",
        ):
            change(url, f"ALTER DATABASE {database} SET {setting}")
            report = store.run()
            assert (report.added, report.updated, report.deleted, report.fetched) == (0, 0, 0, 0), setting


# Two rows, one id.


def test_inherited_tables_are_each_their_own_rows(open_store: Any) -> None:
    with server_database("postgresql") as url:
        change(
            url,
            "CREATE TABLE base (id int PRIMARY KEY, name text)",
            "CREATE TABLE child (extra text, PRIMARY KEY (id)) INHERITS (base)",
            "CREATE TABLE sale (id int PRIMARY KEY, base_id int REFERENCES base)",
            "INSERT INTO base VALUES (1, 'b1'), (2, 'b2')",
            "INSERT INTO child VALUES (1, 'c1', 'x'), (3, 'c3', 'x')",
            "INSERT INTO sale VALUES (1, 1)",
        )
        store = open_store(url)
        report = store.run()
        assert (report.read, report.added) == (5, 5)
        rows = store.rows()
        assert rows["base/1"] == "Base\nId: 1\nName: b1"
        assert "c1" in rows["child/1"]
        assert "Base: b1 (Base id 1)" in rows["sale/1"]
        change(url, "UPDATE ONLY base SET name = 'new' WHERE id = 1", "DELETE FROM child WHERE id = 3")
        report = store.run()
        assert (report.updated, report.deleted) == (2, 1)
        assert store.is_a_clean_rebuild()


def test_partitions_are_read_once_through_their_parent(open_store: Any) -> None:
    with server_database("postgresql") as url:
        change(
            url,
            "CREATE TABLE sale (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
            "CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
            "CREATE TABLE sale_2 PARTITION OF sale FOR VALUES FROM ('2026-02-01') TO ('2026-04-01') PARTITION BY RANGE (day)",
            "CREATE TABLE sale_2a PARTITION OF sale_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
            "INSERT INTO sale SELECT i, date '2026-01-01' + i % 59 FROM generate_series(1, 100) i",
        )
        store = open_store(url)
        assert (store.run().added, len(store.ids())) == (100, 100)
        change(url, "ALTER TABLE sale DETACH PARTITION sale_1", "DROP TABLE sale_1")
        gone = 100 - len(_all(url, "SELECT id FROM sale"))
        with pytest.raises(MassDeleteRefused, match=f"{gone} of its 100"):
            store.run()
        assert store.run(allow_mass_delete=True).deleted == gone
        assert store.is_a_clean_rebuild()


def test_documents_that_partitions_had_of_their_own_go_once_the_parent_is_read(open_store: Any) -> None:
    with server_database("postgresql") as url:
        fill(url, range(30), "sale_1")
        store = open_store(url)
        store.run()
        change(
            url,
            "CREATE TABLE sale (id int, name varchar(80), PRIMARY KEY (id)) PARTITION BY RANGE (id)",
            "ALTER TABLE sale ATTACH PARTITION sale_1 FOR VALUES FROM (0) TO (100)",
        )
        report = store.run()
        assert (report.added, report.deleted, report.error, len(store.ids())) == (30, 30, "", 30)
        assert store.run().read == 30


def _all(url: str, statement: str) -> list[Any]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        found = list(connection.exec_driver_sql(statement))
    engine.dispose()
    return found


def test_the_second_row_of_a_query_s_key_is_set_aside_and_told(database: str, open_store: Any) -> None:
    change(
        database,
        "CREATE TABLE o (id INTEGER, item VARCHAR(20))",
        "INSERT INTO o VALUES (1, 'pen'), (1, 'ink'), (2, 'nib'), (NULL, 'x')",
    )
    store = open_store(database, query="SELECT id, item FROM o ORDER BY id, item DESC", key=("id",))
    report = store.run()
    assert (report.read, report.added, report.quarantined) == (4, 2, 2)
    assert adds_up(report)
    twin = next(entry for entry in report.unreadable if "~" in entry["document_id"])
    assert twin["document_id"] == "shop/1~1"
    assert twin["reason"].count('{"id": 1}') == 2
    assert store.rows()["shop/1"] == "Shop\nId: 1\nItem: pen"
    again = store.run()
    assert (again.updated, again.chunks_embedded, again.quarantined) == (0, 0, 2)
    change(database, "UPDATE o SET id = 3 WHERE item = 'ink'")
    report = store.run()
    assert (report.added, report.quarantined) == (1, 1)


def test_a_twin_in_a_later_batch_is_set_aside_as_well(database: str, open_store: Any) -> None:
    change(database, "CREATE TABLE o (id INTEGER, n INTEGER, item VARCHAR(20))")
    change(database, "INSERT INTO o VALUES " + ", ".join(f"({i % 700}, {i}, 'item {i}')" for i in range(1000)))
    store = open_store(database, query="SELECT id, item FROM o ORDER BY n", key=("id",))
    report = store.run()
    assert (report.read, report.added, report.quarantined) == (1000, 700, 300)
    assert store.rows()["shop/5"].endswith("item 5")
    again = store.run()
    assert (again.read, again.added, again.updated, again.quarantined) == (1000, 0, 0, 300)


# Each table by itself.


def test_one_broken_table_costs_itself_alone(open_store: Any) -> None:
    with server_database("postgresql") as url:
        role = sa.make_url(url).database or ""
        for name in ("a", "b", "zz"):
            fill(url, range(5), name)
        change(url, f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON a, zz TO {role}")
        try:
            reader = sa.make_url(url).set(username=role).render_as_string(hide_password=False)
            store = open_store(reader)
            report = store.run()
            assert {table.table: table.added for table in report.tables} == {"a": 5, "b": 0, "zz": 5}
            assert "permission denied" in line(report, "b").error
            assert (report.added, Overview(store.database).summary("shop")["last_run"]["status"]) == (10, "partial")
            change(
                url, f"GRANT SELECT ON b TO {role}", f"REVOKE SELECT ON zz FROM {role}", "DELETE FROM a WHERE id = 1"
            )
            report = store.run()
            assert (line(report, "b").added, line(report, "a").deleted, line(report, "zz").error != "") == (5, 1, True)
            assert len(store.ids()) == 14
            change(url, f"REVOKE ALL ON a, b FROM {role}")
            with pytest.raises(SourceError, match="permission denied"):
                store.run()
            assert len(store.ids()) == 14
        finally:
            change(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_dropped_or_renamed_table_blocks_no_other_and_stays_until_it_is_forgotten(
    database: str, open_store: Any
) -> None:
    for name in ("a", "old", "other"):
        fill(database, range(10), name)
    store = open_store(database)
    store.run()
    change(database, "DROP TABLE old", "ALTER TABLE other RENAME TO renamed", "DELETE FROM a WHERE id = 7")
    report = store.run()
    assert (line(report, "a").deleted, line(report, "renamed").added) == (1, 10)
    assert "citewell forget shop old" in line(report, "old").error
    assert "citewell forget shop other" in line(report, "other").error
    assert len(store.ids()) == 9 + 10 + 10 + 10
    assert len(store.run(allow_mass_delete=True).tables) == 4
    assert len(store.ids()) == 39
    change(database, "ALTER TABLE renamed RENAME TO other")
    report = store.run()
    assert (line(report, "other").error, line(report, "other").read, report.chunks_embedded) == ("", 10, 0)
    ledger, index = store.parts.ledger, store.parts.index
    assert [forget(ledger, index, "shop", name) for name in ("old", "renamed")] == [10, 10]
    with pytest.raises(SourceError, match="Nothing of 'old' is indexed"):
        forget(ledger, index, "shop", "old")
    report = store.run()
    assert (report.error, len(report.tables)) == ("", 2)
    assert store.is_a_clean_rebuild()


def test_a_table_that_is_named_and_not_there_costs_no_other(database: str, open_store: Any) -> None:
    fill(database, range(3))
    store = open_store(database, tables=("a", "missing"), exclude=("nothing",))
    report = store.run()
    assert (line(report, "a").added, "There is no table 'missing'" in line(report, "missing").error) == (3, True)
    assert any("exclude names 'nothing'" in note for note in report.notes)


def test_the_guard_is_of_each_table(database: str, open_store: Any) -> None:
    fill(database, range(100), "big")
    fill(database, range(3), "few")
    fill(database, range(2), "all_of_it")
    store = open_store(database)
    store.run()
    change(database, "DELETE FROM big WHERE id < 30", "DELETE FROM few WHERE id = 1", "DELETE FROM all_of_it")
    report = store.run()
    assert (line(report, "few").deleted, line(report, "few").error) == (1, "")
    assert "30 of its 100" in line(report, "big").error
    assert "all of its 2" in line(report, "all_of_it").error
    assert len(store.ids()) == 104
    assert store.run(allow_mass_delete=True).deleted == 32
    assert store.is_a_clean_rebuild()


def test_marked_rows_that_were_refused_are_still_marked_at_the_next_run(database: str, open_store: Any) -> None:
    """The mark of the cursor column must not move past deletions that were not made."""
    old = "2026-01-01 00:00:00"
    change(database, "CREATE TABLE a (id INTEGER PRIMARY KEY, at TIMESTAMP NULL, gone INTEGER)")
    change(database, "INSERT INTO a VALUES " + ", ".join(f"({i}, '{old}', 0)" for i in range(60)))
    store = open_store(
        database, cursors={"a": "at"}, tombstones={"a": "gone"}, patience=Patience(overlap=1, reconcile_every=3600)
    )
    store.run()
    change(database, "UPDATE a SET gone = 1, at = '2026-02-01 00:00:00' WHERE id < 30")
    change(database, "UPDATE a SET at = '2026-03-01 00:00:00' WHERE id = 40")
    with pytest.raises(MassDeleteRefused, match="30 of its 60"):
        store.run()
    assert store.run(allow_mass_delete=True).deleted == 30
    assert len(store.ids()) == 30


def test_a_table_without_a_key_may_change(database: str, open_store: Any) -> None:
    change(database, "CREATE TABLE p (name VARCHAR(20), price INTEGER)")
    change(database, "INSERT INTO p VALUES " + ", ".join(f"('p{i}', {i})" for i in range(60)))
    store = open_store(database)
    store.run()
    change(database, "UPDATE p SET price = price + 1000 WHERE price < 40")
    report = store.run()
    assert (report.added, report.deleted, report.error, len(store.ids())) == (40, 40, "", 60)
    change(database, "DELETE FROM p WHERE price >= 1000")
    with pytest.raises(MassDeleteRefused, match="40 of its 60"):
        store.run()


# Values that cannot be read.


def test_infinity_dates_before_our_era_and_broken_values_cost_nothing_else(open_store: Any) -> None:
    with server_database("postgresql") as url:
        change(
            url,
            "CREATE TABLE tariff (id int PRIMARY KEY, name text, until timestamptz, since date, more jsonb)",
            "INSERT INTO tariff VALUES (1, 'Birch', 'infinity', '0044-03-15 BC', '{}'), (2, 'Oak', '20000-01-01 00:00+00', '-infinity', NULL)",
            f"INSERT INTO tariff VALUES (3, 'Elm', NULL, NULL, '{{\"n\": {'9' * 5000}}}')",
        )
        store = open_store(url)
        report = store.run()
        assert (report.added, report.quarantined) == (3, 0)
        rows = store.rows()
        assert "Until: infinity" in rows["tariff/1"]
        assert "Since: 0044-03-15 BC" in rows["tariff/1"]
        assert "Until: 20000-01-01" in rows["tariff/2"]
        assert "tariff/3" in rows
        assert store.run().fetched == 0


def test_a_database_without_an_encoding_is_read(open_store: Any) -> None:
    with server_database("postgresql") as admin:
        name = f"{sa.make_url(admin).database}_ascii"
        _autocommit(
            admin, f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        url = sa.make_url(admin).set(database=name).render_as_string(hide_password=False)
        try:
            change(
                f"{url}?client_encoding=utf8",
                "CREATE TABLE t (id text PRIMARY KEY, v text)",
                "INSERT INTO t VALUES ('a', E'caf\\xe9'), ('b', 'plain')",
            )
            store = open_store(url)
            report = store.run()
            assert (report.added, report.quarantined, report.error) == (2, 0, "")
            assert "plain" in store.rows()["t/b"]
            assert "cannot be read: 4 bytes" in store.rows()["t/a"]
        finally:
            _autocommit(admin, f"DROP DATABASE {name} WITH (FORCE)")


def _autocommit(url: str, statement: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_text_of_sqlite_that_is_no_utf8_costs_its_value_and_may_be_a_key(open_store: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{sqlite_with(tmp_path / 'source.sqlite', 'CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT)')}"
    change(
        url, "INSERT INTO t VALUES ('a', CAST(x'ff41' AS TEXT)), (CAST(x'fe' AS TEXT), 'b'), (CAST(x'ff' AS TEXT), 'c')"
    )
    store = open_store(url)
    report = store.run()
    assert (report.added, report.quarantined) == (3, 0)
    assert store.ids() == {"t/a", "t/%bytes:fe", "t/%bytes:ff"}
    change(url, "UPDATE t SET v = 'new' WHERE k = CAST(x'ff' AS TEXT)", "DELETE FROM t WHERE k = CAST(x'fe' AS TEXT)")
    report = store.run()
    assert (report.updated, report.deleted) == (1, 1)


# An index that is older than the state.


def test_an_index_without_some_commits_is_made_good(open_store: Any, database: str) -> None:
    """Three rows of an older version, one missing and one too many, in equal numbers: counts cannot show it."""
    fill(database, range(20))
    store = open_store(database)
    store.run()
    before = _copy(store)
    change(
        database,
        "UPDATE a SET name = 'version two' WHERE id < 3",
        "DELETE FROM a WHERE id = 9",
        "INSERT INTO a VALUES (99, 'late')",
    )
    store.run()
    _put_back(store, before)
    assert "row 1" in store.rows()["a/1"]
    assert not verify(store.parts.ledger, store.parts.index, "shop").ok
    report = store.run()
    assert "4 documents are indexed again" in report.notes[0]
    assert store.run().notes == []
    assert verify(store.parts.ledger, store.parts.index, "shop").ok
    assert store.is_a_clean_rebuild()


def test_full_leaves_no_version_of_an_older_index(open_store: Any, database: str) -> None:
    fill(database, range(20))
    store = open_store(database)
    store.run()
    before = _copy(store)
    change(database, "UPDATE a SET name = 'version two' WHERE id < 3")
    store.run()
    _put_back(store, before)
    store.run(full=True)
    assert store.is_a_clean_rebuild()


def test_an_index_that_was_changed_by_hand_is_found_by_verify_and_made_good(open_store: Any, database: str) -> None:
    fill(database, range(20))
    store = open_store(database)
    store.run()
    ledger, index = store.parts.ledger, store.parts.index
    point = next(iter(index.pages("shop")))
    change(database, "UPDATE a SET name = 'x' WHERE id = 1")
    assert verify(ledger, index, "shop").ok
    index.delete(sorted(point)[:2])
    found = verify(ledger, index, "shop")
    assert (found.ok, found.documents_without_points, len(found.examples)) == (False, 2, 2)
    store.run()
    assert verify(ledger, index, "shop").ok


def test_a_re_index_finds_rows_by_the_same_words_and_is_in_step(open_store: Any, tmp_path: Path) -> None:
    """A row's title ('Invoice 5') is among the words that it is found by, whoever makes its points."""
    url = f"sqlite:///{sqlite_with(tmp_path / 'source.sqlite')}"
    fill(url, range(60), "invoice")
    store = open_store(url)
    store.run()
    before = store.setting.snapshot()
    encoders = Encoders(embedder="another", dim=DIM, sparse=Bm25Encoder().name)
    version = NewVersion(connect_embedded(store.setting.engine), store.setting.collection, encoders, Sharding())
    assert sum(version.catch_up(FreeEmbedder(), Bm25Encoder())) == 60
    assert version.counts() == (60, 60)
    version.swap(["shop"])
    after = store.setting.snapshot()
    assert {i: vectors["bm25"] for i, (_, vectors) in after.items()} == {i: v["bm25"] for i, (_, v) in before.items()}
    index = QdrantIndex(connect_embedded(store.setting.engine), alias=store.setting.collection, encoders=encoders)
    assert index.marked("shop") == store.parts.ledger.generation("shop") != ""
    assert index.count() == 60


def _copy(store: Store) -> list[Any]:
    """All points of a collection, its mark too."""
    client = connect_embedded(store.setting.engine)
    points, _ = client.scroll(store.setting.collection, limit=1000, with_payload=True, with_vectors=True)
    return list(points)


def _put_back(store: Store, points: list[Any]) -> None:
    """Put a collection back as it was, as restoring a copy of it does."""
    client, name = connect_embedded(store.setting.engine), store.setting.collection
    client.delete(name, models.PointIdsList(points=[point.id for point in _copy(store)]), wait=True)
    made = [models.PointStruct(id=p.id, payload=p.payload, vector=dict(p.vector or {})) for p in points]
    client.upsert(name, made, wait=True)


# What goes wrong on the way.


def test_a_statement_that_the_server_cancels_is_tried_again(open_store: Any) -> None:
    """As a standby cancels one that is in the way of its recovery (SQLSTATE 40001)."""
    with server_database("postgresql") as url:
        change(
            url,
            "CREATE TABLE flag (up int)",
            "CREATE FUNCTION cancelled() RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF EXISTS (SELECT 1 FROM flag) THEN "
            "RAISE 'canceling statement due to conflict with recovery' USING ERRCODE = '40001'; END IF; RETURN 1; END $$",
            "CREATE TABLE t (id int PRIMARY KEY)",
            "INSERT INTO t VALUES (1), (2)",
            "CREATE VIEW v AS SELECT id, cancelled() AS n FROM t",
            "INSERT INTO flag VALUES (1)",
        )
        failed: list[str] = []

        def clear(context: Any) -> None:
            failed.append(str(context.original_exception))
            change(url, "DELETE FROM flag")

        sa.event.listen(sa.Engine, "handle_error", clear)
        try:
            report = open_store(url, tables=("v",), keys={"v": ("id",)}).run()
        finally:
            sa.event.remove(sa.Engine, "handle_error", clear)
        assert (report.added, report.error, len(failed)) == (2, "", 1)


def test_the_heartbeat_outlives_an_error_of_the_store(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'state.sqlite'}")
    ledger = StoredLedger(database, lease_s=0.3)
    asked: list[float] = []

    def fail_once(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE citewell_leases"):
            asked.append(time.time())
            if len(asked) == 1:
                raise sqlite3.OperationalError("disk I/O error")

    with ledger.lease("shop"):
        sa.event.listen(database.engine, "before_cursor_execute", fail_once)
        wait_until(lambda: len(asked) >= 4, timeout_s=20, what="the fourth renewal")
        sa.event.remove(database.engine, "before_cursor_execute", fail_once)
        with pytest.raises(SourceBusy), ledger.lease("shop"):
            pass
    database.close()


def test_a_full_state_store_ends_the_run_with_words_and_nothing_is_lost(open_store: Any, database: str) -> None:
    fill(database, range(300))
    store = open_store(database)
    store.run()
    change(
        database,
        "UPDATE a SET name = 'a longer name than before, of which there are many'",
        "INSERT INTO a VALUES (999, 'new')",
    )
    limit = [_pages(store)]

    @sa.event.listens_for(store.database.engine, "connect")
    def bound(connection: Any, record: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {limit[0]}")

    store.database.engine.dispose()
    with pytest.raises(StateUnavailable, match=r"database or disk is full.*free space"):
        store.run(full=True)
    limit[0] = 1_000_000
    store.database.engine.dispose()
    report = store.run()
    assert (report.error, report.read) == ("", 301)
    assert store.is_a_clean_rebuild()
    assert verify(store.parts.ledger, store.parts.index, "shop").ok


def _pages(store: Store) -> int:
    with store.database.engine.connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar() or 0)


def test_a_guest_leaves_no_setting_behind(open_store: Any) -> None:
    """Behind a transaction pooler the session is an application's a moment later."""
    with server_database("postgresql") as url:
        change(url, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
            connection.commit()
            raw: Any = connection.connection.dbapi_connection
            with raw.cursor() as cursor:
                for name, value in (
                    ("default_transaction_read_only", "off"),
                    ("lock_timeout", "0"),
                    ("TimeZone", "Etc/UTC"),
                ):
                    assert cursor.execute(f"SHOW {name}").fetchone() == (value,)
                cursor.execute("INSERT INTO t VALUES (2)")
            raw.commit()
        engine.dispose()

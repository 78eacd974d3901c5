"""What a database's schema says, over SQLite in memory and with an inspector's answers."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from connectors.sql.schema import Chosen, Relations, Table, choose_tables, read_relations, read_table
from rag.errors import SourceError
from tests.support.tables import sqlite


def table(*statements: str, name: str = "t", key: tuple[str, ...] = (), relations: Relations = Relations()) -> Table:
    with sqlite(*statements) as db:
        return read_table(sa.inspect(db), name, None, key, relations)


def test_a_table_is_told_apart_by_its_primary_key() -> None:
    found = table("CREATE TABLE t (b INT NOT NULL, a INT NOT NULL, note TEXT, PRIMARY KEY (a, b))")
    assert found.key == ("a", "b")
    assert list(found.columns) == ["b", "a", "note"]
    assert not found.nullable_key


def test_without_one_the_shortest_unique_key_without_nulls_is_taken() -> None:
    found = table(
        "CREATE TABLE t (a INT NOT NULL, b INT NOT NULL, c INT NOT NULL, d INT, UNIQUE (a, b), UNIQUE (c), UNIQUE (d))"
    )
    assert found.key == ("c",)


def test_a_unique_index_is_a_key_unless_it_leaves_rows_out() -> None:
    make = "CREATE TABLE t (a INT NOT NULL, b INT NOT NULL)"
    assert table(make, "CREATE UNIQUE INDEX i ON t (b)").key == ("b",)
    assert table(make, "CREATE INDEX i ON t (b)").key == ()
    assert table(make, "CREATE UNIQUE INDEX i ON t (b) WHERE a > 0").key == ()


def test_a_configured_key_goes_before_all_others_and_may_hold_nulls() -> None:
    found = table("CREATE TABLE t (a INT PRIMARY KEY NOT NULL, b INT)", key=("b",))
    assert (found.key, found.nullable_key) == (("b",), True)


def test_a_configured_key_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(SourceError, match=r"no column 'c'.*Its columns: a, b"):
        table("CREATE TABLE t (a INT, b INT)", key=("c",))


def test_a_view_has_no_key() -> None:
    found = table("CREATE TABLE x (a INT PRIMARY KEY)", "CREATE VIEW t AS SELECT a FROM x")
    assert (found.key, found.comment) == ((), "")


def test_a_reference_is_named_by_the_label_of_its_row() -> None:
    found = table(
        "CREATE TABLE artist (id INTEGER PRIMARY KEY, name VARCHAR(100), bio VARCHAR(9000))",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, artist_id INT REFERENCES artist)",
    )
    (reference,) = found.references
    assert (reference.columns, reference.table, reference.referenced) == (("artist_id",), "artist", ("id",))
    assert reference.labels == ("name",)
    assert reference.long == frozenset({"bio"})


def test_a_reference_may_point_at_another_key_and_be_named_by_a_short_text() -> None:
    found = table(
        "CREATE TABLE store (id INTEGER PRIMARY KEY, number INT UNIQUE, town VARCHAR(50), size INT)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, store INT REFERENCES store (number))",
    )
    (reference,) = found.references
    assert (reference.referenced, reference.labels) == (("number",), ("town",))


def test_a_reference_to_a_table_that_others_inherit_from_means_it_alone() -> None:
    make = ["CREATE TABLE a (id INTEGER PRIMARY KEY)", "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT REFERENCES a)"]
    assert table(*make, relations=Relations(inherited=frozenset({"a"}))).references[0].only
    assert not table(*make, relations=Relations(inherited=frozenset({"t"}))).references[0].only


def test_a_long_text_names_no_row() -> None:
    assert table("CREATE TABLE t (id INTEGER PRIMARY KEY, body VARCHAR(9000))").labels == ()
    assert table("CREATE TABLE t (id INTEGER PRIMARY KEY, body VARCHAR(100))").labels == ("body",)


def test_tables_that_others_inherit_from_are_read_alone() -> None:
    make = "CREATE TABLE t (id INTEGER PRIMARY KEY)"
    assert table(make, relations=Relations(inherited=frozenset({"t"}))).only
    assert not table(make).only


class Inspector:
    """An inspector of three tables and a view."""

    def get_table_names(self, schema: str | None) -> list[str]:
        return ["b", "a", "part"]

    def get_view_names(self, schema: str | None) -> list[str]:
        return ["v"]

    def get_materialized_view_names(self, schema: str | None) -> list[str]:
        raise NotImplementedError


PARTS = Relations(partitions={"part": "a"})


def chosen(wanted: Any = (), exclude: Any = (), relations: Relations = Relations()) -> Any:
    inspector: Any = Inspector()
    return choose_tables(inspector, None, wanted, exclude, relations)


def test_all_tables_are_read_and_views_only_when_they_are_named() -> None:
    assert chosen().names == ("a", "b", "part")
    assert chosen(["v", "a"]).names == ("v", "a")
    assert chosen(exclude=["a"]).names == ("b", "part")


def test_a_partition_is_read_through_its_table_and_by_itself_only_without_that() -> None:
    assert chosen(relations=PARTS).names == ("a", "b")
    assert chosen(["part"], relations=PARTS).names == ("part",)
    assert chosen(["part", "a"], relations=PARTS).names == ("a",)


def test_tables_that_are_not_there_are_told_with_those_that_are() -> None:
    found = chosen(["a", "x"], exclude=["y"])
    assert found.missing == ("x", "y")
    assert found.no_table("x", None) == "There is no table 'x'. Tables there: a, b, part, v."
    assert "in schema 's'" in found.no_table("x", "s")
    assert Chosen(names=(), missing=(), known=()).no_table("x", None).endswith("Tables there: none.")


class Postgres:
    """A connection to PostgreSQL, which gives its catalogue."""

    dialect = type("dialect", (), {"name": "postgresql"})

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows

    def execute(self, statement: Any, values: Any) -> "Postgres":
        return self

    def all(self) -> list[tuple[Any, ...]]:
        return self._rows

    def commit(self) -> None:
        pass


def test_a_partition_of_a_partition_is_a_part_of_the_first() -> None:
    rows = [
        ("whole", "p", False, True, None), ("part", "p", True, True, "whole"), ("leaf", "r", True, False, "part"),
        ("animal", "r", False, True, None), ("dog", "r", False, False, "animal"), ("stray", "r", True, False, None),
    ]  # fmt: skip
    connection: Any = Postgres(rows)
    found = read_relations(connection, None)
    assert found.partitions == {"part": "whole", "leaf": "whole"}
    assert found.inherited == frozenset({"animal"})


def test_other_databases_have_no_relations() -> None:
    with sqlite() as db:
        assert read_relations(db, None) == Relations()


class MySql(Inspector):
    """A table of MySQL with a comment and columns of each kind that may name a row."""

    def get_columns(self, name: str, schema: str | None) -> list[dict[str, Any]]:
        kinds = {
            "id": sa.Integer(),
            "note": mysql.TEXT(),
            "size": sa.Enum("s", "m"),
            "body": sa.String(256),
            "price": sa.Float(),
        }
        return [
            {"name": n, "type": k, "nullable": False, "comment": f"of {n}" if n == "note" else None}
            for n, k in kinds.items()
        ]

    def get_pk_constraint(self, name: str, schema: str | None) -> Any:
        return {"constrained_columns": ["id"]}

    def get_table_comment(self, name: str, schema: str | None) -> Any:
        return {"text": "all of it" if name == "t" else None}

    def get_foreign_keys(self, name: str, schema: str | None) -> Any:
        return []


def test_comments_are_read_and_mysql_s_texts_name_no_row() -> None:
    inspector: Any = MySql()
    found = read_table(inspector, "t", None, ())
    assert found.comment == "all of it"
    assert found.column_comments["note"] == "of note"
    assert found.column_comments["id"] == ""
    assert found.labels == ("size",)
    assert read_table(inspector, "other", None, ()).comment == ""

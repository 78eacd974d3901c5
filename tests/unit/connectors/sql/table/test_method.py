"""How a table's changes are found."""

from typing import Any

import pytest
import sqlalchemy as sa

from connectors.sql.table.method import Method, choose_method
from tests.support.tables import a_table, sqlite

MOVING = {"id": sa.Integer(), "Updated_At": sa.DateTime(), "body": sa.Text()}


class Server:
    """A connection to a database of a kind, which says whether it keeps a column."""

    def __init__(self, kind: str, *, keeps: bool = False) -> None:
        self.dialect = type("dialect", (), {"name": kind})
        self._keeps = keeps
        self.asked: list[tuple[str, Any]] = []

    def execute(self, statement: Any, values: Any) -> Any:
        self.asked.append((str(statement), values))
        return type("result", (), {"scalar_one": lambda _: int(self._keeps)})()

    def commit(self) -> None:
        pass


def method_of(connection: Any, *about: Any) -> Method:
    return choose_method(connection, *about)


def test_a_column_that_the_configuration_names_is_taken() -> None:
    method = method_of(Server("postgresql"), a_table(MOVING), "body")
    assert (method.name, method.column) == ("cursor", "body")


@pytest.mark.parametrize(
    ("kind", "where"), [("postgresql", "pg_trigger"), ("mysql", "on update"), ("mariadb", "on update")]
)
def test_a_column_that_the_database_keeps_is_taken(kind: str, where: str) -> None:
    server = Server(kind, keeps=True)
    method = method_of(server, a_table(MOVING), "")
    assert (method.name, method.column) == ("cursor", "Updated_At")
    assert where in server.asked[0][0]
    assert server.asked[0][1] == {"name": "t", "schema": None, "column": "Updated_At"}


def test_a_column_that_is_only_called_so_is_doubted_and_the_way_out_is_told() -> None:
    method = method_of(Server("postgresql"), a_table(MOVING), "")
    assert method.name == "ranges"
    assert 'cursors = { t = "Updated_At" }' in method.why


@pytest.mark.parametrize(
    "columns", [{"id": sa.Integer(), "updated_at": sa.Text()}, {"id": sa.Integer(), "at": sa.DateTime()}]
)
def test_other_columns_are_not_asked_about(columns: Any) -> None:
    server = Server("postgresql", keeps=True)
    assert method_of(server, a_table(columns), "").name == "ranges"
    assert server.asked == []


def test_a_table_without_such_a_column_leaves_no_doubt() -> None:
    assert method_of(Server("mysql"), a_table(), "") == Method(name="ranges", why="the database can hash its rows")


def test_a_database_without_hashes_is_scanned_whatever_its_columns_are_called() -> None:
    with sqlite() as db:
        assert method_of(db, a_table(), "") == Method(name="scan", why="sqlite has no hash function")
        method = method_of(db, a_table(MOVING), "")
    assert method.name == "scan"
    assert "Updated_At" in method.why


def test_a_method_is_noted_by_its_names() -> None:
    assert Method(name="cursor", column="at", why="x").as_dict() == {"method": "cursor", "column": "at", "why": "x"}

"""Connections: engines from URLs, what they set, and what errors say. No server is asked."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from connectors.sql import connection as module
from connectors.sql.connection import (
    create_engine,
    database_name,
    error_code,
    explained,
    has_no_rights,
    rooted,
    shown,
    with_password,
)
from connectors.sql.limits import Limits
from rag.errors import SourceError
from tests.support.tables import sqlite_file

UNSET = Limits(statement_timeout=0, lock_timeout=0)


def test_a_url_is_shown_without_its_credentials() -> None:
    assert "secret" not in shown("postgresql://ada:secret@db/shop")


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://db/shop", "postgresql+psycopg"),
        ("postgres://db/shop", "postgresql+psycopg"),
        ("mysql://db/shop", "mysql+pymysql"),
        ("mariadb://db/shop", "mariadb+pymysql"),
    ],
)
def test_a_url_without_a_driver_has_that_of_our_extras(url: str, driver: str) -> None:
    assert create_engine(url).url.drivername == driver


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("shop.db", "is not a database URL"),
        ("oracle9://db/shop", "does not support 'oracle9'"),
        ("mssql+pyodbc://db/shop", "no module 'pyodbc'.*pip install pyodbc"),
        ("postgresql+asyncpg://db/shop", r"pip install 'psycopg"),
        ("sqlite:///nowhere/shop.db", "There is no SQLite database at /"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_to_do(url: str, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        create_engine(url)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:shop?mode=memory&uri=true"])
def test_a_database_in_memory_needs_no_file(url: str) -> None:
    assert create_engine(url).dialect.name == "sqlite"


def reads_for(limits: Limits) -> Any:
    """Seconds that an engine for MySQL waits for an answer."""
    engine = create_engine("mysql://db/shop", limits)
    taken: dict[str, Any] = {}

    def connect(*_: Any, **options: Any) -> Any:
        taken.update(options)
        raise OSError("no server is asked")

    sa.event.listen(engine, "do_connect", lambda dialect, record, args, options: connect(**options))
    with pytest.raises(OSError, match="no server"):
        engine.connect()
    return taken["read_timeout"]


def test_an_answer_is_waited_for_as_long_as_a_statement_may_take_and_a_while() -> None:
    assert reads_for(Limits(statement_timeout=900)) == 960
    assert reads_for(Limits(statement_timeout=60)) == 600
    assert reads_for(UNSET) is None


class Cursor:
    """A cursor of a driver, which notes what it is asked."""

    def __init__(self, asked: list[str]) -> None:
        self._asked = asked

    def execute(self, statement: str) -> None:
        self._asked.append(statement)

    def close(self) -> None:
        pass

    def __enter__(self) -> "Cursor":
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class Driver:
    """A connection of MySQL's driver."""

    def __init__(self, version: str) -> None:
        self._version = version
        self.asked: list[str] = []

    def get_server_info(self) -> str:
        return self._version

    def cursor(self) -> Cursor:
        return Cursor(self.asked)


def settings_of(version: str, limits: Limits) -> list[str]:
    driver = Driver(version)
    module._prepare_mysql(driver, limits)
    return driver.asked


def test_mysql_counts_milliseconds_and_mariadb_seconds() -> None:
    limits = Limits(statement_timeout=1.5, lock_timeout=0.2)
    assert settings_of("8.4.0", limits) == [
        "SET SESSION max_execution_time = 1500",
        "SET SESSION lock_wait_timeout = 1",
    ]
    assert settings_of("11.4.2-MariaDB", limits)[0] == "SET SESSION max_statement_time = 1.5"


def test_what_is_not_limited_is_left_to_the_server() -> None:
    assert settings_of("8.4.0", UNSET) == []


def beginning_of(limits: Limits) -> str:
    """What an engine for PostgreSQL says first in a transaction."""
    engine = create_engine("postgresql://db/shop", limits)
    asked: list[str] = []
    connection = type("connection", (), {"connection": type("dbapi", (), {"cursor": lambda _: Cursor(asked)})()})()
    for listener in engine.dispatch.begin:
        listener(connection)
    return asked[0]


def test_postgres_is_read_only_and_has_its_limits_in_milliseconds() -> None:
    text = beginning_of(Limits(statement_timeout=1.5, lock_timeout=2))
    assert text.startswith("SET TRANSACTION READ ONLY; ")
    assert "SET LOCAL statement_timeout = 1500; SET LOCAL lock_timeout = 2000" in text
    assert "_timeout" not in beginning_of(UNSET)


def test_a_sqlite_file_cannot_be_written_and_text_that_is_not_utf8_is_kept_as_bytes(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "a.sqlite", "CREATE TABLE t (a TEXT)", "INSERT INTO t VALUES (CAST(x'ff' AS TEXT))")
    with create_engine(f"sqlite:///{path}").connect() as connection:
        assert connection.exec_driver_sql("SELECT a FROM t").scalar_one() == "\udcff"
        with pytest.raises(sa.exc.OperationalError, match="readonly"):
            connection.exec_driver_sql("DELETE FROM t")


class PostgresError(Exception):
    def __init__(self, state: str, text: str = "failed") -> None:
        super().__init__(text)
        self.sqlstate = state


def of(cause: Exception, kind: type[sa.exc.DBAPIError] = sa.exc.OperationalError) -> sa.exc.DBAPIError:
    return kind("SELECT", {}, cause)


def test_an_error_s_code_is_the_server_s_own() -> None:
    assert error_code(of(PostgresError("42501"))) == "42501"
    assert error_code(of(Exception(1142, "denied"))) == 1142
    assert error_code(of(Exception("lost"))) is None
    assert error_code(ValueError("x")) is None


def test_the_code_is_found_behind_an_error_of_sqlalchemy_s_own() -> None:
    outer = sa.exc.InvalidRequestError("wrapped")
    outer.__cause__ = of(PostgresError("57014"))
    assert error_code(outer) == "57014"
    hidden = sa.exc.InvalidRequestError("wrapped")
    hidden.__context__ = of(PostgresError("57014"))
    assert error_code(hidden) == "57014"


def test_a_user_without_rights_is_known_by_the_code() -> None:
    assert has_no_rights(of(PostgresError("42501")))
    assert not has_no_rights(of(PostgresError("57014")))


def remedy(err: BaseException) -> str:
    with pytest.raises(SourceError) as told, explained("postgresql://ada:secret@db/shop"):
        raise err
    assert "secret" not in str(told.value)
    return str(told.value).split("\n")[1]


@pytest.mark.parametrize(
    ("err", "told"),
    [
        (of(PostgresError("42501")), "GRANT SELECT"),
        (of(PostgresError("57014")), "statement_timeout"),
        (of(Exception(1205, "locked")), "lock_timeout"),
        (of(Exception("password authentication failed")), "user and the password"),
        (of(Exception("Access denied for ada")), "user and the password"),
        (of(Exception("no authentication method")), "user and the password"),
        (of(Exception("relation does not exist")), "tables' names"),
        (of(Exception("unknown database shop")), "tables' names"),
        (of(Exception("file is not a database")), "not an SQLite database"),
        (of(Exception("database is locked")), "Another program"),
        (of(PostgresError("XX001")), "is unchanged"),
        (of(PostgresError("08006")), "server runs"),
        (of(PostgresError("57P01")), "server runs"),
        (of(Exception("strange"), sa.exc.ProgrammingError), "is unchanged"),
        (of(Exception("strange"), sa.exc.DataError), "is unchanged"),
        (of(Exception("connection refused")), "server runs"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "is unchanged"),
    ],
)
def test_an_error_names_what_helps(err: BaseException, told: str) -> None:
    assert told in remedy(err)


def test_the_reason_is_the_driver_s_without_the_statement() -> None:
    with pytest.raises(SourceError) as told, explained("sqlite://"):
        raise of(Exception("no such table: x"))
    assert "failed: no such table: x\n" in str(told.value)
    with pytest.raises(SourceError, match="codec can't decode"), explained("sqlite://"):
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")


def test_an_error_that_is_no_database_s_is_not_explained() -> None:
    with pytest.raises(KeyError), explained("sqlite://"):
        raise KeyError("x")


def test_a_password_beside_the_url_is_put_into_it() -> None:
    assert with_password("postgresql://ada@db/shop", "p@ss") == "postgresql://ada:p%40ss@db/shop"
    assert with_password("postgresql://ada@db/shop", "") == "postgresql://ada@db/shop"
    assert with_password("no url", "secret") == "no url"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("sqlite:///shop.db", "sqlite:////srv/shop/shop.db"),
        ("sqlite:///../shop.db", "sqlite:////srv/shop.db"),
        ("sqlite:////tmp/shop.db", "sqlite:////tmp/shop.db"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite:///file:shop?uri=true", "sqlite:///file:shop?uri=true"),
        ("postgresql://ada:secret@db/shop", "postgresql://ada:secret@db/shop"),
        ("no url", "no url"),
    ],
)
def test_a_sqlite_file_is_found_from_the_configuration_s_folder(url: str, found: str) -> None:
    assert rooted(url, Path("/srv/shop")) == found


def test_a_database_has_a_name() -> None:
    assert database_name("postgresql://db/shop") == "shop"
    assert database_name("sqlite:///data/shop.sqlite") == "shop"
    assert database_name("sqlite://") == database_name("no url") == ""

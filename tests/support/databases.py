"""Databases to read: SQLite files, and databases of their own on the servers that run."""

import os
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa

SERVERS = {
    "postgresql": (
        os.environ.get("TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
        "start it with `pg_ctlcluster 15 main start`, or set TEST_POSTGRES_URL to a URL",
    ),
    "mariadb": (
        os.environ.get("TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
        "start it with `service mariadb start`, or set TEST_MYSQL_URL to a URL",
    ),
}


def change(url: str, *statements: str) -> None:
    """Run statements in one transaction of a database."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    engine.dispose()


def sqlite_with(path: Path, *statements: str) -> Path:
    """A SQLite database made, or changed, by statements."""
    change(f"sqlite:///{path}", *statements)
    return path


class server_database:
    """A database of its own on a running server; skips the test, saying how to start one, when there is none."""

    def __init__(self, kind: str) -> None:
        self._url, self._hint = SERVERS[kind]
        self._kind = kind
        self._name = f"citewell_{uuid.uuid4().hex[:12]}"

    def __enter__(self) -> str:
        options = {"isolation_level": "AUTOCOMMIT"} if self._kind == "postgresql" else {}
        self._admin = sa.create_engine(self._url, poolclass=sa.NullPool, **options)
        try:
            with self._admin.connect() as connection:
                charset = "" if self._kind == "postgresql" else " CHARACTER SET utf8mb4"
                connection.exec_driver_sql(f"CREATE DATABASE {self._name}{charset}")
        except sa.exc.OperationalError:
            message = f"{self._kind} does not run: {self._hint}"
            if os.environ.get("REQUIRE_TEST_SERVERS"):
                pytest.fail(message)
            pytest.skip(message)
        return sa.make_url(self._url).set(database=self._name).render_as_string(hide_password=False)

    def __exit__(self, *exc: object) -> None:
        force = " WITH (FORCE)" if self._kind == "postgresql" else ""
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {self._name}{force}")
        self._admin.dispose()

"""Connections to databases: engines from URLs, read-only sessions, and errors that name the way out."""

import os
import re
from typing import Any

import sqlalchemy as sa

from rag.errors import SourceError

_EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}
_CONNECT_ARGS: dict[str, dict[str, Any]] = {
    # A server that is gone without a word is noticed, not waited for.
    "psycopg": {
        "connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    },
    "pymysql": {"connect_timeout": 10, "read_timeout": 600, "write_timeout": 60, "charset": "utf8mb4"},
}  # fmt: skip
_LOCK_WAIT_S = 60  # no waiting for ever on somebody's ALTER TABLE
# Read-only, and values written the same way whatever the server, database or role has set. For the transaction alone:
# behind a pooler the session is somebody else's a moment later.
_POSTGRES_BEGIN = (
    f"SET TRANSACTION READ ONLY; SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'; SET LOCAL TimeZone = 'UTC'; "
    "SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL extra_float_digits = 1; "
    "SET LOCAL bytea_output = 'hex'"
)


def masked(url: str) -> str:
    """A database URL without its password, and without any other credential in its query."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        return re.sub(r"//[^@/]*@", "//***@", url)
    hidden = {k: "***" if re.search(r"pass|pwd|token|secret|key", k, re.I) else v for k, v in parsed.query.items()}
    return parsed.set(query=hidden).render_as_string(hide_password=True)


def create_engine(url: str) -> sa.Engine:
    """An engine for a URL. Raises SourceError for a bad URL, a missing driver, or a missing SQLite file."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as err:
        raise SourceError(
            f"{masked(url)!r} is not a database URL. One looks like postgresql://user:password@host:5432/name."
        ) from err
    parsed = _with_driver(parsed)
    if parsed.get_backend_name() == "sqlite":
        _require_sqlite_file(parsed)
    try:
        driver = parsed.get_driver_name()
        engine = sa.create_engine(parsed, poolclass=sa.NullPool, connect_args=_CONNECT_ARGS.get(driver, {}))
        _make_guest(engine)
        return engine
    except sa.exc.NoSuchModuleError as err:
        raise SourceError(
            f"SQLAlchemy knows no database {parsed.drivername!r}: {err}. Check the part before :// in {masked(url)}."
        ) from err
    except ModuleNotFoundError as err:
        extra = _EXTRAS.get(parsed.get_backend_name())
        command = f"pip install 'citewell[{extra}]'" if extra else f"pip install {err.name}"
        raise SourceError(
            f"The driver for {parsed.drivername} is not installed (no module {err.name!r}): {command}"
        ) from err


def _with_driver(url: sa.URL) -> sa.URL:
    """The drivers of our extras, for a URL that names none."""
    drivers = {
        "postgresql": "postgresql+psycopg",
        "postgres": "postgresql+psycopg",
        "mysql": "mysql+pymysql",
        "mariadb": "mariadb+pymysql",
    }
    return url.set(drivername=drivers.get(url.drivername, url.drivername))


def _require_sqlite_file(url: sa.URL) -> None:
    """SQLite would make an empty database of a mistyped path."""
    database = url.database
    if not database or database == ":memory:" or database.startswith("file:"):
        return
    if not os.path.isfile(database):
        raise SourceError(f"There is no SQLite database at {os.path.abspath(database)}.")


def _make_guest(engine: sa.Engine) -> None:
    """Have every transaction of an engine read only, and every value decoded that can be."""
    match engine.dialect.name:
        case "sqlite":
            sa.event.listen(engine, "connect", _prepare_sqlite)
        case "postgresql":
            sa.event.listen(engine, "begin", lambda connection: _execute(connection, _POSTGRES_BEGIN))
            if engine.dialect.driver == "psycopg":
                from connectors.sql_psycopg import load_everything

                sa.event.listen(engine, "connect", load_everything, insert=True)  # before SQLAlchemy's own first words
        case "mysql" | "mariadb":
            sa.event.listen(engine, "connect", _prepare_mysql)
            sa.event.listen(engine, "begin", lambda c: _execute(c, "START TRANSACTION READ ONLY"))


def _execute(connection: sa.Connection, statement: str) -> None:
    """By a cursor of the driver's: SQLAlchemy would stream the statement where the connection streams."""
    cursor = connection.connection.cursor()
    cursor.execute(statement)
    cursor.close()


def _prepare_sqlite(connection: Any, record: object) -> None:
    """Read-only; and text that is not UTF-8 costs its value, not the row (connectors/rows.py)."""
    connection.execute("PRAGMA query_only = ON")
    connection.text_factory = lambda stored: stored.decode("utf-8", "surrogateescape")


def _prepare_mysql(connection: Any, record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION lock_wait_timeout = {_LOCK_WAIT_S}")


class explained:
    """Turns a driver's error into a SourceError that names the database and not the password."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, sa.exc.SQLAlchemyError | UnicodeDecodeError):
            cause = getattr(err, "orig", None) or err
            reason = " ".join(str(cause).split())[:400]
            password = sa.make_url(self._url).password
            if password:
                reason = reason.replace(str(password), "***")
            raise SourceError(f"The database {masked(self._url)} failed: {reason}\n{_remedy(reason)}") from err


def _remedy(reason: str) -> str:
    lowered = reason.lower()
    if "password" in lowered or "access denied" in lowered or "authentication" in lowered:
        return "Check the user and the password in the source's url."
    if "does not exist" in lowered or "unknown database" in lowered:
        return "Check the database's and the tables' names in the source."
    if "not a database" in lowered:
        return "The file is not an SQLite database."
    return "Check that the server runs and that the source's url has the right host and port."

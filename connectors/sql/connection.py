"""Connections to databases: engines from URLs, read-only sessions, and errors that name the way out."""

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from connectors.sql.limits import Limits
from rag.boundary.extras import install_command
from rag.boundary.secrets import masked, remember
from rag.boundary.urls import credentials_in, without_credentials
from rag.errors import SourceError

_EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}
_CONNECT_ARGS: dict[str, dict[str, Any]] = {
    # A server that is gone without a word is noticed, not waited for.
    "psycopg": {
        "connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
        "prepare_threshold": None,  # a pooler of transactions would look for the statement in another session
    },
    "pymysql": {"connect_timeout": 10, "read_timeout": 600, "write_timeout": 60, "charset": "utf8mb4"},
}  # fmt: skip
_NO_RIGHTS = ("42501", 1044, 1142, 1143, 1227)
_REMEDIES: dict[str, tuple[str | int, ...]] = {
    "Let the source's user read it (GRANT SELECT), or leave the table out with exclude.": _NO_RIGHTS,
    "A statement took longer than statement_timeout or the server's own limit allows, or somebody cancelled it. Raise "
    "statement_timeout in the source, or sync when the server is less busy.": ("57014", 1969, 3024),
    "Another session holds a lock on the table. The next run tries again; lock_timeout sets how long a run waits.": (
        "55P03", 1205,
    ),
    "The server has no free connection. Reading a source takes one, and checking it takes one more.": (
        "53300", 1040, 1203, 1226,
    ),
    "The server has run out of disk space or memory.": ("53100", "53200", 1021, 1041, 3675),
    "Check the user and the password in the source's url.": ("28P01", "28000", 1045, 1698),
    "Check the database's name in the source's url.": ("3D000", 1049),
    "Check the names of tables and columns in the source. One that was just renamed is right in the next run.": (
        "42P01", "42703", "3F000", 1146, 1054,
    ),
    "Check the query or view that causes this.": ("42601", "42883", "22012", "22P02", 1064, 1365, 1356),
}  # fmt: skip
_BY_CODE = {code: remedy for remedy, codes in _REMEDIES.items() for code in codes}
# Read-only, and values written the same way whatever the server, database or role has set. For the transaction alone:
# behind a pooler the session is somebody else's a moment later.
_POSTGRES_BEGIN = (
    "SET TRANSACTION READ ONLY; SET LOCAL TimeZone = 'UTC'; "
    "SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL extra_float_digits = 1; "
    "SET LOCAL bytea_output = 'hex'"
)


def shown(url: str) -> str:
    """A database URL without its credentials."""
    return masked(without_credentials(url))


def with_password(url: str, password: str) -> str:
    """A URL with a password that is configured beside it; as it is where it cannot be read, which is told in use."""
    try:
        return sa.make_url(url).set(password=password).render_as_string(hide_password=False) if password else url
    except sa.exc.ArgumentError:
        return url


def rooted(url: str, root: Path) -> str:
    """A SQLite URL with its path made absolute, from a folder; other URLs as they are."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        return url
    database = parsed.database or ""
    if parsed.get_backend_name() != "sqlite" or database in ("", ":memory:") or database.startswith("file:"):
        return url
    path = os.path.normpath(root / Path(database).expanduser())
    return parsed.set(database=path).render_as_string(hide_password=False)


def database_name(url: str) -> str:
    """The name of a URL's database, without a file's ending; empty where there is none."""
    try:
        return Path(sa.make_url(url).database or "").stem
    except sa.exc.ArgumentError:
        return ""


def create_engine(url: str, limits: Limits = Limits()) -> sa.Engine:
    """An engine for a URL. Raises SourceError for a bad URL, a missing driver, or a missing SQLite file."""
    remember(credentials_in(url))
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as err:
        raise SourceError(
            f"{shown(url)!r} is not a database URL. One looks like postgresql://user:password@host:5432/name."
        ) from err
    parsed = _with_driver(parsed)
    if parsed.get_backend_name() == "sqlite":
        _require_sqlite_file(parsed)
    try:
        driver = parsed.get_driver_name()
        arguments = dict(_CONNECT_ARGS.get(driver, {}))
        if "read_timeout" in arguments:
            longest = max(arguments["read_timeout"], limits.statement_timeout + 60)
            arguments["read_timeout"] = longest if limits.statement_timeout else None
        engine = sa.create_engine(parsed, poolclass=sa.NullPool, connect_args=arguments, hide_parameters=True)
        _make_guest(engine, limits)
        return engine
    except sa.exc.NoSuchModuleError as err:
        raise SourceError(
            f"SQLAlchemy does not support {parsed.drivername!r}: {err}. Check the part before :// in {shown(url)}."
        ) from err
    except ModuleNotFoundError as err:
        extra = _EXTRAS.get(parsed.get_backend_name())
        command = install_command(extra) if extra else f"pip install {err.name}"
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


def _make_guest(engine: sa.Engine, limits: Limits) -> None:
    """Have every transaction of an engine read only, and every value decoded that can be."""
    match engine.dialect.name:
        case "sqlite":
            sa.event.listen(engine, "connect", _prepare_sqlite)
        case "postgresql":
            times = {"statement_timeout": limits.statement_timeout, "lock_timeout": limits.lock_timeout}
            set_times = "".join(f"; SET LOCAL {name} = {round(1000 * s)}" for name, s in times.items() if s)
            sa.event.listen(engine, "begin", lambda connection: _execute(connection, _POSTGRES_BEGIN + set_times))
            if engine.dialect.driver == "psycopg":
                from connectors.sql.postgresql import load_everything

                sa.event.listen(engine, "connect", load_everything, insert=True)  # before SQLAlchemy's own first words
        case "mysql" | "mariadb":
            sa.event.listen(engine, "connect", lambda connection, _: _prepare_mysql(connection, limits))
            sa.event.listen(engine, "begin", lambda c: _execute(c, "START TRANSACTION READ ONLY"))


def _execute(connection: sa.Connection, statement: str) -> None:
    """By a cursor of the driver's: SQLAlchemy would stream the statement where the connection streams."""
    cursor = connection.connection.cursor()
    cursor.execute(statement)
    cursor.close()


def _prepare_sqlite(connection: Any, record: object) -> None:
    """Read-only; and text that is not UTF-8 costs its value, not the row (connectors/sql/rows.py)."""
    connection.execute("PRAGMA query_only = ON")
    connection.text_factory = lambda stored: stored.decode("utf-8", "surrogateescape")


def _prepare_mysql(connection: Any, limits: Limits) -> None:
    """MySQL knows no setting of a transaction alone: these are of our own connection, which ends with the read."""
    is_mariadb = "mariadb" in connection.get_server_info().lower()
    statement = "max_statement_time" if is_mariadb else "max_execution_time"
    times = {
        statement: limits.statement_timeout if is_mariadb else round(1000 * limits.statement_timeout),
        "lock_wait_timeout": max(round(limits.lock_timeout), 1) if limits.lock_timeout else 0,
    }
    with connection.cursor() as cursor:
        for name, value in times.items():
            if value:
                cursor.execute(f"SET SESSION {name} = {value}")


def has_no_rights(err: sa.exc.DBAPIError) -> bool:
    """Whether the database said that the user may not do this."""
    return error_code(err) in _NO_RIGHTS


def error_code(err: BaseException) -> str | int | None:
    """PostgreSQL's SQLSTATE, or MySQL's number, of an error. SQLAlchemy puts an error of its own before some."""
    cause = getattr(err, "orig", None) or getattr(err.__cause__ or err.__context__, "orig", None)
    first = next(iter(getattr(cause, "args", ())), None)
    state = getattr(cause, "sqlstate", None)
    return first if isinstance(first, int) else state if isinstance(state, str) else None


class explained:
    """Turns a driver's error into a SourceError that names the database and not the password."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, sa.exc.SQLAlchemyError | UnicodeDecodeError):
            cause = getattr(err, "orig", None) or err
            reason = masked(" ".join(str(cause).split()))[:400]
            raise SourceError(f"The database {shown(self._url)} failed: {reason}\n{_remedy(err, reason)}") from err


def _remedy(err: BaseException, reason: str) -> str:
    code, lowered = error_code(err), reason.lower()
    if code in _BY_CODE:
        return _BY_CODE[code]
    if "password" in lowered or "access denied" in lowered or "authentication" in lowered:
        return "Check the user and the password in the source's url."
    if "does not exist" in lowered or "unknown database" in lowered:
        return "Check the database's and the tables' names in the source."
    if "not a database" in lowered:
        return "The file is not an SQLite database."
    if "locked" in lowered:
        return "Another program is writing to the file. The next run tries again."
    was_reached = isinstance(code, str) and len(code) == 5 and code[:2] not in ("08", "57")
    if was_reached or isinstance(err, UnicodeDecodeError | sa.exc.ProgrammingError | sa.exc.DataError):
        return "What is indexed from it is unchanged; the next run tries again."
    return "Check that the server runs and that the source's url has the right host and port."

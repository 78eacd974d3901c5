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
# Read-only, and no waiting for ever on somebody's ALTER TABLE.
_SESSION = {
    "sqlite": ("PRAGMA query_only = ON",),
    "postgresql": ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET SESSION lock_timeout = '60s'"),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION lock_wait_timeout = 60"),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION lock_wait_timeout = 60"),
}


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
        return sa.create_engine(parsed, poolclass=sa.NullPool, connect_args=_CONNECT_ARGS.get(driver, {}))
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


def start_read_only(connection: sa.Connection) -> None:
    for statement in _SESSION.get(connection.dialect.name, ()):
        connection.execute(sa.text(statement))
        connection.commit()


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

"""The state store's database: SQLite or PostgreSQL, through SQLAlchemy Core."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from rag.errors import ConfigError, StateUnavailable
from service.store.schema import migrate


class Database:
    """Open with `Database.open(url)`; safe to share between threads. What fails raises StateUnavailable."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._reader = engine.execution_options(reads=True)

    @classmethod
    def open(cls, url: str) -> "Database":
        """Open a state store and create or migrate its tables. Raises ConfigError when it cannot be, or is newer."""
        options = {"timeout": 30} if url.startswith("sqlite") else {}
        engine = sa.create_engine(url, connect_args=options, hide_parameters=True)  # they hold what people asked
        if engine.dialect.name == "sqlite":
            Path(engine.url.database or ".").parent.mkdir(parents=True, exist_ok=True)
            sa.event.listen(engine, "connect", _tune_sqlite)
            sa.event.listen(engine, "begin", _begin)
        shown = engine.url.render_as_string(hide_password=True)
        try:
            with engine.begin() as connection:
                migrate(connection)
        except sa.exc.SQLAlchemyError as err:
            raise ConfigError(f"The state store {shown} cannot be opened: {getattr(err, 'orig', err)}") from err
        sa.event.listen(engine, "handle_error", lambda context: _explain(context, shown))
        return cls(engine)

    def close(self) -> None:
        self.engine.dispose()

    def read(self) -> AbstractContextManager[sa.Connection]:
        """A connection that only reads, and so waits for no writer."""
        return self._reader.connect()

    def write(self) -> AbstractContextManager[sa.Connection]:
        """A transaction, committed at its end unless that is an error."""
        return self.engine.begin()


def _explain(context: Any, shown: str) -> None:
    """Say what to do about a store that fails: a full disk, a lock, a server that is away."""
    if isinstance(context.original_exception, context.dialect.loaded_dbapi.IntegrityError):
        return
    reason = " ".join(str(context.original_exception).split())[:300]
    raise StateUnavailable(
        f"The state store {shown} failed: {reason}. What was committed before stays, and the next run goes on there: "
        "free space on its disk, or make sure that it can be reached and written."
    ) from context.original_exception


def _tune_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins, so that a writer takes its lock at once
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin(connection: sa.Connection) -> None:
    """A writer takes its lock at once, so that it never fails half-way; a reader takes none."""
    reads = connection.get_execution_options().get("reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

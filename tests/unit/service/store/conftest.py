"""A state store in memory."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from service.store.database import Database
from service.store.schema import VERSION, meta, metadata


@pytest.fixture(scope="session")
def tables() -> Iterator[Database]:
    """Made once: that takes longer than a test."""
    made = Database.open("sqlite://")
    yield made
    made.close()


@pytest.fixture
def database(tables: Database) -> Iterator[Database]:
    """An empty one."""
    yield tables
    with tables.write() as connection:
        for table in metadata.sorted_tables:
            connection.execute(sa.delete(table))
        connection.exec_driver_sql("DELETE FROM sqlite_sequence")
        connection.execute(sa.insert(meta).values(key="schema", value=str(VERSION)))

"""A state store in memory."""

from collections.abc import Iterator

import pytest

from service.store.database import Database


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database.open("sqlite://")
    yield made
    made.close()

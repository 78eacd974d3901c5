"""Fixtures of the tests that sync."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.sql.source import SqlSource
from tests.crash.harness import Setting
from tests.support.stores import Store


@pytest.fixture
def open_store(tmp_path: Path, shared_data: Path) -> Iterator[Any]:
    opened: list[Store] = []

    def start(url: str, **options: Any) -> Store:
        source = SqlSource(name="shop", url=url, **options)
        setting = Setting(engine=shared_data / "qdrant", source=source, batch_documents=100, folder=tmp_path)
        opened.append(Store(setting))
        return opened[-1]

    yield start
    for store in opened:
        store.close()

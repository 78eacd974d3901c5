"""A row that is asked for while its table is synced."""

from pathlib import Path

import pytest

from tests.crash.data import table
from tests.crash.harness import Setting
from tests.crash.queries import ask_during_syncs
from tests.support.databases import sqlite_with


@pytest.fixture
def setting(tmp_path: Path, shared_data: Path) -> Setting:
    data = table(f"sqlite:///{sqlite_with(tmp_path / 'source.sqlite')}", 100)
    data.first()
    return Setting(engine=shared_data / "qdrant", source=data.source, batch_documents=20, folder=tmp_path)


def test_every_row_is_found_while_its_table_is_synced(setting: Setting, tmp_path: Path) -> None:
    """Each query during a re-sync finds the row's old or new version (`make test-crash` asks 10,000)."""
    asked, missed = ask_during_syncs(setting, f"sqlite:///{tmp_path / 'source.sqlite'}", rows=100, queries=50)
    assert (asked, missed) == (50, 0)

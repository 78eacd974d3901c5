"""A run that is killed and run again leaves what a clean run leaves. `make test-crash` does so at every boundary."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.data import folder, table
from tests.crash.harness import Data, Setting, Tally, crash_changes, crash_first_load
from tests.support.databases import sqlite_with
from tests.support.embedded import stop_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("crash") / "qdrant"
    yield path
    stop_engine(path)


def judge(tally: Tally) -> None:
    assert tally.errors == []
    assert (tally.lost, tally.duplicate, tally.stale) == (0, 0, 0)
    assert tally.points >= 3
    assert tally.reembedded_batches <= 1


def setting(data: Data, engine: Path, folder: Path) -> Setting:
    return Setting(engine=engine, source=data.source, batch_documents=10, folder=folder)


def test_a_killed_first_load_is_made_good_by_the_next_run(tmp_path: Path, engine: Path) -> None:
    data = table(f"sqlite:///{sqlite_with(tmp_path / 'source.sqlite')}", 40)
    tally = Tally()
    crash_first_load(setting(data, engine, tmp_path), data, tally, every=9)
    judge(tally)


def test_a_killed_run_of_changes_is_made_good_by_the_next_run(tmp_path: Path, engine: Path) -> None:
    data = folder(tmp_path, 40)
    tally = Tally()
    crash_changes(setting(data, engine, tmp_path), data, tally, every=6)
    judge(tally)


def test_a_run_outlives_its_engine(tmp_path: Path, engine: Path) -> None:
    data = table(f"sqlite:///{sqlite_with(tmp_path / 'source.sqlite')}", 40)
    tally = Tally()
    crash_first_load(setting(data, engine, tmp_path), data, tally, victim="engine", every=11)
    judge(tally)

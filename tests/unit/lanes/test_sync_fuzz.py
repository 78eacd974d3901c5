"""The generators of the sync fuzz: what a seed repeats, and what a long run has in it."""

import pytest

from tests.sync_fuzz import database, folder
from tests.sync_fuzz.database import DatabaseWorld
from tests.sync_fuzz.folder import FolderWorld
from tests.sync_fuzz.steps import Step, World

STEPS = 700
ONLY_ON = {
    "undecodable": "sqlite", "detach": "postgresql", "attach": "postgresql", "drop_partition": "postgresql",
    "create_partition": "postgresql",
}  # fmt: skip


def a_database(kind: str, seed: str = "1") -> DatabaseWorld:
    return DatabaseWorld(kind, seed, listed=True, reader="reader")  # type: ignore[arg-type]


def steps(world: World) -> list[Step]:
    """A long run, with something broken and mended now and then."""
    found = [world.create()]
    for number in range(STEPS):
        found.append(world.step())
        if number % 20 in (5, 9):
            found.append(world.spoil() if number % 20 == 5 else world.mend())
    return found


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_a_seed_makes_the_same_statements(kind: str) -> None:
    assert steps(a_database(kind)) == steps(a_database(kind))
    assert steps(a_database(kind)) != steps(a_database(kind, "2"))


def test_a_seed_makes_the_same_files() -> None:
    assert steps(FolderWorld("1")) == steps(FolderWorld("1"))
    assert steps(FolderWorld("1")) != steps(FolderWorld("2"))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_a_long_run_has_every_kind_of_step_that_its_database_knows(kind: str) -> None:
    known = {step for step in database.KINDS if ONLY_ON.get(step, kind) == kind}
    assert {step.kind for step in steps(a_database(kind)) if step.statements} == {*known, "create", "spoil", "mend"}


def test_a_long_run_has_every_kind_of_change_to_files() -> None:
    found = {step.kind for step in steps(FolderWorld("1")) if step.statements}
    assert found == {*folder.KINDS, "create", "spoil", "mend"}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_tables_neither_grow_without_end_nor_stay_empty(kind: str) -> None:
    world = a_database(kind)
    steps(world)
    rows = world.expected()["shop"]
    assert 100 < sum(rows.values()) < 2500

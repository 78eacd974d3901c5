"""The sync fuzz: `make test-sync-fuzz`. Prints one JSON object last; ends with 1 when an index is not what its source is.

Random transactions on SQLite, PostgreSQL, MariaDB and a folder; between them runs that are killed at commit boundaries,
refused, or over a source of which a part is broken, and older copies of the index or the state put back. At random
points, and at the end, the index is brought in step and compared with a clean rebuild.

SEED=… repeats a lane (it is printed); ONLY=sqlite,files runs a part of it; QUICK=1 a small one.
"""

import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import sqlalchemy as sa

from tests.crash.harness import Setting
from tests.support.databases import SERVERS, server_database, sqlite_with
from tests.support.embedded import stop_engine
from tests.sync_fuzz.campaign import EVENTS, QUICK_EVENTS, Campaign, Tally
from tests.sync_fuzz.database import DatabaseWorld
from tests.sync_fuzz.folder import FolderWorld, apply
from tests.sync_fuzz.product import database_sources, folder_sources
from tests.sync_fuzz.shapes import Database
from tests.sync_fuzz.steps import Step

QUICK = os.environ.get("QUICK") == "1"
SEED = os.environ.get("SEED", "1")
ONLY = os.environ.get("ONLY", "sqlite,postgresql,mariadb,files").split(",")
DECKS = 1 if QUICK else 2
BATCH = 40
DATABASES: tuple[Database, ...] = ("sqlite", "postgresql", "mariadb")
# SIGKILL loses nothing that was written, so that the lane need not wait for a disk.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database of its own: url for those who change it, reading_url for the ingest."""

    url: str
    reading_url: str
    reader: str = ""


@contextmanager
def place_of(database: Database, folder: Path) -> Iterator[Place]:
    if database == "sqlite":
        url = f"sqlite:///{sqlite_with(folder / f'source-{secrets.token_hex(4)}.sqlite')}"
        yield Place(url=url, reading_url=url)
    elif database == "mariadb":
        with server_database(database) as url:
            yield Place(url=url, reading_url=url)
    else:
        with reading_role() as (reader, password), server_database(database) as url:
            granted = f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {reader}"
            execute(url, Step(kind="grant", statements=(granted,)))
            reading = sa.make_url(url).set(username=reader, password=password)
            yield Place(url=url, reading_url=reading.render_as_string(hide_password=False), reader=reader)


@contextmanager
def reading_role() -> Iterator[tuple[str, str]]:
    """A PostgreSQL role that may read what it is granted; it goes after the databases that know it."""
    name, password = f"citewell_{secrets.token_hex(6)}", secrets.token_hex(12)
    execute(
        SERVERS["postgresql"][0], Step(kind="role", statements=(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'",))
    )
    try:
        yield name, password
    finally:
        execute(SERVERS["postgresql"][0], Step(kind="role", statements=(f"DROP ROLE {name}",)))


def execute(url: str, step: Step) -> None:
    """One transaction."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in step.statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def campaign_over_database(database: Database, root: Path, tally: Tally, *, listed: bool) -> Counter[str]:
    seed = f"{SEED} {database} {listed}"
    with place_of(database, root) as place:
        world = DatabaseWorld(database, seed, listed=listed, reader=place.reader, scale=0.5 if QUICK else 1.0)
        campaign = Campaign(
            label=f"{database} ({'listed tables' if listed else 'all tables'})",
            seed=SEED,
            world=world,
            apply=lambda step: execute(place.url, step),
            sources=lambda: database_sources(world, place.reading_url),
            setting=_setting(root, database_sources(world, place.reading_url)[0]),
            copies=root / "copies",
            tally=tally,
        )
        return _run(campaign)


def campaign_over_folder(root: Path, tally: Tally) -> Counter[str]:
    world = FolderWorld(f"{SEED} files")
    folder = root / f"folder-{secrets.token_hex(4)}"
    folder.mkdir()

    def carry_out(step: Step) -> None:
        for action in step.statements:
            apply(folder, action)

    campaign = Campaign(
        label="files",
        seed=SEED,
        world=world,
        apply=carry_out,
        sources=lambda: folder_sources(world, folder),
        setting=_setting(root, folder_sources(world, folder)[0]),
        copies=root / "copies",
        tally=tally,
    )
    return _run(campaign)


def _setting(root: Path, source: object) -> Setting:
    return Setting(engine=root / "qdrant", source=source, batch_documents=BATCH, folder=root)  # type: ignore[arg-type]


def _run(campaign: Campaign) -> Counter[str]:
    """A campaign to its end; an error of the lane itself, or of the index, is told like any other and ends it."""
    started = time.perf_counter()
    try:
        campaign.run(DECKS, QUICK_EVENTS if QUICK else EVENTS)
    except Exception as err:  # noqa: BLE001 the other campaigns go on
        campaign.tally.errors += 1
        campaign.fail(err)
    counts = ", ".join(f"{name} {value}" for name, value in asdict(campaign.tally).items())
    print(f"{campaign.label}: {time.perf_counter() - started:.0f} s; so far here: {counts}", flush=True)
    return campaign.kinds


def main() -> int:
    print(f"SEED={SEED}", flush=True)
    tallies = {name: Tally() for name in ONLY}
    kinds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="citewell-fuzz-", dir=MEMORY) as name:
        root = Path(name)
        try:
            for database in DATABASES:
                modes = (database != "postgresql",) if QUICK else (True, False)
                for listed in modes if database in ONLY else ():
                    kinds += campaign_over_database(database, root, tallies[database], listed=listed)
            if "files" in ONLY:
                kinds += campaign_over_folder(root, tallies["files"])
        finally:
            stop_engine(root / "qdrant")
    total = Tally()
    for field in fields(Tally):
        setattr(total, field.name, sum(getattr(tally, field.name) for tally in tallies.values()))
    print("transactions by kind:", dict(sorted(kinds.items())))
    by_database = {name: asdict(tally) for name, tally in tallies.items()}
    print(json.dumps({**asdict(total), "by_database": by_database, "seed": SEED, "quick": QUICK}))
    return int(total.is_bad or total.is_idle)


if __name__ == "__main__":
    sys.exit(main())

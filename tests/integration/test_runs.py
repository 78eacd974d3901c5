"""Runs: who holds a source, how signals end them, what schedules start, what a broken one leaves."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from rag.errors import LeaseLost
from service.ingest import Ingest, Options, Report, ingest
from service.state import Changes, State, StoredDocument
from service.state_schema import VERSION
from tests.conftest import MakeKb, Server, citewell, citewell_json, sqlite_with, stop_engine, wait_until
from tests.crash.data import table
from tests.crash.harness import FreeEmbedder, Setting


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "citewell.toml"
    stop_engine(tmp_path / ".citewell" / "qdrant")


def shop(tmp_path: Path, rows: int) -> str:
    url = (
        f"sqlite:///{sqlite_with(tmp_path / 'shop.sqlite', 'CREATE TABLE album (id INTEGER PRIMARY KEY, title TEXT)')}"
    )
    change(url, *(f"INSERT INTO album VALUES ({i}, 'Album number {i} of the long shelf')" for i in range(rows)))
    return f'[sources.shop]\nkind = "sql"\nurl = "{url}"\n'


def change(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def start(config: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).parent / "citewell"), *arguments, "--config", str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def committed(tmp_path: Path) -> int:
    path = tmp_path / ".citewell" / "state.sqlite"
    if not path.exists():
        return 0
    engine = sa.create_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM citewell_documents").scalar_one())
    except sa.exc.OperationalError:  # not made yet
        return 0
    finally:
        engine.dispose()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_after_its_batch_and_the_next_goes_on(config: Path, tmp_path: Path, number: signal.Signals):
    config.write_text(shop(tmp_path, 1600))
    process = start(config, "ingest", "--json")
    wait_until(lambda: committed(tmp_path) > 0, timeout_s=60, what="the first commit")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "stopped on request" in json.loads(out)["sources"][0]["error"]
    done = committed(tmp_path)
    assert 0 < done < 1600
    (report,) = citewell_json("ingest", config=config)["sources"]
    assert report["added"] == report["chunks_embedded"] == 1600 - done
    assert report["notes"] == []  # nothing had to be made good


def test_a_second_run_names_the_holder_and_ends_with_75(config: Path, tmp_path: Path):
    config.write_text(shop(tmp_path, 1600))
    first = start(config, "ingest")
    wait_until(lambda: committed(tmp_path) > 0, timeout_s=60, what="the first commit")
    first.send_signal(signal.SIGSTOP)  # so that it is under way for as long as we look
    second = citewell("ingest", config=config)
    assert second.returncode == 75
    assert f":{first.pid}" in second.stderr
    first.kill()
    first.communicate()
    third = citewell_json("ingest", config=config)["sources"][0]  # at once: the holder is seen to be dead
    assert third["added"] > 0
    assert citewell_json("status", config=config)["points"] == 1600


def test_progress_is_json_lines_on_stderr_beside_one_document_on_stdout(config: Path, tmp_path: Path):
    config.write_text(shop(tmp_path, 600))
    done = citewell("ingest", "--json", config=config)
    assert json.loads(done.stdout)["sources"][0]["added"] == 600
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[0]["event"] == "progress"
    assert {"source", "read", "expected", "documents_per_s", "eta_s"} <= lines[0].keys()


def test_watching_follows_files_and_databases_until_a_signal(config: Path, tmp_path: Path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Parking is free.")
    config.write_text(shop(tmp_path, 1) + 'every = "1s"\n[sources.docs]\nkind = "files"\npaths = ["docs"]\n')
    process = start(config, "ingest", "--watch")
    wait_until(lambda: committed(tmp_path) == 2, timeout_s=60, what="the first syncs")
    (tmp_path / "docs" / "b.md").write_text("The shop opens at ten.")
    wait_until(lambda: committed(tmp_path) == 3, timeout_s=60, what="the sync of a new file")
    change(f"sqlite:///{tmp_path / 'shop.sqlite'}", "INSERT INTO album VALUES (7, 'Powerage')")
    wait_until(lambda: committed(tmp_path) == 4, timeout_s=60, what="the sync of a new row")
    sources = {source["name"]: source for source in citewell_json("status", config=config)["sources"]}
    assert sources["shop"]["next_run_at"] > sources["shop"]["last_run"]["started_at"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_service_runs_schedules(config: Path, tmp_path: Path):
    config.write_text(shop(tmp_path, 1) + 'every = "1s"\n')
    with Server(config):
        wait_until(lambda: committed(tmp_path) == 1, timeout_s=60, what="the first sync")
        change(f"sqlite:///{tmp_path / 'shop.sqlite'}", "DELETE FROM album", "INSERT INTO album VALUES (7, 'Powerage')")
        change(
            f"sqlite:///{tmp_path / 'shop.sqlite'}", *(f"INSERT INTO album VALUES ({i}, 'x')" for i in range(10, 19))
        )
        wait_until(lambda: committed(tmp_path) == 10, timeout_s=60, what="the sync of changed rows")


def test_status_says_how_changes_are_found(config: Path, tmp_path: Path):
    config.write_text(shop(tmp_path, 3))
    citewell("ingest", config=config)
    (found,) = citewell_json("status", config=config)["sources"][0]["tables"]
    assert (found["table"], found["documents"], found["method"]) == ("album", 3, "scan")
    assert "scan" in citewell("status", config=config).stdout


# Inside one process.


class Refusing(FreeEmbedder):
    """Refuses texts that hold a word, as an endpoint refuses one that is too long."""

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Any:
        if any("poison" in text for text in texts):
            raise ValueError("input is too long")
        return super().embed(texts)


@pytest.fixture
def setting(tmp_path: Path, shared_data: Path) -> Setting:
    data = table(f"sqlite:///{sqlite_with(tmp_path / 'source.sqlite')}", 100)
    data.first()
    return Setting(engine=shared_data / "qdrant", source=data.source, batch_documents=20, folder=tmp_path)


def once(made: Ingest, setting: Setting, **options: Any) -> Report:
    return ingest(made, "shop", setting.source, Options(**options))


def test_a_text_that_cannot_be_embedded_is_set_aside_and_its_neighbours_land(setting: Setting, tmp_path: Path):
    change(f"sqlite:///{tmp_path / 'source.sqlite'}", "UPDATE record SET about = 'poison' WHERE id = 42")
    made = setting.parts(Refusing())
    report = once(made, setting)
    assert [entry["document_id"] for entry in report.unreadable] == ["record/42"]
    assert "input is too long" in report.unreadable[0]["reason"]
    assert (report.quarantined, made.index.count()) == (1, 99)
    assert once(made, setting).quarantined == 1
    change(f"sqlite:///{tmp_path / 'source.sqlite'}", "UPDATE record SET about = 'well' WHERE id = 42")
    assert once(made, setting).quarantined == 0
    assert made.index.count() == 100


def test_a_run_that_was_taken_over_takes_its_points_back(setting: Setting):
    """A paused run wakes after another has taken the source: what it then stores must not stay."""
    made = setting.parts()
    state = made.state
    document = StoredDocument(document_id="record/1", scope="record", version="v", chunk_ids=("a",))
    with state.lease("shop") as lease:
        change(f"sqlite:///{setting.folder / setting.collection}.sqlite", "UPDATE citewell_leases SET token = '999'")
        with pytest.raises(LeaseLost, match="taken over"):
            state.commit(lease, Changes(changed=[document]))
        assert state.known("shop", ["record/1"]) == {}
    change(f"sqlite:///{setting.folder / setting.collection}.sqlite", "DELETE FROM citewell_leases")

    class Overtaken:
        """The index of a run whose lease is lost between storing points and committing."""

        def __getattr__(self, name: str) -> Any:
            return getattr(made.index, name)

        def upsert(self, points: Any) -> None:
            made.index.upsert(points)
            change(
                f"sqlite:///{setting.folder / setting.collection}.sqlite", "UPDATE citewell_leases SET token = '999'"
            )

    with pytest.raises(LeaseLost):
        once(replace(made, index=Overtaken()), setting)
    assert made.index.count(source="shop") == 0


def test_points_that_vanished_from_the_index_are_made_again(setting: Setting):
    made = setting.parts()
    once(made, setting)
    lost = sorted(setting.snapshot())[:7]
    made.index.delete(lost)
    report = once(made, setting)
    assert "7 documents are indexed again" in report.notes[0]
    assert sorted(setting.snapshot())[:7] == lost


def test_every_row_is_found_while_its_table_is_synced(setting: Setting, tmp_path: Path):
    """Each query during a re-sync finds the row's old or new version (`make test-crash` asks 10,000)."""
    from tests.crash.queries import ask_during_syncs

    asked, missed = ask_during_syncs(setting, f"sqlite:///{tmp_path / 'source.sqlite'}", rows=100, queries=200)
    assert (asked, missed) == (200, 0)


def test_an_older_state_store_is_migrated_and_a_newer_one_refused(tmp_path: Path, make_kb: MakeKb):
    url = f"sqlite:///{sqlite_with(tmp_path / 'old.sqlite', *SCHEMA_1)}"
    state = State.open(url)
    assert state.counts("shop") == (1, 2)
    with state.lease("shop") as lease:
        assert lease.run == 2
    assert state.summary("shop")["quarantine"][0]["document_id"] == "album/9"
    state.close()
    change(url, f"UPDATE citewell_meta SET value = '{VERSION + 1}'")
    from rag.errors import ConfigError

    with pytest.raises(ConfigError, match="a newer Citewell wrote"):
        State.open(url)


SCHEMA_1 = (
    "CREATE TABLE citewell_meta (key VARCHAR(64) PRIMARY KEY, value VARCHAR(255))",
    "INSERT INTO citewell_meta VALUES ('schema', '1')",
    "CREATE TABLE citewell_documents (source VARCHAR(255), document_id TEXT, scope TEXT NOT NULL, version VARCHAR(64) "
    "NOT NULL, chunk_ids TEXT NOT NULL, seen_run INTEGER NOT NULL, PRIMARY KEY (source, document_id))",
    "INSERT INTO citewell_documents VALUES ('shop', 'album/1', 'album', 'v', '[\"a\", \"b\"]', 1)",
    "CREATE TABLE citewell_runs (id INTEGER PRIMARY KEY, source VARCHAR(255) NOT NULL, started_at FLOAT NOT NULL, "
    "ended_at FLOAT, status VARCHAR(16) NOT NULL, report TEXT)",
    "INSERT INTO citewell_runs VALUES (1, 'shop', 0, 1, 'done', NULL)",
    "CREATE TABLE citewell_leases (source VARCHAR(255) PRIMARY KEY, holder VARCHAR(255) NOT NULL, token VARCHAR(36) "
    "NOT NULL, expires_at FLOAT NOT NULL)",
    "CREATE TABLE citewell_quarantine (source VARCHAR(255), document_id TEXT, reason TEXT NOT NULL, since FLOAT NOT NULL, "
    "seen_run INTEGER NOT NULL, PRIMARY KEY (source, document_id))",
    "INSERT INTO citewell_quarantine VALUES ('shop', 'album/9', 'broken', 0, 1)",
)

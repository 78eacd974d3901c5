"""Runs of the installed command: who holds a source, how signals end them, what schedules start."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.command import Server, citewell, citewell_here, citewell_json
from tests.support.databases import change, sqlite_with
from tests.support.embedded import stop_engine
from tests.support.running import wait_until

ROWS = 1600  # several batches, so that a run is met between two


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
def test_a_signal_ends_a_run_after_its_batch_and_the_next_goes_on(
    config: Path, tmp_path: Path, number: signal.Signals
) -> None:
    config.write_text(shop(tmp_path, ROWS))
    process = start(config, "ingest", "--json")
    wait_until(lambda: committed(tmp_path) > 0, timeout_s=150, what="the first commit")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "stopped on request" in json.loads(out)["sources"][0]["error"]
    done = committed(tmp_path)
    assert 0 < done < ROWS
    (report,) = citewell_json("ingest", config=config)["sources"]
    assert report["added"] == report["chunks_embedded"] == ROWS - done
    assert report["notes"] == []  # nothing had to be made good


def test_a_second_run_names_the_holder_and_ends_with_75(config: Path, tmp_path: Path) -> None:
    config.write_text(shop(tmp_path, 520))
    first = start(config, "ingest")
    wait_until(lambda: committed(tmp_path) > 0, timeout_s=150, what="the first commit")
    first.send_signal(signal.SIGSTOP)  # so that it is under way for as long as we look
    second = citewell("ingest", config=config)
    assert second.returncode == 75
    assert f":{first.pid}" in second.stderr
    first.kill()
    first.communicate()
    third = citewell_json("ingest", config=config)["sources"][0]  # at once: the holder is seen to be dead
    assert third["added"] > 0
    assert citewell_json("status", config=config)["points"] == 520


def test_progress_is_json_lines_on_stderr_beside_one_document_on_stdout(config: Path, tmp_path: Path) -> None:
    config.write_text(shop(tmp_path, 50))
    done = citewell("ingest", "--json", config=config)
    assert json.loads(done.stdout)["sources"][0]["added"] == 50
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[0]["event"] == "progress"
    assert {"source", "read", "expected", "documents_per_s", "eta_s"} <= lines[0].keys()


def test_watching_follows_files_and_databases_until_a_signal(config: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Parking is free.")
    config.write_text(shop(tmp_path, 1) + 'every = "1s"\n[sources.docs]\nkind = "files"\npaths = ["docs"]\n')
    process = start(config, "ingest", "--watch")
    wait_until(lambda: committed(tmp_path) == 2, timeout_s=150, what="the first syncs")
    (tmp_path / "docs" / "b.md").write_text("The shop opens at ten.")
    wait_until(lambda: committed(tmp_path) == 3, timeout_s=150, what="the sync of a new file")
    change(f"sqlite:///{tmp_path / 'shop.sqlite'}", "INSERT INTO album VALUES (7, 'Powerage')")
    wait_until(lambda: committed(tmp_path) == 4, timeout_s=150, what="the sync of a new row")
    sources = {source["name"]: source for source in citewell_json("status", config=config)["sources"]}
    assert abs(sources["shop"]["next_run_at"] - sources["shop"]["last_run"]["started_at"]) < 60
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_service_runs_schedules(config: Path, tmp_path: Path) -> None:
    config.write_text(shop(tmp_path, 1) + 'every = "1s"\n')
    with Server(config):
        wait_until(lambda: committed(tmp_path) == 1, timeout_s=150, what="the first sync")
        change(f"sqlite:///{tmp_path / 'shop.sqlite'}", "DELETE FROM album", "INSERT INTO album VALUES (7, 'Powerage')")
        change(
            f"sqlite:///{tmp_path / 'shop.sqlite'}", *(f"INSERT INTO album VALUES ({i}, 'x')" for i in range(10, 19))
        )
        wait_until(lambda: committed(tmp_path) == 10, timeout_s=150, what="the sync of changed rows")


def test_status_says_how_changes_are_found(config: Path, tmp_path: Path) -> None:
    config.write_text(shop(tmp_path, 3))
    citewell_here("ingest", config=config)
    (found,) = citewell_json("status", config=config)["sources"][0]["tables"]
    assert (found["table"], found["documents"], found["method"]) == ("album", 3, "scan")
    assert "scan" in citewell_here("status", config=config).stdout

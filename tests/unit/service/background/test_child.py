"""One ingest in a process of its own: what it says, and how it is asked to end."""

import sys
import threading
from pathlib import Path

import pytest

from service.syncing.background.child import ChildIngest, ingest_command
from tests.support.running import wait_until
from tests.unit.service.background.conftest import PROGRESS, REPORTS, held, reported


def child(script: str) -> ChildIngest:
    return ChildIngest(["sh", "-c", script])


def ran(script: str) -> ChildIngest:
    made = child(script)
    made.run()
    return made


def test_the_command_is_our_own_ingest_and_a_sources_name_is_never_a_flag() -> None:
    command = ingest_command(Path("c.toml"), ["--full", "docs"], ["allow_mass_delete", "retry"])
    assert command[:4] == [sys.executable, "-P", "-m", "service.cli.main"]
    assert command[4:8] == ["ingest", "--json", "--config", "c.toml"]
    assert command[8:] == ["--allow-mass-delete", "--retry", "--", "--full", "docs"]


def test_what_it_reports_is_kept_with_its_code() -> None:
    done = ran(reported(code=3))
    assert (done.reports, done.code, done.error) == (REPORTS, 3, "")


def test_progress_is_kept_by_source_and_other_lines_are_the_error() -> None:
    done = ran(f"{PROGRESS}; echo 'Error: away' >&2; echo 7 >&2; exit 1")
    assert done.progress == {"docs": {"event": "progress", "read": 1}}
    assert done.error == "Error: away"


def test_only_the_last_lines_of_an_error_are_kept() -> None:
    assert ran("for n in 1 2 3 4 5 6 7; do echo line $n >&2; done").error == "\n".join(f"line {n}" for n in range(3, 8))


@pytest.mark.parametrize("output", ["", "nonsense", "[1]", '{"other": 1}', "7"])
def test_output_that_is_no_report_is_none(output: str) -> None:
    done = ran(f"echo '{output}'")
    assert (done.reports, done.code) == (None, 0)


@pytest.mark.parametrize(
    ("code", "well", "stopped"),
    [(0, True, False), (3, True, False), (1, False, False), (2, False, False), (75, False, False), (130, False, True), (143, False, True)],
)  # fmt: skip
def test_its_code_says_how_it_ended(code: int, well: bool, stopped: bool) -> None:
    done = ran(f"exit {code}")
    assert (done.ended_well, done.was_stopped) == (well, stopped)


def test_one_that_the_system_killed_was_not_stopped_but_failed() -> None:
    done = ran("kill -KILL $$")
    assert (done.code, done.ended_well, done.was_stopped) == (-9, False, False)


def test_one_that_is_stopped_before_it_runs_never_begins(tmp_path: Path) -> None:
    made = child(f"touch {tmp_path}/begun")
    made.stop()
    made.run()
    assert (made.code, made.was_stopped, made.reports) == (143, True, None)
    assert list(tmp_path.iterdir()) == []


def test_one_under_way_is_asked_to_end_and_once_only(tmp_path: Path) -> None:
    script = (
        f"trap 'echo asked >> {tmp_path}/asked' TERM; {PROGRESS}; "
        f"while ! grep -qs asked {tmp_path}/asked; do :; done; sleep 0.05; exit 143"
    )
    made = child(script)
    thread = threading.Thread(target=made.run)
    thread.start()
    wait_until(lambda: made.progress, what="the first progress")
    made.stop()
    made.stop()
    thread.join(10)
    assert (tmp_path / "asked").read_text() == "asked\n"
    assert (made.code, made.was_stopped) == (143, True)


def test_one_that_fails_after_it_was_asked_to_end_was_stopped_too() -> None:
    made = child(f"trap 'kill $!; exit 1' TERM; {PROGRESS}; sleep 30 >/dev/null 2>&1 & wait")
    thread = threading.Thread(target=made.run)
    thread.start()
    wait_until(lambda: made.progress, what="the first progress")
    made.stop()
    thread.join(10)
    assert (made.code, made.was_stopped) == (1, True)


def test_to_stop_one_that_has_ended_well_changes_nothing() -> None:
    done = ran(reported())
    done.stop()
    assert (done.ended_well, done.was_stopped) == (True, False)


def test_a_child_is_given_the_secrets_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "s3cret")
    assert ran("echo $SHOP_PASSWORD >&2").error == "s3cret"


def test_one_held_until_it_is_asked_ends_then() -> None:
    made = child(held(PROGRESS))
    thread = threading.Thread(target=made.run)
    thread.start()
    wait_until(lambda: made.progress, what="the first progress")
    assert thread.is_alive()
    made.stop()
    thread.join(10)
    assert made.code == 143

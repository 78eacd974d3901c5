"""Scheduled syncs of the service: what is logged of them, and how they end with it."""

import threading
from pathlib import Path
from typing import Any

import pytest

from service.syncing.background.scheduled_sync import ScheduledSync
from tests.support.running import wait_until
from tests.unit.service.background.conftest import Script, held, reported
from tests.unit.service.conftest import settings_of


def scheduled(script: Script, **source: Any) -> ScheduledSync:
    sources = {"docs": {"kind": "files", "paths": ["docs"], **source}}
    settings = settings_of(sources=sources)
    return ScheduledSync(settings, Path("c.toml"), note_next=lambda name, at: None, command=script)


def test_a_source_that_is_due_is_read_in_a_process_and_its_schedule_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    script = Script(reported())
    sync = scheduled(script, every="1h")
    sync.start()
    wait_until(lambda: script.asked, what="the first run")
    sync.stop()
    assert script.asked == [(["docs"], [])]
    assert "source docs is read every 3600 s" in caplog.text


@pytest.mark.parametrize(("code", "well"), [(0, True), (3, True), (1, False), (75, False)])
def test_its_exit_code_says_whether_it_went_well(code: int, well: bool) -> None:
    assert scheduled(Script(reported(code=code)))._sync("docs") is well


def test_what_is_wrong_is_logged_once_and_again_after_it_was_well(caplog: pytest.LogCaptureFixture) -> None:
    away, other = "echo away >&2; exit 1", "echo full >&2; exit 1"
    sync = scheduled(Script(away, away, other, reported(), other, reported()))
    for _ in range(5):
        sync._sync("docs")
    told = [record.getMessage() for record in caplog.records]
    ended = "the scheduled run of docs ended with 1: "
    assert told == [f"{ended}away", f"{ended}full", f"{ended}full"]


def test_after_the_end_no_process_begins(tmp_path: Path) -> None:
    sync = scheduled(Script(f"touch {tmp_path}/begun"))
    sync.start()
    sync.stop()
    assert not sync._sync("docs")
    assert list(tmp_path.iterdir()) == []


def test_a_run_under_way_is_asked_to_end_and_not_complained_of(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    sync = scheduled(Script(held(f"touch {tmp_path}/begun")), every="1h")
    sync.start()
    wait_until((tmp_path / "begun").exists, what="the run")
    threading.Thread(target=sync.stop).start()
    wait_until(lambda: not sync._running, what="the end")
    assert "ended with" not in caplog.text

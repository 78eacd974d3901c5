"""When sources are due, and that one is never read twice at once."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.settings.sections import Settings
from service.syncing.background.schedule import Schedule
from service.syncing.background.watching import News

DAILY = "0 3 * * *"


class Case:
    """A schedule of sources; synced: the names that were read, in order. next_runs: what was noted of each."""

    def __init__(self, sync: Callable[[str], bool] = lambda name: True, **options: Any) -> None:
        sources = {
            name: {"kind": "sql", "url": "sqlite://"} | fields if "paths" not in fields else {"kind": "files"} | fields
            for name, fields in options.pop("sources").items()
        }
        self.synced: list[str] = []
        self.next_runs: dict[str, float | None] = {}
        self.came = threading.Event()
        self._sync = sync
        self.schedule = Schedule(
            Settings.model_validate({"sources": sources}).sources,
            self._noted,
            root=Path("/r"),
            data_dir=Path("/r/data"),
            note_next=self.next_runs.__setitem__,
            **options,
        )

    def _noted(self, name: str) -> bool:
        self.synced.append(name)
        self.came.set()
        return self._sync(name)


@pytest.mark.parametrize(
    ("fields", "plan"),
    [
        ({"every": "5m"}, "every 300 s"),
        ({"cron": DAILY}, f"at {DAILY}"),
        ({"paths": ["docs"], "watch": True}, "when a file changes"),
        ({"paths": ["docs"], "watch": True, "every": "1h"}, "every 3600 s, when a file changes"),
    ],
)
def test_a_schedule_is_told_in_words(fields: dict[str, Any], plan: str) -> None:
    assert Case(sources={"a": fields}).schedule.planned == {"a": plan}


def test_a_source_without_a_schedule_is_left_alone() -> None:
    assert Case(sources={"a": {}, "b": {"paths": ["docs"]}}).schedule.planned == {}


def test_by_default_databases_are_read_so_often_and_folders_are_watched() -> None:
    sources = {"a": {}, "b": {"paths": ["docs"]}}
    planned = Case(sources=sources, default_every_s=60).schedule.planned
    assert planned == {"a": "every 60 s", "b": "when a file changes"}


def test_a_schedule_of_its_own_goes_before_the_default() -> None:
    sources = {
        "a": {"cron": DAILY},
        "b": {"every": 9},
        "c": {"paths": ["x"], "every": 9},
        "d": {"paths": ["x"], "cron": DAILY},
    }
    planned = Case(sources=sources, default_every_s=60).schedule.planned
    assert planned == {"a": f"at {DAILY}", "b": "every 9 s", "c": "every 9 s", "d": f"at {DAILY}"}


def test_a_source_that_is_due_every_so_often_is_read_at_once_and_its_next_time_is_noted() -> None:
    case = Case(sources={"a": {"every": "1h"}, "b": {"cron": DAILY}, "c": {}})
    before = time.time()
    case.schedule.start()
    assert case.came.wait(5)
    assert set(case.next_runs) == {"a", "b"}
    assert case.next_runs["b"] is not None
    assert case.next_runs["b"] > before
    case.schedule.stop()
    assert case.synced == ["a"]
    assert case.next_runs == {"a": None, "b": None, "c": None}


def test_a_run_under_way_is_waited_for_and_none_begins_after_the_end() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def sync(name: str) -> bool:
        begun.set()
        may_end.wait(5)
        return True

    case = Case(sync, sources={"a": {"every": "1h"}})
    case.schedule.start()
    assert begun.wait(5)

    def stop() -> None:
        case.schedule.stop()
        ended.set()

    stopping = threading.Thread(target=stop)
    stopping.start()
    assert not ended.is_set()
    may_end.set()
    stopping.join(5)
    assert ended.is_set()
    assert not case.schedule._run("a")
    assert case.synced == ["a"]


def test_a_source_is_never_read_twice_at_once() -> None:
    under_way, most, guard = 0, 0, threading.Lock()
    second = threading.Event()

    def sync(name: str) -> bool:
        nonlocal under_way, most
        with guard:
            under_way += 1
            most = max(most, under_way)
        second.wait(0.02)
        with guard:
            under_way -= 1
        return True

    case = Case(sync, sources={"a": {}})
    threads = [threading.Thread(target=case.schedule._run, args=("a",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert (case.synced, most) == (["a"] * 3, 1)


def watched(
    monkeypatch: pytest.MonkeyPatch, script: list[tuple[float, News]], outcomes: Sequence[bool | Exception] = ()
) -> list[float]:
    """When a watched source was read, where the news came at these seconds, and its syncs ended so (well thereafter)."""
    now, read, left, over = 0.0, list[float](), list(outcomes), threading.Event()
    monkeypatch.setattr(time, "monotonic", lambda: 1000 + now)

    def sync(name: str) -> bool:
        read.append(now)
        outcome = left.pop(0) if left else True
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def follow(bases: list[Path], *, ignore: Path, stop: threading.Event) -> Iterator[News]:
        nonlocal now
        assert (bases, ignore) == ([Path("/r/docs")], Path("/r/data"))
        for now, news in script:  # noqa: B007 the clock
            yield news
        over.set()

    case = Case(sync, sources={"a": {"paths": ["docs/*.md"], "watch": True}}, rescan_s=300, follow=follow)
    case.schedule.start()
    assert over.wait(5)
    case.schedule.stop()
    return read


def test_a_watched_source_is_read_at_once_and_after_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(monkeypatch, [(0, "begun"), (1, ""), (5, "changed"), (6, ""), (9, "begun")]) == [0, 5, 9]


def test_a_watched_source_is_read_now_and_then_though_nothing_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(monkeypatch, [(0, "begun"), (299, ""), (300, ""), (301, ""), (600, "")]) == [0, 300, 600]


def test_a_sync_that_failed_is_tried_again_after_twice_as_long_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    script: list[tuple[float, News]] = [(second, "") for second in range(120)]
    script[0] = (0, "begun")
    assert watched(monkeypatch, script, [False] * 7) == [0, 2, 6, 14, 30, 60, 90]


def test_one_that_went_well_again_is_not_waited_for_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    script: list[tuple[float, News]] = [(0, "begun"), (2, ""), (3, "changed"), (4, ""), (5, "")]
    assert watched(monkeypatch, script, [False, True, False]) == [0, 2, 3, 5]


def test_a_change_does_not_shorten_the_wait_after_a_failure_but_a_new_folder_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert watched(monkeypatch, [(0, "begun"), (1, "changed"), (2, "")], [False]) == [0, 2]
    assert watched(monkeypatch, [(0, "begun"), (1, "begun")], [False]) == [0, 1]


def test_whatever_goes_wrong_a_watcher_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert watched(monkeypatch, [(0, "begun"), (2, "")], [ZeroDivisionError("a bug")]) == [0, 2]
    assert "source a was not read, and will be tried again" in caplog.text

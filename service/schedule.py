"""Runs sources by their schedules, and those that watch their files as soon as one changes."""

import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from watchfiles import Change, watch

from connectors.file_search import base_of
from service.knowledge_base import KnowledgeBase
from service.settings import FilesSettings, SqlSettings

_JITTER_SHARE = 0.1  # of an interval, so that the sources of many installations do not all begin at once
_LONGEST_JITTER_S = 30.0
_DEBOUNCE_MS = 1000
_POLL_MS = 1000
_RETRY_S = 30.0  # after a sync of a watched source that failed


class Schedule:
    """Calls `sync` with a source's name when the source is due; start it, and stop it to end. sync says how it went.

    A source never runs twice at once: one that is still running when it is due is run once more after it has ended,
    however often it was due meanwhile. The times of the next runs are kept in the state, for `citewell status`.
    default_every_s: how often a database without a schedule of its own is read, and then folders are watched; 0: they
    are left alone.
    """

    def __init__(self, kb: KnowledgeBase, sync: Callable[[str], bool], *, default_every_s: float = 0.0) -> None:
        self._kb, self._sync, self._default_every_s = kb, sync, default_every_s
        self._stop = threading.Event()
        self._locks = {name: threading.Lock() for name in kb.settings.sources}
        self._watchers: list[threading.Thread] = []
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a run that is due while one is under way is no news
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(max(len(self._locks), 1))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )

    @property
    def planned(self) -> dict[str, str]:
        """The sources that have a schedule or are watched, with it in words."""
        planned = {name: self._plan(settings) for name, settings in self._kb.settings.sources.items()}
        return {name: plan for name, plan in planned.items() if plan}

    def _plan(self, settings: SqlSettings | FilesSettings) -> str:
        every = self._every_s(settings)
        parts = [f"every {every:g} s"] if every else [f"at {settings.cron}"] if settings.cron else []
        return ", ".join([*parts, *(["when a file changes"] if self._watches(settings) else [])])

    def _every_s(self, settings: SqlSettings | FilesSettings) -> float:
        if settings.every is not None:
            return settings.every
        return 0.0 if settings.cron or isinstance(settings, FilesSettings) else self._default_every_s

    def _watches(self, settings: SqlSettings | FilesSettings) -> bool:
        if not isinstance(settings, FilesSettings):
            return False
        return settings.watch or (self._default_every_s > 0 and settings.every is None and not settings.cron)

    def start(self) -> None:
        for name, settings in self._kb.settings.sources.items():
            self._add_job(name, settings)
            if isinstance(settings, FilesSettings) and self._watches(settings):
                self._watchers.append(threading.Thread(target=self._watch, args=(name, settings), daemon=True))
        self._scheduler.start()
        for name in self._locks:
            self._note_next(name)
        for watcher in self._watchers:
            watcher.start()

    def _add_job(self, name: str, settings: SqlSettings | FilesSettings) -> None:
        every = self._every_s(settings)
        if every:
            jitter = min(every * _JITTER_SHARE, _LONGEST_JITTER_S)
            trigger = IntervalTrigger(seconds=max(round(every), 1), jitter=jitter, timezone=UTC)
            self._scheduler.add_job(self._run, trigger, args=[name], id=name, next_run_time=datetime.now(UTC))
        elif settings.cron:
            self._scheduler.add_job(self._run, CronTrigger.from_crontab(settings.cron), args=[name], id=name)

    def stop(self) -> None:
        """End; runs under way are waited for, so stop them first."""
        self._stop.set()
        self._scheduler.shutdown(wait=False)  # to wait here would hold a lock that a job under way needs
        for lock in self._locks.values():
            with lock:
                pass
        for watcher in self._watchers:
            watcher.join()
        for name in self._locks:
            self._kb.state.set_next_run(name, None)

    def _run(self, name: str) -> bool:
        """Sync a source; whether that went well."""
        self._note_next(name)
        with self._locks[name]:
            well = not self._stop.is_set() and self._sync(name)
        self._note_next(name)
        return well

    def _note_next(self, name: str) -> None:
        job = self._scheduler.get_job(name)
        if job is not None and job.next_run_time is not None:
            self._kb.state.set_next_run(name, job.next_run_time.timestamp())

    def _watch(self, name: str, settings: FilesSettings) -> None:
        """Sync at once, and again after every change; changes during a sync are not missed."""
        root = self._kb.settings.root
        bases = {base_of(root, pattern) for pattern in settings.paths}
        folders = {base if base.is_dir() else base.parent for base in bases}
        options: dict[str, Any] = {"debounce": _DEBOUNCE_MS, "rust_timeout": _POLL_MS, "yield_on_timeout": True}
        due, next_try = True, 0.0
        for changes in watch(*(f for f in folders if f.exists()), watch_filter=self._counts, stop_event=self._stop,
                             raise_interrupt=False, **options):  # fmt: skip
            due = due or bool(changes)
            if due and time.monotonic() >= next_try:
                due = not self._run(name)
                next_try = time.monotonic() + _RETRY_S if due else 0.0

    def _counts(self, change: Change, path: str) -> bool:
        """Whether a changed file is one that may be read: not hidden, and not of our own data."""
        file = Path(path)
        hidden = any(
            part.startswith(".") for part in Path(os.path.relpath(file, self._kb.settings.root)).parts if part != ".."
        )
        return not hidden and not file.is_relative_to(self._kb.settings.data_dir)

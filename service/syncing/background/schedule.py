"""Runs sources by their schedules, and those that watch their files as soon as one changes."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from connectors.files.patterns import base_of
from service.settings.sources import FilesSettings, SourceSettings
from service.syncing.background.watching import News, follow_files

_JITTER_SHARE = 0.1  # of an interval, so that the sources of many installations do not all begin at once
_LONGEST_JITTER_S = 30.0
_RESCAN_S = 300.0  # a watched source is read so often too, whatever was told of its files
_FIRST_RETRY_S, _LONGEST_RETRY_S = 2.0, 30.0  # after a sync of a watched source that failed; twice as long each time
_log = logging.getLogger("citewell")


class Schedule:
    """Calls `sync` with a source's name when the source is due; start it, and stop it to end. sync says how it went.

    root: the folder that paths are relative to; data_dir: below it no change counts; note_next: is told when a source
    is due next, None when it is not any more.
    A source never runs twice at once: one that is still running when it is due is run once more after it has ended,
    however often it was due meanwhile. The times of the next runs are kept in the state, for `citewell status`.
    default_every_s: how often a database without a schedule of its own is read, and then folders are watched; 0: they
    are left alone. rescan_s: how often a watched source is read although nothing was told of its files. follow: tells
    of changes, as `follow_files` does.
    """

    def __init__(
        self,
        sources: Mapping[str, SourceSettings],
        sync: Callable[[str], bool],
        *,
        root: Path,
        data_dir: Path,
        note_next: Callable[[str, float | None], None],
        default_every_s: float = 0.0,
        rescan_s: float = _RESCAN_S,
        follow: Callable[..., Iterator[News]] = follow_files,
    ) -> None:
        self._sources, self._sync, self._next_run = sources, sync, note_next
        self._root, self._data_dir = root, data_dir
        self._default_every_s, self._rescan_s, self._follow = default_every_s, rescan_s, follow
        self._stop = threading.Event()
        self._locks = {name: threading.Lock() for name in self._sources}
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
        planned = {name: self._plan(settings) for name, settings in self._sources.items()}
        return {name: plan for name, plan in planned.items() if plan}

    def _plan(self, settings: SourceSettings) -> str:
        every = self._every_s(settings)
        parts = [f"every {every:g} s"] if every else [f"at {settings.cron}"] if settings.cron else []
        return ", ".join([*parts, *(["when a file changes"] if self._watches(settings) else [])])

    def _every_s(self, settings: SourceSettings) -> float:
        if settings.every is not None:
            return settings.every
        return 0.0 if settings.cron or isinstance(settings, FilesSettings) else self._default_every_s

    def _watches(self, settings: SourceSettings) -> bool:
        if not isinstance(settings, FilesSettings):
            return False
        return settings.watch or (self._default_every_s > 0 and settings.every is None and not settings.cron)

    def start(self) -> None:
        for name, settings in self._sources.items():
            self._add_job(name, settings)
            if isinstance(settings, FilesSettings) and self._watches(settings):
                self._watchers.append(threading.Thread(target=self._watch, args=(name, settings), daemon=True))
        self._scheduler.start()
        for name in self._locks:
            self._note_next(name)
        for watcher in self._watchers:
            watcher.start()

    def _add_job(self, name: str, settings: SourceSettings) -> None:
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
            self._next_run(name, None)

    def _run(self, name: str) -> bool:
        """Sync a source; whether that went well."""
        with self._locks[name]:  # for the notes too: what `stop` has noted is the last word
            if self._stop.is_set():
                return False
            self._note_next(name)
            well = self._sync(name)
            if not self._stop.is_set():
                self._note_next(name)
            return well

    def _note_next(self, name: str) -> None:
        job = self._scheduler.get_job(name)
        if job is not None and job.next_run_time is not None:
            self._next_run(name, job.next_run_time.timestamp())

    def _watch(self, name: str, settings: FilesSettings) -> None:
        """Sync at once, and again after every change; changes during a sync are not missed."""
        bases = sorted({base_of(self._root, pattern) for pattern in settings.paths})
        due, retry_s, next_try, next_scan = False, 0.0, 0.0, 0.0
        for news in self._follow(bases, ignore=self._data_dir, stop=self._stop):
            now = time.monotonic()
            due = due or bool(news) or now >= next_scan
            if not due or (now < next_try and news != "begun"):
                continue
            due = not self._run_safely(name)
            retry_s = min(max(2 * retry_s, _FIRST_RETRY_S), _LONGEST_RETRY_S) if due else 0.0
            next_try, next_scan = time.monotonic() + retry_s, time.monotonic() + self._rescan_s

    def _run_safely(self, name: str) -> bool:
        """Sync a source from its watcher, which goes on whatever happens."""
        try:
            return self._run(name)
        except Exception:  # noqa: BLE001 whatever went wrong; a watcher that ended would tell nobody
            _log.exception("source %s was not read, and will be tried again", name)
            return False

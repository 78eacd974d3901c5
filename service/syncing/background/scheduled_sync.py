"""Scheduled syncs of the service, each in a process of its own."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from service.settings.sections import Settings
from service.syncing.background.child import ChildIngest, Command, ingest_command
from service.syncing.background.schedule import Schedule

_log = logging.getLogger("citewell")


class ScheduledSync:
    """Reads the sources that have a schedule, or watch their files, while the service runs."""

    def __init__(
        self,
        settings: Settings,
        config: Path,
        *,
        note_next: Callable[[str, float | None], None],
        command: Command = ingest_command,
    ) -> None:
        """config: the settings' file; note_next: is told when a source is due next; command: what each sync runs."""
        self._config, self._command = config, command
        self._lock = threading.Lock()
        self._running: set[ChildIngest] = set()
        self._ended = False
        self._told: dict[str, str] = {}  # what is still wrong with a source, which is told once
        self._schedule = Schedule(
            settings.sources, self._sync, root=settings.root, data_dir=settings.data_dir, note_next=note_next
        )

    def start(self) -> None:
        for name, plan in self._schedule.planned.items():
            _log.info("source %s is read %s", name, plan)
        self._schedule.start()

    def stop(self) -> None:
        """Ask the runs under way to finish their batch, and end."""
        with self._lock:
            self._ended = True
            for child in self._running:
                child.stop()
        self._schedule.stop()

    def _sync(self, name: str) -> bool:
        child = ChildIngest(self._command(self._config, [name]))
        with self._lock:
            if self._ended:
                return False
            self._running.add(child)
        try:
            child.run()
        finally:
            with self._lock:
                self._running.discard(child)
        failure = "" if child.ended_well else f"{child.code}: {child.error}"
        if failure and failure != self._told.get(name) and not self._ended:
            _log.warning("the scheduled run of %s ended with %s", name, failure)
        self._told[name] = failure
        return child.ended_well

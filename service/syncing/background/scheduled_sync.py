"""Scheduled syncs of the service, each in a process of its own: embedding never takes the service's time."""

import logging
import subprocess
import threading
from pathlib import Path

from rag.boundary.child import child_environment, python_child
from service.knowledge_base import KnowledgeBase
from service.syncing.background.schedule import Schedule

_log = logging.getLogger("citewell")


class ScheduledSync:
    """Reads the sources that have a schedule, or watch their files, while the service runs."""

    def __init__(self, kb: KnowledgeBase, config: Path) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False
        self._told: dict[str, str] = {}  # what is still wrong with a source, which is told once
        self._schedule = Schedule(kb, self._sync)

    def start(self) -> None:
        for name, plan in self._schedule.planned.items():
            _log.info("source %s is read %s", name, plan)
        self._schedule.start()

    def stop(self) -> None:
        """Ask the runs under way to finish their batch, and end."""
        with self._lock:
            self._ended = True
            for process in self._running:
                process.terminate()
        self._schedule.stop()

    def _sync(self, name: str) -> bool:
        command = python_child("service.cli.main", "ingest", "--config", str(self._config), "--", name)
        with self._lock:
            if self._ended:
                return False
            process = subprocess.Popen(  # noqa: S603 our own module, no shell
                command,
                env=child_environment(secrets=True),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            self._running.add(process)
        try:
            errors = process.communicate()[1]
        finally:
            with self._lock:
                self._running.discard(process)
        well = process.returncode in (0, 3)
        failure = "" if well else f"{process.returncode}: {errors.strip()[-2000:]}"
        if failure and failure != self._told.get(name) and not self._ended:
            _log.warning("the scheduled run of %s ended with %s", name, failure)
        self._told[name] = failure
        return well

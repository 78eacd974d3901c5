"""One `citewell ingest` in a process of its own: embedding never takes the service's time."""

import json
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from rag.boundary.child import child_environment, python_child
from rag.boundary.exit_codes import STOPPED, WELL, ExitCode

_ERROR_LINES = 5


class Command(Protocol):
    """Gives the command that reads some sources; options: names of its flags, such as "full"."""

    def __call__(self, config: Path, sources: Sequence[str], options: Sequence[str] = ()) -> list[str]: ...


def ingest_command(config: Path, sources: Sequence[str], options: Sequence[str] = ()) -> list[str]:
    """Our own `citewell ingest`, as a Command."""
    flags = [f"--{name.replace('_', '-')}" for name in options]
    return python_child("service.cli.main", "ingest", "--json", "--config", str(config), *flags, "--", *sources)


class ChildIngest:
    """An ingest of some sources. `run` it once, in a thread; `stop` and `progress` are for other threads.

    command: an `ingest_command`. progress: by source, its last event so far.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._errors: deque[str] = deque(maxlen=_ERROR_LINES)
        self.progress: dict[str, Any] = {}
        self.reports: list[dict[str, Any]] | None = None
        self.code = int(ExitCode.FAILED)

    def run(self) -> None:
        """Run it to its end: then `code`, `reports` (None where it gave none), `error` and `was_stopped` hold."""
        with self._lock:
            if self._stopped:
                self.code = int(ExitCode.TERMINATED)
                return
            self._process = subprocess.Popen(  # noqa: S603 our own module, no shell
                self._command,
                env=child_environment(secrets=True),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        with self._process as process:
            reader = threading.Thread(target=self._follow, args=(process.stderr,), daemon=True)
            reader.start()
            output = process.stdout.read() if process.stdout is not None else ""
            reader.join()
        self.code = process.returncode
        with suppress(ValueError, KeyError, TypeError):
            self.reports = json.loads(output)["sources"]

    def stop(self) -> None:
        """Ask it to finish its batch and end; once, because a second signal would not let it."""
        with self._lock:
            if not self._stopped and self._process is not None and self._process.poll() is None:
                self._process.terminate()
            self._stopped = True

    @property
    def ended_well(self) -> bool:
        return self.code in WELL

    @property
    def was_stopped(self) -> bool:
        """Whether it ended because it was asked to, though it may not have said so."""
        return self.code in STOPPED or (self._stopped and not self.ended_well)

    @property
    def error(self) -> str:
        """The last lines that it wrote on stderr, which say why it failed."""
        return "\n".join(self._errors)

    def _follow(self, stream: IO[str] | None) -> None:
        for line in stream or ():
            try:
                event = json.loads(line)
            except ValueError:
                self._errors.append(line.strip())
                continue
            if isinstance(event, dict) and event.get("event") == "progress":
                self.progress[event.pop("source")] = event

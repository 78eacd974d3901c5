"""`citewell ingest`: runs over several sources, their exit code, and how signals end them."""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from rag.boundary.exit_codes import ExitCode
from rag.errors import CitewellError, RunStopped, SourceBusy
from service.cli.terminal import ingest_progress, print_report
from service.syncing.background.schedule import Schedule
from service.syncing.report import Report
from service.syncing.run import Options
from service.syncing.syncer import Syncer
from service.wiring import Services

_WORST_FIRST = (ExitCode.FAILED, ExitCode.BUSY, ExitCode.QUARANTINE, ExitCode.DONE)
_ONE_SIGNAL_S = 1.0  # a supervisor may signal the process and its group, which is one request


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    full: bool = False
    dry_run: bool = False
    allow_mass_delete: bool = False
    retry: bool = False
    as_json: bool = False


def ingest_sources(syncer: Syncer, names: Sequence[str], request: Request) -> int:
    """Read sources one after another, print what was done, and give the exit code."""
    reports: list[dict[str, Any]] = []
    codes = {ExitCode.DONE}
    said = "" if request.as_json else "Finishing this batch; press again to stop now."
    with _stop_on_signal(said) as stop, ingest_progress(as_json=request.as_json) as progress:
        for name in names:  # one that fails does not keep the others from being read
            if stop.event.is_set():
                break
            report, code = _ingest_one(syncer, name, request, stop.event, progress)
            reports.append(report)
            codes.add(code)
    if request.as_json:
        print(json.dumps({"sources": reports}, ensure_ascii=False))
    if stop.number:
        return 128 + stop.number
    return next(code for code in _WORST_FIRST if code in codes)


def _ingest_one(
    syncer: Syncer, name: str, request: Request, stop: threading.Event, progress: Callable[[Report], None]
) -> tuple[dict[str, Any], ExitCode]:
    latest: dict[str, Any] = {"source": name}

    def note(report: Report) -> None:
        latest.update(report.as_dict())
        progress(report)

    outcome = _outcome(syncer, name, request, stop, note)
    if isinstance(outcome, Report):
        if not request.as_json:
            print_report(outcome)
        if outcome.error:
            print(f"Error: {outcome.error}", file=sys.stderr)
        return outcome.as_dict(), ExitCode.QUARANTINE if outcome.quarantined or outcome.error else ExitCode.DONE
    _tell(outcome)
    return latest | {"error": str(outcome)}, ExitCode.BUSY if isinstance(outcome, SourceBusy) else ExitCode.FAILED


def _outcome(
    syncer: Syncer, name: str, request: Request, stop: threading.Event, progress: Callable[[Report], None]
) -> Report | CitewellError:
    options = Options(
        full=request.full,
        dry_run=request.dry_run,
        allow_mass_delete=request.allow_mass_delete,
        retry=request.retry,
        stop=stop,
    )
    try:
        return syncer.sync(name, options, progress)
    except CitewellError as err:
        return err


def _tell(err: CitewellError) -> None:
    print(f"Error: {err}" if not isinstance(err, RunStopped) else str(err), file=sys.stderr)


def watch_sources(services: Services, names: Sequence[str]) -> int:
    """Read sources by their schedules, and folders as they change, until a signal."""
    told: dict[str, str] = {}  # what is still wrong with a source, which is told once
    with _stop_on_signal("Finishing the current runs; press again to stop now.") as stop:

        def sync(name: str) -> bool:
            outcome = _outcome(services.syncer, name, Request(), stop.event, lambda _: None)
            if isinstance(outcome, Report):
                print_report(outcome)
            elif told.get(name) != str(outcome):
                _tell(outcome)
            told[name] = "" if isinstance(outcome, Report) else str(outcome)
            return isinstance(outcome, Report)

        settings = services.settings
        schedule = Schedule(
            {name: settings.sources[name] for name in names},
            sync,
            root=settings.root,
            data_dir=settings.data_dir,
            note_next=services.overview().set_next_run,
            default_every_s=settings.ingest.every,
        )
        for name, plan in schedule.planned.items():
            print(f"{name}: {plan}", file=sys.stderr)
        schedule.start()
        stop.wait()
        schedule.stop()
    return ExitCode.DONE


@dataclass(slots=True, kw_only=True)
class _Stop:
    event: threading.Event
    woken: socket.socket
    number: int = 0
    at: float = 0.0

    def wait(self) -> None:
        """Sleep until a signal. A lock would do, were it certain that the system gives the signal to this thread."""
        while not self.event.is_set():
            self.woken.recv(1)


@contextmanager
def _stop_on_signal(said: str) -> Iterator[_Stop]:
    """The first SIGINT or SIGTERM sets an event, so that a run ends after its batch; a later one ends it at once.

    said: what is told at once, on stderr.
    """
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    stop = _Stop(event=threading.Event(), woken=woken)

    def handle(number: int, frame: object) -> None:
        if not stop.event.is_set():
            stop.number, stop.at = number, time.monotonic()
            stop.event.set()
            with suppress(OSError):  # whoever read it has gone
                os.write(2, f"{said}\n".encode() if said else b"")  # print may be under way already
        elif time.monotonic() - stop.at > _ONE_SIGNAL_S:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    waker_before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(waker_before)
        woken.close()
        waker.close()
        for number, handler in before.items():
            signal.signal(number, handler)

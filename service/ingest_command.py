"""`citewell ingest`: runs over several sources, their exit code, and how signals end them."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rag.errors import CitewellError, RunStopped, SourceBusy
from service.ingest import Report
from service.knowledge_base import KnowledgeBase
from service.schedule import Schedule
from service.terminal import ingest_progress, print_report

DONE, FAILED, QUARANTINE, BUSY = 0, 1, 3, 75
_ONE_SIGNAL_S = 1.0  # a supervisor may signal the process and its group, which is one request


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    full: bool = False
    dry_run: bool = False
    allow_mass_delete: bool = False
    retry: bool = False
    as_json: bool = False


def ingest_sources(kb: KnowledgeBase, names: Sequence[str], request: Request) -> int:
    """Read sources one after another, print what was done, and give the exit code."""
    reports: list[dict[str, Any]] = []
    codes = {DONE}
    with _stop_on_signal() as stop, ingest_progress(as_json=request.as_json) as progress:
        for name in names:  # one that fails does not keep the others from being read
            if stop.event.is_set():
                break
            report, code = _ingest_one(kb, name, request, stop.event, progress)
            reports.append(report)
            codes.add(code)
    if request.as_json:
        print(json.dumps({"sources": reports}, ensure_ascii=False))
    if stop.number:
        return 128 + stop.number
    return next(code for code in (FAILED, BUSY, QUARANTINE, DONE) if code in codes)


def _ingest_one(
    kb: KnowledgeBase, name: str, request: Request, stop: threading.Event, progress: Callable[[Report], None]
) -> tuple[dict[str, Any], int]:
    options = {"full": request.full, "dry_run": request.dry_run, "retry": request.retry}
    try:
        (report,) = kb.ingest(
            name, **options, allow_mass_delete=request.allow_mass_delete, stop=stop, progress=progress
        )
    except CitewellError as err:
        print(f"Error: {err}" if not isinstance(err, RunStopped) else str(err), file=sys.stderr)
        return {"source": name, "error": str(err)}, BUSY if isinstance(err, SourceBusy) else FAILED
    if not request.as_json:
        print_report(report)
    return report.as_dict(), QUARANTINE if report.quarantined else DONE


def watch_sources(kb: KnowledgeBase, names: Sequence[str]) -> int:
    """Read sources by their schedules, and folders as they change, until a signal."""
    chosen = {name: kb.settings.sources[name] for name in names}
    only = KnowledgeBase(kb.settings.model_copy(update={"sources": chosen}))
    with _stop_on_signal() as stop, only:

        def sync(name: str) -> bool:
            return _ingest_one(only, name, Request(), stop.event, lambda _: None)[1] in (DONE, QUARANTINE)

        schedule = Schedule(only, sync, default_every_s=kb.settings.ingest.every)
        for name, plan in schedule.planned.items():
            print(f"{name}: {plan}", file=sys.stderr)
        schedule.start()
        stop.event.wait()
        schedule.stop()
    return DONE


@dataclass(slots=True, kw_only=True)
class _Stop:
    event: threading.Event
    number: int = 0
    at: float = 0.0


@contextmanager
def _stop_on_signal() -> Iterator[_Stop]:
    """The first SIGINT or SIGTERM sets an event, so that a run ends after its batch; a later one ends it at once."""
    stop = _Stop(event=threading.Event())

    def handle(number: int, frame: object) -> None:
        if not stop.event.is_set():
            stop.number, stop.at = number, time.monotonic()
            stop.event.set()
        elif time.monotonic() - stop.at > _ONE_SIGNAL_S:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Keeps the index in step with a source.

The order of every batch makes a crash harmless: points are stored, then state and notes are committed together, then
the points that the batch made stale are deleted. Ids are deterministic, so a repeated step changes nothing. What a
broken run left half-done is made good when the next one begins (service/syncing/recovery.py).

Each table is a unit of its own: read, committed, and rid of what is gone before the next one, whatever becomes of that.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

from rag.errors import RunStopped, SourceError
from rag.events import SourceEvent
from rag.ports import Notes, Source
from service.syncing.batch.batches import FORMAT, in_batches
from service.syncing.batch.compare import index_batch
from service.syncing.batch.sorting import sort_events
from service.syncing.finish import end_unit
from service.syncing.recovery import find_difference, finish_recovery
from service.syncing.report import Report
from service.syncing.run import Options, Run, SyncParts
from service.syncing.threads import read_ahead

__all__ = ["Options", "Report", "ingest"]

_READ_AHEAD = 2  # batches


def ingest(
    parts: SyncParts, name: str, source: Source, options: Options, progress: Callable[[Report], None] = lambda _: None
) -> Report:
    """Bring the index in step with one source.

    A table that fails, or would lose too much, has its error in the report, and the others are brought in step. Raises
    SourceBusy when another run holds the source, SourceError when all of it failed (MassDeleteRefused when it would
    lose too much), RunStopped when it was stopped; what was committed before stays.
    """
    report = Report(source=name, dry_run=options.dry_run)
    started = time.perf_counter()
    with parts.ledger.lease(name) as lease:
        run = Run(parts=parts, lease=lease, options=options, report=report, progress=progress)
        status = "failed"
        try:
            _read(run, source.read(_prepare(run)))
            _raise_if_all_failed(run)
            status = "dry-run" if options.dry_run else "partial" if run.failures else "done"
        except BaseException as err:
            report.error = str(err) or type(err).__name__
            status = "stopped" if isinstance(err, RunStopped) else status
            raise
        finally:
            report.seconds = time.perf_counter() - started
            parts.ledger.finish(lease, status=status, report=report.as_dict())
    return report


def _prepare(run: Run) -> Notes:
    """Find what an earlier run left half-done, and begin anew where that has to be. Returns what the source gets."""
    ledger, lease, options = run.parts.ledger, run.lease, run.options
    fmt = f"{FORMAT}/{run.parts.max_tokens}"
    anew = options.full or ledger.format_of(lease.source) != fmt
    if not options.dry_run:
        found = find_difference(ledger, run.parts.index, lease)
        if found:
            run.report.notes.append(found)
        run.recovers = bool(found) or options.full
        run.writer.marks = not run.recovers
        if anew:
            ledger.start_format(lease, fmt)
        if options.retry:
            ledger.retry(lease.source)
    return ledger.notes(lease.source, ignore=anew)


def _read(run: Run, events: Iterator[SourceEvent]) -> None:
    """Take all that a source yields; it is read ahead, embedded in a thread, and written in another."""
    batches = in_batches(events, documents=run.parts.batch_documents, max_tokens=run.parts.max_tokens)
    try:
        with closing(read_ahead(batches, size=_READ_AHEAD, stop=run.options.stop)) as ahead:
            for batch in ahead:
                _take(run, batch)
        run.drain()
    finally:
        run.close()
    if run.recovers:
        finish_recovery(run.parts.ledger, run.parts.index, run.lease)
    run.report.quarantined = len(run.parts.ledger.quarantined(run.lease.source))


def _take(run: Run, events: list[SourceEvent]) -> None:
    batch = sort_events(run, events)
    index_batch(run, batch)
    if batch.end is not None:
        run.drain()
        end_unit(run, batch.end)
    run.tell()


def _raise_if_all_failed(run: Run) -> None:
    tables = run.report.tables
    run.report.error = "\n".join(f"{scope}: {err}" if scope else str(err) for scope, err in run.failures.items())
    if run.failures and all(table.error for table in tables):
        first = next(iter(run.failures.values()))
        raise first if len(run.failures) == 1 else SourceError(run.report.error)

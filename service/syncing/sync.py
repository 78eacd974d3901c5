"""Keeps the index in step with a source.

The order of every batch makes a crash harmless: points are stored, then state and notes are committed together, then
the points that the batch made stale are deleted. Ids are deterministic, so a repeated step changes nothing. What a
broken run left half-done is made good when the next one begins (service/syncing/recovery.py).

Each table is a unit of its own: read, committed, and rid of what is gone before the next one, whatever becomes of that.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

from rag.boundary.secrets import masked
from rag.documents import Document
from rag.errors import RunStopped, SourceError
from rag.events import (
    Checkpoint,
    CheckpointGroup,
    Expected,
    Listed,
    Listing,
    Met,
    Notice,
    Passed,
    ScopeComplete,
    ScopeFailed,
    SnapshotComplete,
    SourceEvent,
    Tombstone,
    Unreadable,
    Upsert,
)
from rag.ports import Source
from service.store.ports import Changes, StoredDocument
from service.syncing.finish import end_unit
from service.syncing.recovery import find_difference, finish_recovery
from service.syncing.report import Report
from service.syncing.run import Options, Run, SyncParts, count, report_unreadable
from service.syncing.store import index_documents
from service.syncing.threads import read_ahead

__all__ = ["Options", "Report", "ingest"]

_FORMAT = 3  # of a document's text and chunks; a change has every source read and compared anew
_BATCH_CHARS = 4_000_000
_BATCH_EVENTS = 2048


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
            _synchronise(run, source)
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


def _synchronise(run: Run, source: Source) -> None:
    ledger, lease = run.parts.ledger, run.lease
    fmt = f"{_FORMAT}/{run.parts.max_tokens}"
    anew = run.options.full or ledger.format_of(lease.source) != fmt
    if not run.options.dry_run:
        if found := find_difference(ledger, run.parts.index, lease):
            run.report.notes.append(found)
            run.recovers = True
        run.recovers = run.recovers or run.options.full
        if anew:
            ledger.start_format(lease, fmt)
        if run.options.retry:
            ledger.retry(lease.source)
    events = _batches(run, source.read(ledger.notes(lease.source, ignore=anew)))
    try:
        with closing(read_ahead(events, size=2, stop=run.options.stop)) as batches:
            for batch in batches:
                _take(run, batch)
        run.writer.drain()
    finally:
        run.writer.close()
    if run.recovers:
        finish_recovery(ledger, run.parts.index, lease)
    run.report.quarantined = len(ledger.quarantined(lease.source))


def _raise_if_all_failed(run: Run) -> None:
    tables = run.report.tables
    run.report.error = "\n".join(f"{scope}: {err}" if scope else str(err) for scope, err in run.failures.items())
    if run.failures and all(table.error for table in tables):
        first = next(iter(run.failures.values()))
        raise first if len(run.failures) == 1 else SourceError(run.report.error)


def _batches(run: Run, events: Iterator[SourceEvent]) -> Iterator[list[SourceEvent]]:
    """Events in groups of a bounded number of documents and characters, none over the end of a table.

    Documents get their version. What was read before an error is still given.
    """
    batch: list[SourceEvent] = []
    documents = chars = 0
    try:
        for event in events:
            if isinstance(event, Upsert):
                version = version_of(event.document, run.parts.max_tokens)
                event = replace(event, document=replace(event.document, version=version))
                documents += 1
                chars += len(event.document.text)
            batch.append(event)
            ends = isinstance(event, ScopeComplete | ScopeFailed | SnapshotComplete)
            if ends or documents >= run.parts.batch_documents or chars >= _BATCH_CHARS or len(batch) >= _BATCH_EVENTS:
                yield batch
                batch, documents, chars = [], 0, 0
    except SourceError:
        yield batch
        raise
    yield batch


def version_of(document: Document, max_tokens: int) -> str:
    """Hash of all that is stored of a document: when it is the same, nothing needs to be done."""
    content = [
        _FORMAT, max_tokens, document.title, document.text, document.uri, document.scope, document.kind,
        document.key_text,
        dict(document.primary_key) if document.primary_key is not None else None, document.tenant, document.acl,
        document.tags,
        dict(document.metadata),
        [(s.start, s.page, s.heading) for s in document.sections],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()[:32]


def _take(run: Run, batch: list[SourceEvent]) -> None:
    """Sort a batch's events: what can be committed with it, and what has to wait for the end of its table."""
    upserts: dict[str, Upsert] = {}
    unreadable: list[Unreadable] = []
    listings: list[str] = []
    resumed: list[str] = []
    met: list[str] = []
    checkpoints: list[Checkpoint] = []
    twins: list[tuple[Document, Upsert]] = []
    unit = run.unit
    end: ScopeComplete | ScopeFailed | SnapshotComplete | None = None
    for event in batch:
        match event:
            case Upsert():
                run.report.fetched += 1
                unit.fetched += 1
                first = upserts.get(event.document.id)
                if first is not None and event.document.scope in unit.listing:
                    twins.append((first.document, event))
                    continue
                upserts[event.document.id] = event
                unit.gone.pop(event.document.id, None)
            case Unreadable():
                unit.fetched += not event.ignored
                report_unreadable(run, event)
                if not event.ignored:
                    unreadable.append(event)
            case Checkpoint() | CheckpointGroup():
                parts = event.parts if isinstance(event, CheckpointGroup) else (event,)
                gone = [document_id for part in parts for document_id in part.gone]
                unit.gone |= dict.fromkeys(gone)
                (unit.deferred if gone or unit.waits else checkpoints).extend(parts)
            case Tombstone():
                unit.gone[event.document_id] = None
                unit.waits = True
                upserts.pop(event.document_id, None)
            case Listing():
                unit.listing.add(event.scope)
                unit.by_content = unit.by_content or event.by_content
                (resumed if event.resumes else listings).append(event.scope)
            case Met():
                met += event.document_ids
            case Listed():
                unit.listed.append(event)
            case Expected():
                run.report.expected += event.documents
                run.report.bytes_expected += event.size_bytes
            case Passed():
                run.report.bytes_read += event.size_bytes
            case Notice():
                run.report.notes.append(masked(event.text))
            case ScopeComplete() | ScopeFailed() | SnapshotComplete():
                end = event
    if run.report.bytes_read:
        run.report.expected = round(run.report.fetched * run.report.bytes_expected / run.report.bytes_read)
    changes = Changes(unreadable=unreadable, listings=listings, resumed=resumed, met=met, checkpoints=checkpoints)
    _compare(run, upserts, twins, changes)
    if end is not None:
        run.writer.drain()
        end_unit(run, end)
    run.progress(run.report)


def _compare(run: Run, upserts: dict[str, Upsert], twins: list[tuple[Document, Upsert]], changes: Changes) -> None:
    """Compare a batch with the state and index what changed. twins: each with the one that has its id already."""
    withdrawn = [event for event in changes.unreadable if event.withdrawn]
    ids = {*upserts, *(event.document_id for event in withdrawn)}
    for event in withdrawn:  # where a batch says two things of one id, nobody sees it
        if twin := upserts.pop(event.document_id, None):
            twins.append((twin.document, twin))
    if any(not ids.isdisjoint(flying) for flying in run.in_flight):
        run.writer.drain()  # the state must know the document's last version before it is compared with
        run.in_flight.clear()
    moved = [event.moved_from for event in upserts.values() if event.moved_from]
    known = run.parts.ledger.known(run.lease.source, [*upserts, *moved])
    run.unit.moved.update(known.keys() & moved)
    leaving = _leaving(run, withdrawn)
    again = [d for d in upserts if upserts[d].document.scope in run.unit.listing and _was_met(run, known.get(d), d)]
    twins += [(_first_of(run, known.get(d), d), upserts.pop(d)) for d in again]
    aside = [_set_aside(run, first, twin) for first, twin in twins]
    changed = [
        event
        for document_id, event in upserts.items()
        if run.options.full or document_id not in known or known[document_id].version != event.document.version
    ]
    names = {event.document.id for event in changed}
    count(run, added=sum(name not in known for name in names), updated=sum(name in known for name in names))
    run.unit.withdrawn += len(withdrawn)
    if run.options.dry_run:
        run.seen.update(upserts)
        return
    changes = replace(changes, withdrawn=list(leaving))
    unchanged = [document_id for document_id in upserts if document_id not in names]
    index_documents(
        run, changed, known | leaving, replace(changes, unchanged=unchanged, unreadable=[*changes.unreadable, *aside])
    )


def _leaving(run: Run, withdrawn: list[Unreadable]) -> dict[str, StoredDocument]:
    """The indexed documents of which nothing may stay, because nobody can say who may see them."""
    ledger, source = run.parts.ledger, run.lease.source
    if not withdrawn:
        return {}
    whole = [event.scope for event in withdrawn if event.document_id == event.scope]
    found = ledger.known(source, [event.document_id for event in withdrawn])
    return found | {d.document_id: d for scope in whole for d in ledger.of_scope(source, scope)}


def _was_met(run: Run, known: StoredDocument | None, document_id: str) -> bool:
    """Whether this run has met a document of this id before."""
    return document_id in run.seen or (known is not None and known.seen_run == run.lease.run)


def _first_of(run: Run, known: StoredDocument | None, document_id: str) -> Document:
    """The document of an id that was stored before, as far as it is kept; without its key where it has no points."""
    chunks = run.parts.index.chunks(known.chunk_ids[:1]) if known is not None else []
    return (
        chunks[0].document if chunks else Document(id=document_id, source=run.lease.source, title="", text="", uri="")
    )


def _set_aside(run: Run, first: Document, event: Upsert) -> Unreadable:
    """The second of two documents of one id: it is told, and not indexed in the first one's place."""
    document = event.document
    run.twins[document.id] += 1
    aside = Unreadable(
        document_id=f"{document.id}~{run.twins[document.id]}",
        scope=document.scope,
        reason="its id is that of another document, which keeps it: their keys are "
        f"{_key(first)} and {_key(document)}. Name columns in `key` that tell rows apart.",
    )
    report_unreadable(run, aside)
    return aside


def _key(document: Document) -> str:
    return f"{json.dumps(document.primary_key, ensure_ascii=False)} ({document.title})"

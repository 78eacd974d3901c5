"""Keeps the index in step with a source.

The order of every batch makes a crash harmless: points are stored, then state and notes are committed together, then
the points that the batch made stale are deleted. Ids are deterministic, so a repeated step changes nothing. What a
broken run left half-done is made good when the next one begins (service/recovery.py).
"""

import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from typing import Any

from indexes.qdrant import QdrantIndex
from rag.chunking import embedded_text, split
from rag.errors import EmbedderUnavailable, LeaseLost, MassDeleteRefused, RunStopped, SourceError
from rag.ports import Embedder, Source, SparseEncoder, TokenCounter
from rag.types import (
    Checkpoint,
    Chunk,
    Document,
    Expected,
    Listed,
    Listing,
    Note,
    Point,
    SnapshotComplete,
    SourceEvent,
    Tombstone,
    Unreadable,
    Upsert,
)
from service.pipeline import WriteBehind, read_ahead
from service.recovery import delete_orphans, find_difference
from service.state import Changes, Lease, State, StoredDocument

_FORMAT = 3  # of a document's text and chunks; a change has every source read and compared anew
_BATCH_CHUNKS = 512
_BATCH_CHARS = 4_000_000
_BATCH_EVENTS = 2048
_WRITE_BEHIND = 1


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run did; the counts are documents unless named otherwise.

    unchanged: documents that needed nothing, those too that were not read because nothing said that they changed.
    expected: about how many documents the run will read; 0 when the source does not say.
    """

    source: str
    read: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    expected: int = 0
    chunks_embedded: int = 0
    chunks_reused: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    error: str = ""
    unreadable: list[dict[str, str]] = field(default_factory=list)
    ignored: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    quarantined: int = 0  # documents set aside, by this run and by those before it

    def as_dict(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """The parts of an ingest, wired."""

    state: State
    index: QdrantIndex
    embedder: Embedder
    sparse: SparseEncoder
    counter: TokenCounter
    max_tokens: int
    mass_delete_share: float
    batch_documents: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    full: bool = False  # index every document again, changed or not
    dry_run: bool = False
    allow_mass_delete: bool = False
    retry: bool = False  # read the scopes of quarantined documents again, changed or not
    stop: threading.Event = field(default_factory=threading.Event)  # set: finish the batch and end


def ingest(
    parts: Ingest, name: str, source: Source, options: Options, progress: Callable[[Report], None] = lambda _: None
) -> Report:
    """Bring the index in step with one source.

    Raises SourceBusy when another run holds it, SourceError when it cannot be read, MassDeleteRefused when it would
    lose too much, RunStopped when it was stopped; what was committed before stays.
    """
    report = Report(source=name, dry_run=options.dry_run)
    started = time.perf_counter()
    with parts.state.lease(name) as lease:
        run = _Run(parts=parts, lease=lease, options=options, report=report, progress=progress)
        status = "failed"
        try:
            _synchronise(run, source)
            status = "dry-run" if options.dry_run else "done"
        except BaseException as err:
            report.error = str(err) or type(err).__name__
            status = "stopped" if isinstance(err, RunStopped) else status
            raise
        finally:
            report.seconds = time.perf_counter() - started
            parts.state.finish(lease, status=status, report=report.as_dict())
    return report


@dataclass(slots=True, kw_only=True)
class _Run:
    """A run under way. `kept`: scopes that could not be read whole; nothing of them is deleted."""

    parts: Ingest
    lease: Lease
    options: Options
    report: Report
    progress: Callable[[Report], None]
    writer: WriteBehind = field(default_factory=lambda: WriteBehind(size=_WRITE_BEHIND))
    in_flight: deque[set[str]] = field(default_factory=lambda: deque(maxlen=2 * _WRITE_BEHIND))
    kept: set[str] = field(default_factory=set)
    listed: list[Listed] = field(default_factory=list)
    recovers: bool = False  # from a run that was broken off
    moved: set[str] = field(default_factory=set)  # ids that documents had before; that they go is no loss
    gone: dict[str, None] = field(default_factory=dict)
    deferred: list[Checkpoint] = field(default_factory=list)
    uncommitted: dict[str, str] = field(default_factory=dict)  # points stored since the last commit, and their document
    complete: SnapshotComplete | None = None
    seen: set[str] = field(default_factory=set)  # in a dry run only, where the state is not written


def _synchronise(run: _Run, source: Source) -> None:
    state, lease = run.parts.state, run.lease
    documents_before = state.counts(lease.source)[0]
    fmt = f"{_FORMAT}/{run.parts.max_tokens}"
    anew = run.options.full or state.format_of(lease.source) != fmt
    if not run.options.dry_run:
        if found := find_difference(state, run.parts.index, lease):
            run.report.notes.append(found)
            run.recovers = True
        if anew:
            state.start_format(lease, fmt)
        if run.options.retry:
            state.retry(lease.source)
    events = _batches(run, source.read(state.cursor(lease.source, ignore=anew)))
    try:
        with closing(read_ahead(events, size=2, stop=run.options.stop)) as batches:
            for batch in batches:
                _take(run, batch)
        run.writer.drain()
    finally:
        run.writer.close()
    if run.complete is not None:
        _delete_gone(run, run.complete)
    if run.recovers:
        delete_orphans(state, run.parts.index, lease)
    run.report.quarantined = len(state.quarantined(lease.source))
    known_before = run.report.updated + run.report.deleted
    run.report.unchanged = max(documents_before - known_before, 0)


def _batches(run: _Run, events: Iterator[SourceEvent]) -> Iterator[list[SourceEvent]]:
    """Events in groups of a bounded number of documents and characters; documents get their version."""
    batch: list[SourceEvent] = []
    documents = chars = 0
    for event in events:
        if isinstance(event, Upsert):
            version = version_of(event.document, run.parts.max_tokens)
            event = replace(event, document=replace(event.document, version=version))
            documents += 1
            chars += len(event.document.text)
        batch.append(event)
        if documents >= run.parts.batch_documents or chars >= _BATCH_CHARS or len(batch) >= _BATCH_EVENTS:
            yield batch
            batch, documents, chars = [], 0, 0
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


def _take(run: _Run, batch: list[SourceEvent]) -> None:
    """Sort a batch's events: what can be committed with it, and what has to wait for the end of the read."""
    upserts: dict[str, Upsert] = {}
    unreadable: list[Unreadable] = []
    listings: list[str] = []
    checkpoints: list[Checkpoint] = []
    for event in batch:
        match event:
            case Upsert():
                run.report.read += 1
                upserts[event.document.id] = event
                run.gone.pop(event.document.id, None)
            case Unreadable():
                _report_unreadable(run, event)
                if not event.ignored:
                    unreadable.append(event)
            case Checkpoint():
                if event.gone:
                    run.gone |= dict.fromkeys(event.gone)
                    run.deferred.append(event)
                else:
                    checkpoints.append(event)
            case Tombstone():
                run.gone[event.document_id] = None
                upserts.pop(event.document_id, None)
            case Listing():
                if not event.resumes:
                    listings.append(event.scope)
            case Listed():
                run.listed.append(event)
            case Expected():
                run.report.expected += event.documents
            case Note():
                run.report.notes.append(event.text)
            case SnapshotComplete():
                run.complete = event
    changes = Changes(unreadable=unreadable, listings=listings, checkpoints=checkpoints)
    _compare(run, upserts, changes)
    run.progress(run.report)


def _report_unreadable(run: _Run, event: Unreadable) -> None:
    entry = {"document_id": event.document_id, "reason": event.reason}
    (run.report.ignored if event.ignored else run.report.unreadable).append(entry)
    if not event.ignored and event.document_id == event.scope:
        run.kept.add(event.scope)


def _compare(run: _Run, upserts: dict[str, Upsert], changes: Changes) -> None:
    """Compare a batch with the state and index what changed."""
    if any(not ids.isdisjoint(upserts) for ids in run.in_flight):
        run.writer.drain()  # the state must know the document's last version before it is compared with
        run.in_flight.clear()
    moved = [event.moved_from for event in upserts.values() if event.moved_from]
    run.moved.update(moved)
    known = run.parts.state.known(run.lease.source, [*upserts, *moved])
    changed = [
        event
        for document_id, event in upserts.items()
        if run.options.full or document_id not in known or known[document_id].version != event.document.version
    ]
    names = {event.document.id for event in changed}
    run.report.added += sum(name not in known for name in names)
    run.report.updated += sum(name in known for name in names)
    if run.options.dry_run:
        run.seen.update(upserts)
        return
    unchanged = [document_id for document_id in upserts if document_id not in names]
    _index(run, changed, known, replace(changes, unchanged=unchanged))


def _index(run: _Run, changed: list[Upsert], known: dict[str, StoredDocument], changes: Changes) -> None:
    """Split, embed and store; the last part of the batch is committed with all else that the batch says."""
    group: list[tuple[Upsert, list[Chunk]]] = []
    size = 0
    for event in changed:
        chunks = split(event.document, run.parts.counter, max_tokens=run.parts.max_tokens)
        group.append((event, chunks))
        size += len(chunks)
        if size >= _BATCH_CHUNKS:
            _store(run, group, known, Changes(listings=changes.listings))
            changes = replace(changes, listings=())
            group, size = [], 0
    _store(run, group, known, changes)


def _store(
    run: _Run, group: list[tuple[Upsert, list[Chunk]]], known: dict[str, StoredDocument], changes: Changes
) -> None:
    """Embed a group and hand it to the writer: upsert, commit, delete the stale, in this order."""
    chunks = [chunk for _, document_chunks in group for chunk in document_chunks]
    vectors = _Vectors(run, group, known)
    refused: dict[str, str] = {}
    points: list[Point] = []
    size = max(run.parts.batch_documents // 2, 1)  # one is embedded, one written: a crash loses a batch of embeddings
    for start in range(0, len(chunks), size):
        if points:
            run.writer.submit(lambda points=points: _upsert(run, points))  # type: ignore[misc]
        points = vectors.points(chunks[start : start + size], refused)
        run.progress(run.report)
    stored = [
        StoredDocument(
            document_id=event.document.id,
            scope=event.document.scope,
            version=event.document.version,
            chunk_ids=tuple(chunk.id for chunk in document_chunks),
        )
        for event, document_chunks in group
        if event.document.id not in refused
    ]
    scopes = {event.document.id: event.document.scope for event, _ in group}
    aside = [Unreadable(document_id=d, scope=scopes[d], reason=reason) for d, reason in refused.items()]
    for event in aside:
        _report_unreadable(run, event)
    changes = replace(changes, changed=stored, unreadable=[*changes.unreadable, *aside])
    stale = _stale(group, known, refused)
    run.in_flight.append(set(scopes))
    run.writer.submit(lambda: _commit(run, points, changes, stale))


def _stale(
    group: list[tuple[Upsert, list[Chunk]]], known: dict[str, StoredDocument], refused: dict[str, str]
) -> list[str]:
    """Points that the group's documents have no more; of a document set aside, those that it has just got."""
    stale: set[str] = set()
    for event, chunks in group:
        old = set(known[event.document.id].chunk_ids) if event.document.id in known else set()
        new = {chunk.id for chunk in chunks}
        stale |= new - old if event.document.id in refused else old - new
    return sorted(stale)


def _upsert(run: _Run, points: list[Point]) -> None:
    if not points:
        return
    try:
        run.parts.state.renew(run.lease)  # a run that was taken over writes nothing more
    except LeaseLost:
        _undo(run)
        raise
    run.parts.index.upsert(points)
    run.uncommitted |= {point.chunk.id: point.chunk.document.id for point in points}


def _commit(run: _Run, points: list[Point], changes: Changes, stale: list[str]) -> None:
    _upsert(run, points)
    try:
        run.parts.state.commit(run.lease, changes)
    except LeaseLost:
        _undo(run)
        raise
    run.uncommitted.clear()
    if stale:
        run.parts.index.delete(stale)


def _undo(run: _Run) -> None:
    """Take back points that this run stored and cannot commit, because another one took the source over."""
    known = run.parts.state.known(run.lease.source, sorted(set(run.uncommitted.values())))
    kept = {chunk_id for document in known.values() for chunk_id in document.chunk_ids}
    orphans = run.uncommitted.keys() - kept
    if orphans:
        run.parts.index.delete(sorted(orphans))


class _Vectors:
    """Makes the points of a group; text that is embedded already, under any id, is not embedded again."""

    def __init__(self, run: _Run, group: list[tuple[Upsert, list[Chunk]]], known: dict[str, StoredDocument]) -> None:
        self._run = run
        before = {event.document.id for event, _ in group} | {event.moved_from for event, _ in group}
        old = [chunk_id for document_id in before if document_id in known for chunk_id in known[document_id].chunk_ids]
        if run.recovers:  # a broken run may have stored points that it did not come to commit
            old += [chunk.id for _, chunks in group for chunk in chunks]
        self._dense = run.parts.index.embedded(old) if old and not run.options.full else {}

    def points(self, chunks: Sequence[Chunk], refused: dict[str, str]) -> list[Point]:
        """Points of chunks; documents whose text the embedder refuses are added to refused, with the reason."""
        parts, report = self._run.parts, self._run.report
        texts = [embedded_text(chunk.context, chunk.text) for chunk in chunks]
        new = [text for text in dict.fromkeys(texts) if text not in self._dense]
        failures: dict[str, str] = {}
        made = dict(zip(new, _embed(parts.embedder, new, failures), strict=True))
        dense = {**self._dense, **{text: vector for text, vector in made.items() if vector is not None}}
        report.chunks_embedded += len(new) - len(failures)
        report.chunks_reused += sum(text not in made for text in texts)
        for chunk, text in zip(chunks, texts, strict=True):
            if text in failures:
                refused.setdefault(chunk.document.id, failures[text])
        kept = [(c, t) for c, t in zip(chunks, texts, strict=True) if c.document.id not in refused]
        # A row's title holds its table and key ('Invoice 5'), which people ask for by name; a file's is in its context.
        titles = [chunk.document.title if chunk.document.kind == "row" else "" for chunk, _ in kept]
        sparse = parts.sparse.encode([f"{title}\n{text}" for title, (_, text) in zip(titles, kept, strict=True)])
        return [Point(chunk=c, dense=dense[t], sparse=s) for (c, t), s in zip(kept, sparse, strict=True)]


def _embed(embedder: Embedder, texts: Sequence[str], failures: dict[str, str]) -> list[list[float] | None]:
    """Vectors of texts; None, and a reason in failures, for one that the embedder refuses however it is asked."""
    if not texts:
        return []
    try:
        return [vector.tolist() for vector in embedder.embed(texts)]
    except EmbedderUnavailable:
        raise
    except Exception as err:  # noqa: BLE001 whatever a text does to an embedder; the other texts go on
        if len(texts) == 1:
            failures[texts[0]] = f"its text cannot be embedded: {type(err).__name__}: {err}"[:500]
            return [None]
    middle = len(texts) // 2
    return [*_embed(embedder, texts[:middle], failures), *_embed(embedder, texts[middle:], failures)]


def _delete_gone(run: _Run, complete: SnapshotComplete) -> None:
    """Delete what the source does not have any more. Stops when that is a whole table, or too much of the source."""
    state, lease = run.parts.state, run.lease
    missing = _missing_scopes(run, complete)
    gone = {d.document_id: d for d in _unmet(run, complete) if d.scope not in run.kept}
    gone |= {d.document_id: d for scope in missing for d in state.of_scope(lease.source, scope)}
    gone |= state.known(lease.source, list(run.gone))
    gone = {document_id: d for document_id, d in gone.items() if document_id not in run.seen}
    total = max(state.counts(lease.source)[0], len(gone))
    lost = len(gone.keys() - run.moved)
    if lost > run.parts.mass_delete_share * total and not run.options.allow_mass_delete:
        raise MassDeleteRefused(
            f"Source {lease.source!r}: {lost} of its {total} indexed documents are gone, more than "
            f"{run.parts.mass_delete_share:.0%}. Nothing was deleted. If that is right, run "
            f"`citewell ingest {lease.source} --allow-mass-delete`."
        )
    _remove(run, list(gone.values()))
    if run.options.dry_run:
        return
    state.remove(lease, [document_id for document_id in run.gone if document_id not in gone])  # only quarantined
    state.commit(lease, Changes(checkpoints=run.deferred))
    state.read_anew(lease)
    state.listed(lease, [listed for listed in run.listed if listed.scope not in run.kept])
    unreadable_only = state.quarantined_scopes(lease.source) - complete.scopes - run.kept
    state.drop_scope_notes(lease, {*missing, *unreadable_only})
    if not complete.changes_only:
        state.clear_quarantine(lease)


def _missing_scopes(run: _Run, complete: SnapshotComplete) -> list[str]:
    """Scopes that were indexed and are not there any more. Raises SourceError where that cannot be right."""
    missing = sorted(run.parts.state.scopes(run.lease.source) - complete.scopes - run.kept)
    if missing and complete.fixed_scopes and not run.options.allow_mass_delete:
        raise SourceError(
            f"Source {run.lease.source!r}: {', '.join(missing)} was indexed before and is not read now (dropped, "
            "renamed, or taken out of the configuration?). The index keeps its rows. If they should go, run "
            f"`citewell ingest {run.lease.source} --allow-mass-delete`."
        )
    return missing


def _unmet(run: _Run, complete: SnapshotComplete) -> list[StoredDocument]:
    """Documents that a whole read of their scope did not meet."""
    state, lease = run.parts.state, run.lease
    if not complete.changes_only:
        return state.unseen(lease)
    unmet = [d for listed in run.listed for d in state.unlisted(lease, listed.scope)]
    return unmet + state.left_over(lease)


def _remove(run: _Run, gone: list[StoredDocument]) -> None:
    """Points first: a crash in between leaves documents without points, which the next run puts right."""
    run.report.deleted += len(gone)
    if run.options.dry_run:
        return
    for start in range(0, len(gone), run.parts.batch_documents):
        part = gone[start : start + run.parts.batch_documents]
        run.parts.state.renew(run.lease)
        ids = [chunk_id for document in part for chunk_id in document.chunk_ids]
        if ids:
            run.parts.index.delete(ids)
        run.parts.state.remove(run.lease, [document.document_id for document in part])
    run.progress(run.report)

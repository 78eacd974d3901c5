"""Keeps the index in step with a source.

The order of every batch makes a crash harmless: points are stored, then the state is committed, then the points that
the batch made stale are deleted. Ids are deterministic, so a repeated step changes nothing.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from indexes.qdrant import QdrantIndex
from rag.chunking import split
from rag.errors import MassDeleteRefused, SourceError
from rag.ports import Embedder, Source, SparseEncoder, TokenCounter
from rag.types import Chunk, Document, Point, SnapshotComplete, Tombstone, Unreadable, Upsert
from service.state import Lease, State, StoredDocument

_FORMAT = 1  # of a document's text and chunks; a change re-indexes everything
_BATCH_DOCUMENTS = 512
_BATCH_CHUNKS = 512


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run did; the counts are documents unless named otherwise."""

    source: str
    read: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    chunks_embedded: int = 0
    chunks_reused: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    error: str = ""
    unreadable: list[dict[str, str]] = field(default_factory=list)
    ignored: list[dict[str, str]] = field(default_factory=list)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    full: bool = False  # index every document again, changed or not
    dry_run: bool = False
    allow_mass_delete: bool = False


def ingest(
    parts: Ingest, name: str, source: Source, options: Options, progress: Callable[[Report], None] = lambda _: None
) -> Report:
    """Bring the index in step with one source.

    Raises SourceBusy when another run holds it, SourceError when it cannot be read, MassDeleteRefused when it would
    lose too much; what was committed before stays.
    """
    report = Report(source=name, dry_run=options.dry_run)
    started = time.perf_counter()
    with parts.state.lease(name) as lease:
        run = _Run(parts=parts, lease=lease, options=options, report=report, progress=progress)
        status = "failed"
        try:
            _read(run, source)
            status = "done"
        except BaseException as err:
            report.error = str(err) or type(err).__name__
            raise
        finally:
            report.seconds = time.perf_counter() - started
            parts.state.finish(lease, status="dry-run" if options.dry_run else status, report=report.as_dict())
    return report


@dataclass(slots=True, kw_only=True)
class _Run:
    parts: Ingest
    lease: Lease
    options: Options
    report: Report
    progress: Callable[[Report], None]
    pending: list[Document] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)  # scopes that could not be read whole: nothing of them is deleted
    seen: set[str] = field(default_factory=set)  # in a dry run only, where the state is not written


def _read(run: _Run, source: Source) -> None:
    complete: SnapshotComplete | None = None
    for event in source.read():
        match event:
            case Upsert():
                run.report.read += 1
                run.pending.append(replace(event.document, version=version_of(event.document, run.parts.max_tokens)))
                if len(run.pending) >= _BATCH_DOCUMENTS:
                    _flush(run)
            case Unreadable():
                _set_aside(run, event)
            case Tombstone():
                _flush(run)
                _remove(run, list(run.parts.state.known(run.lease.source, [event.document_id]).values()))
            case SnapshotComplete():
                complete = event
    _flush(run)
    if complete is not None:
        _delete_gone(run, complete)


def version_of(document: Document, max_tokens: int) -> str:
    """Hash of all that is stored of a document: when it is the same, nothing needs to be done."""
    content = [
        _FORMAT, max_tokens, document.title, document.text, document.uri, document.scope, document.kind,
        document.key_text,
        dict(document.primary_key) if document.primary_key is not None else None, document.tenant, document.acl,
        [(s.start, s.page, s.heading) for s in document.sections],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()[:32]


def _set_aside(run: _Run, event: Unreadable) -> None:
    entry = {"document_id": event.document_id, "reason": event.reason}
    (run.report.ignored if event.ignored else run.report.unreadable).append(entry)
    if event.ignored:
        return
    run.kept.add(event.scope)
    if not run.options.dry_run:
        run.parts.state.quarantine(run.lease, event.document_id, event.reason)


def _flush(run: _Run) -> None:
    """Compare a batch with the state, index what changed, commit."""
    pending = list({document.id: document for document in run.pending}.values())
    run.pending.clear()
    if not pending:
        return
    known = run.parts.state.known(run.lease.source, [document.id for document in pending])
    changed = [d for d in pending if run.options.full or d.id not in known or known[d.id].version != d.version]
    unchanged = [d.id for d in pending if d.id in known and known[d.id].version == d.version and not run.options.full]
    run.report.unchanged += len(unchanged)
    run.report.added += sum(document.id not in known for document in changed)
    run.report.updated += sum(document.id in known for document in changed)
    if run.options.dry_run:
        run.seen.update(document.id for document in pending)
    else:
        _index(run, changed, known, unchanged)
    run.progress(run.report)


def _index(run: _Run, changed: list[Document], known: dict[str, StoredDocument], unchanged: list[str]) -> None:
    batch: list[tuple[Document, list[Chunk]]] = []
    size = 0
    for document in changed:
        chunks = split(document, run.parts.counter, max_tokens=run.parts.max_tokens)
        batch.append((document, chunks))
        size += len(chunks)
        if size >= _BATCH_CHUNKS:
            _store(run, batch, known, [])
            batch, size = [], 0
    _store(run, batch, known, unchanged)


def _store(
    run: _Run, batch: list[tuple[Document, list[Chunk]]], known: dict[str, StoredDocument], unchanged: list[str]
) -> None:
    """Upsert, commit, delete the stale: in this order."""
    chunks = [chunk for _, document_chunks in batch for chunk in document_chunks]
    old = {chunk_id for document, _ in batch if document.id in known for chunk_id in known[document.id].chunk_ids}
    for start in range(0, len(chunks), _BATCH_CHUNKS):
        run.parts.index.upsert(_points(run, chunks[start : start + _BATCH_CHUNKS], old))
        run.progress(run.report)
    stored = [
        StoredDocument(
            document_id=d.id, scope=d.scope, version=d.version, chunk_ids=tuple(c.id for c in document_chunks)
        )
        for d, document_chunks in batch
    ]
    run.parts.state.commit(run.lease, stored, unchanged)
    stale = old - {chunk.id for chunk in chunks}
    if stale:
        run.parts.index.delete(sorted(stale))


def _points(run: _Run, chunks: Sequence[Chunk], old: set[str]) -> list[Point]:
    """Vectors for chunks; those whose very text is stored already are taken from the index."""
    reusable = [] if run.options.full else [chunk.id for chunk in chunks if chunk.id in old]
    dense = run.parts.index.dense_vectors(reusable) if reusable else {}
    texts = [f"{chunk.context}\n{chunk.text}".strip() for chunk in chunks]
    new = [i for i, chunk in enumerate(chunks) if chunk.id not in dense]
    vectors: Any = run.parts.embedder.embed([texts[i] for i in new]) if new else []
    dense |= {chunks[i].id: vector.tolist() for i, vector in zip(new, vectors, strict=True)}
    run.report.chunks_embedded += len(new)
    run.report.chunks_reused += len(chunks) - len(new)
    # A row's title holds its table and key ('Invoice 5'), which people ask for by name; a file's context holds its own.
    titles = [chunk.document.title if chunk.document.kind == "row" else "" for chunk in chunks]
    sparse = run.parts.sparse.encode([f"{title}\n{text}" for title, text in zip(titles, texts, strict=True)])
    return [Point(chunk=c, dense=dense[c.id], sparse=s) for c, s in zip(chunks, sparse, strict=True)]


def _delete_gone(run: _Run, complete: SnapshotComplete) -> None:
    """Delete what a complete read did not have. Stops when that is a whole table, or too much of the source."""
    gone = [d for d in run.parts.state.unseen(run.lease) if d.document_id not in run.seen and d.scope not in run.kept]
    total = run.report.unchanged + run.report.updated + len(gone)
    if complete.fixed_scopes and not run.options.allow_mass_delete:
        missing = sorted({document.scope for document in gone} - complete.scopes)
        if missing:
            raise SourceError(
                f"Source {run.lease.source!r}: {', '.join(missing)} was indexed before and is not read now (dropped, "
                "renamed, or taken out of the configuration?). The index keeps its rows. If they should go, run "
                f"`citewell ingest {run.lease.source} --allow-mass-delete`."
            )
    if len(gone) > run.parts.mass_delete_share * total and not run.options.allow_mass_delete:
        raise MassDeleteRefused(
            f"Source {run.lease.source!r}: {len(gone)} of its {total} indexed documents are gone, more than "
            f"{run.parts.mass_delete_share:.0%}. Nothing was deleted. If that is right, run "
            f"`citewell ingest {run.lease.source} --allow-mass-delete`."
        )
    _remove(run, gone)


def _remove(run: _Run, gone: list[StoredDocument]) -> None:
    """Points first: a crash in between leaves documents without points, which the next run removes again."""
    run.report.deleted += len(gone)
    if run.options.dry_run:
        return
    for start in range(0, len(gone), _BATCH_DOCUMENTS):
        part = gone[start : start + _BATCH_DOCUMENTS]
        run.parts.state.renew(run.lease)
        ids = [chunk_id for document in part for chunk_id in document.chunk_ids]
        if ids:
            run.parts.index.delete(ids)
        run.parts.state.remove(run.lease, [document.document_id for document in part])
    run.progress(run.report)

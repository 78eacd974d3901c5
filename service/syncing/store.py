"""Documents become points and a commit: upsert, commit, delete the stale, mark, in this order."""

from collections.abc import Sequence
from dataclasses import replace

from rag.chunking import chunk_id, split
from rag.documents import Chunk, Point
from rag.errors import LeaseLost
from rag.events import Unreadable, Upsert
from service.store.ports import Changes, Moved, StoredDocument
from service.syncing.recovery import new_generation
from service.syncing.run import Run, count, report_unreadable
from service.syncing.vectors import Vectors

_BATCH_CHUNKS = 512


def index_documents(run: Run, changed: list[Upsert], known: dict[str, StoredDocument], changes: Changes) -> None:
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
    run: Run, group: list[tuple[Upsert, list[Chunk]]], known: dict[str, StoredDocument], changes: Changes
) -> None:
    """Embed a group and hand it to the writer: upsert, commit, delete the stale, in this order."""
    chunks = [chunk for _, document_chunks in group for chunk in document_chunks]
    vectors = _vectors(run, group, known)
    refused = vectors.refused
    points: list[Point] = []
    size = max(run.parts.batch_documents // 2, 1)  # one is embedded, one written: a crash loses a batch of embeddings
    for start in range(0, len(chunks), size):
        if points:
            run.writer.submit(lambda points=points: _upsert(run, points))  # type: ignore[misc]
        embedded, reused = vectors.embedded, vectors.reused
        points = vectors.points(chunks[start : start + size])
        run.report.chunks_embedded += vectors.embedded - embedded
        run.report.chunks_reused += vectors.reused - reused
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
        report_unreadable(run, event)
        before = event.document_id in known
        count(run, added=-(not before), updated=-before)
    moved = [chunk for event, kept in group if event.moved_from in known for chunk in _moved(event, kept)]
    changes = replace(changes, changed=stored, unreadable=[*changes.unreadable, *aside], moved=moved)
    closed = _closed(run, group, known, refused)
    changes = replace(changes, withdrawn=[*changes.withdrawn, *closed])
    leaving = {chunk for document_id in changes.withdrawn for chunk in known[document_id].chunk_ids}
    stale = sorted({*_stale(group, known, refused), *leaving})
    run.in_flight.append(set(scopes))
    run.writer.submit(lambda: _commit(run, points, changes, stale))


def _vectors(run: Run, group: list[tuple[Upsert, list[Chunk]]], known: dict[str, StoredDocument]) -> Vectors:
    """What makes a group's points, with the vectors that its documents have already."""
    before = {event.document.id for event, _ in group} | {event.moved_from for event, _ in group}
    old = [chunk for document_id in before if document_id in known for chunk in known[document_id].chunk_ids]
    if run.recovers:  # a broken run may have stored points that it did not come to commit
        old += [chunk.id for _, chunks in group for chunk in chunks]
    stored = run.parts.index.embedded(old) if old and not run.options.full else {}
    return Vectors(embedder=run.parts.embedder, sparse=run.parts.sparse, stored=stored)


def _moved(event: Upsert, chunks: Sequence[Chunk]) -> list[Moved]:
    """Where the chunks of a document that got another id were, where their text is the same."""
    document = event.document
    return [
        Moved(old=chunk_id(document.source, event.moved_from, chunk), new=chunk.id, document_id=document.id)
        for chunk in chunks
    ]


def _closed(
    run: Run, group: list[tuple[Upsert, list[Chunk]]], known: dict[str, StoredDocument], refused: dict[str, str]
) -> list[str]:
    """Documents set aside that others may see now than those who could see what is indexed of them."""
    closed = []
    for event, _ in group:
        before, now = known.get(event.document.id), event.document
        if now.id in refused and before is not None and before.chunk_ids:
            stored = run.parts.index.chunks(before.chunk_ids[:1])
            if any((c.document.tenant, c.document.acl) != (now.tenant, now.acl) for c in stored):
                closed.append(now.id)
    return closed


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


def _upsert(run: Run, points: list[Point]) -> None:
    if not points:
        return
    try:
        run.parts.ledger.renew(run.lease)  # a run that was taken over writes nothing more
    except LeaseLost:
        _undo(run)
        raise
    run.parts.index.upsert(points)
    run.uncommitted |= {point.chunk.id: point.chunk.document.id for point in points}


def _commit(run: Run, points: list[Point], changes: Changes, stale: list[str]) -> None:
    _upsert(run, points)
    generation = new_generation() if run.uncommitted or stale else ""
    try:
        run.parts.ledger.commit(run.lease, replace(changes, generation=generation))
    except LeaseLost:
        _undo(run)
        raise
    run.uncommitted.clear()
    if stale:
        run.parts.index.delete(stale)
    mark(run, generation)


def mark(run: Run, generation: str) -> None:
    """Say in the index that it has what belongs to a commit; while it is being made good, only the end of that does."""
    if generation and not run.recovers:
        run.parts.index.mark(run.lease.source, generation)


def _undo(run: Run) -> None:
    """Take back points that this run stored and cannot commit, because another one took the source over."""
    known = run.parts.ledger.known(run.lease.source, sorted(set(run.uncommitted.values())))
    kept = {chunk_id for document in known.values() for chunk_id in document.chunk_ids}
    orphans = run.uncommitted.keys() - kept
    if orphans:
        run.parts.index.delete(sorted(orphans))


def remove(run: Run, gone: list[StoredDocument]) -> None:
    """Points first: a crash in between leaves documents without points, which the next run puts right."""
    run.report.deleted += len(gone)
    if run.options.dry_run:
        return
    for start in range(0, len(gone), run.parts.batch_documents):
        part = gone[start : start + run.parts.batch_documents]
        run.parts.ledger.renew(run.lease)
        ids = [chunk for document in part for chunk in document.chunk_ids]
        if ids:
            run.parts.index.delete(ids)
        generation = new_generation()
        run.parts.ledger.remove(run.lease, [document.document_id for document in part], generation=generation)
        mark(run, generation)
    run.progress(run.report)

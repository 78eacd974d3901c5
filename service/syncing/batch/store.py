"""Documents become points: split, embedded with the vectors that there are, and handed to the writer with a commit."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rag.chunking import chunk_id, dense_text, split
from rag.documents import Chunk, Document, Point
from rag.events import Unreadable, Upsert
from service.store.ledger.ports import Changes, Moved, StoredDocument
from service.syncing.batch.vectors import Vectors
from service.syncing.run import Run, count, report_unreadable

_BATCH_CHUNKS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """A document that is indexed, and its chunks. moved_from: as of `Upsert`."""

    document: Document
    moved_from: str
    chunks: Sequence[Chunk]

    @property
    def id(self) -> str:
        return self.document.id


_Known = Mapping[str, StoredDocument]


def index_documents(run: Run, changed: Sequence[Upsert], known: _Known, changes: Changes) -> None:
    """Split, embed and store; the last part of the batch is committed with all else that the batch says."""
    group: list[_Split] = []
    size = 0
    for event in changed:
        chunks = split(event.document, run.parts.counter, max_tokens=run.parts.max_tokens)
        group.append(_Split(document=event.document, moved_from=event.moved_from, chunks=chunks))
        size += len(chunks)
        if size >= _BATCH_CHUNKS:
            _submit(run, group, known, Changes(listings=changes.listings))
            changes = replace(changes, listings=())
            group, size = [], 0
    _submit(run, group, known, changes)


def _submit(run: Run, group: Sequence[_Split], known: _Known, changes: Changes) -> None:
    """Have a group embedded and stored, behind those before it, while the next one is read and split."""
    run.embedding.submit(lambda: _store(run, group, known, changes), about={each.id for each in group})


def _store(run: Run, group: Sequence[_Split], known: _Known, changes: Changes) -> None:
    """Embed a group and hand it to the writer, with what is committed with it and the points that are stale then."""
    vectors = _vectors(run, group, known)
    last = _embed(run, [chunk for each in group for chunk in each.chunks], vectors)
    refused = vectors.refused
    aside = _set_aside(run, group, known, refused)
    changes = replace(
        changes,
        changed=[_stored(each) for each in group if each.id not in refused],
        unreadable=[*changes.unreadable, *aside],
        moved=[chunk for each in group if each.moved_from in known for chunk in _moved(each)],
        withdrawn=[*changes.withdrawn, *_closed(run, group, known, refused)],
    )
    leaving = {chunk for document_id in changes.withdrawn for chunk in known[document_id].chunk_ids}
    stale = sorted({*_stale(group, known, refused), *leaving})
    run.writing.submit(lambda: run.writer.commit(last(), changes, stale), about={each.id for each in group})


def _vectors(run: Run, group: Sequence[_Split], known: _Known) -> Vectors:
    """What makes a group's points, with the vectors that its documents have already."""
    before = {each.id for each in group} | {each.moved_from for each in group}
    old = [chunk for document_id in before if document_id in known for chunk in known[document_id].chunk_ids]
    if run.recovers:  # a broken run may have stored points that it did not come to commit
        old += [chunk.id for each in group for chunk in each.chunks]
    stored: dict[str, list[float]] = {}
    if run.parts.memory is not None and not run.options.full:
        stored = run.parts.memory.find([dense_text(chunk) for each in group for chunk in each.chunks])
    if old and not run.options.full:
        stored |= run.parts.index.embedded(old)
    return Vectors(embedder=run.parts.embedder, sparse=run.parts.sparse, stored=stored)


def _embed(run: Run, chunks: Sequence[Chunk], vectors: Vectors) -> Callable[[], list[Point]]:
    """Embed chunks part by part, each written while the next is embedded. Returns what makes the points of the last."""
    last: Callable[[], list[Point]] = list
    size = max(run.parts.batch_documents // 2, 1)  # one is embedded, one written: a crash loses a batch of embeddings
    for start in range(0, len(chunks), size):
        if start:
            run.writing.submit(lambda points=last: run.writer.upsert(points()))  # type: ignore[misc]
        embedded, reused = vectors.embedded, vectors.reused
        last = vectors.points(chunks[start : start + size])
        run.report.chunks_embedded += vectors.embedded - embedded
        run.report.chunks_reused += vectors.reused - reused
        run.tell()
    return last


def _set_aside(run: Run, group: Sequence[_Split], known: _Known, refused: Mapping[str, str]) -> list[Unreadable]:
    """Documents that the embedder refuses: what was counted as added or updated is not."""
    scopes = {each.id: each.document.scope for each in group}
    aside = [Unreadable(document_id=d, scope=scopes[d], reason=reason) for d, reason in refused.items()]
    for event in aside:
        report_unreadable(run, event)
        before = event.document_id in known
        count(run, added=-(not before), updated=-before)
    return aside


def _stored(each: _Split) -> StoredDocument:
    return StoredDocument(
        document_id=each.id,
        scope=each.document.scope,
        version=each.document.version,
        chunk_ids=tuple(chunk.id for chunk in each.chunks),
    )


def _moved(each: _Split) -> Iterable[Moved]:
    """Where the chunks of a document that got another id were, where their text is the same."""
    for chunk in each.chunks:
        old = chunk_id(each.document.source, each.moved_from, chunk)
        yield Moved(old=old, new=chunk.id, document_id=each.id)


def _closed(run: Run, group: Sequence[_Split], known: _Known, refused: Mapping[str, str]) -> list[str]:
    """Documents set aside that others may see now than those who could see what is indexed of them."""
    closed = []
    for each in group:
        before, now = known.get(each.id), each.document
        if each.id in refused and before is not None and before.chunk_ids:
            stored = run.parts.index.chunks(before.chunk_ids[:1])
            if any((c.document.tenant, c.document.acl) != (now.tenant, now.acl) for c in stored):
                closed.append(each.id)
    return closed


def _stale(group: Sequence[_Split], known: _Known, refused: Mapping[str, str]) -> set[str]:
    """Points that the group's documents have no more; of a document set aside, those that it has just got."""
    stale: set[str] = set()
    for each in group:
        old = set(known[each.id].chunk_ids) if each.id in known else set()
        new = {chunk.id for chunk in each.chunks}
        stale |= new - old if each.id in refused else old - new
    return stale

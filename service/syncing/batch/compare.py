"""Comparing a batch's documents with the ledger: which are new, changed, the same, or another one's twins."""

import json
from collections.abc import Mapping
from dataclasses import replace

from rag.documents import Document
from rag.events import Unreadable, Upsert
from service.store.ledger.ports import StoredDocument
from service.syncing.batch.sorting import Batch
from service.syncing.batch.store import index_documents
from service.syncing.run import Run, count, report_unreadable


def index_batch(run: Run, batch: Batch) -> None:
    """Compare a batch with the ledger and index what changed."""
    withdrawn = batch.withdrawn
    for event in withdrawn:  # where a batch says two things of one id, nobody sees it
        if twin := batch.upserts.pop(event.document_id, None):
            batch.twins.append((twin.document, twin))
    # The ledger must know a document's last version before another one is compared with it.
    run.settle({*batch.upserts, *(event.document_id for event in withdrawn)})
    known = _known(run, batch.upserts)
    leaving = _leaving(run, withdrawn)
    aside = _twins_aside(run, batch, known)
    changed = [event for event in batch.upserts.values() if run.options.full or _has_changed(event.document, known)]
    names = {event.document.id for event in changed}
    count(run, added=len(names - known.keys()), updated=len(names & known.keys()))
    run.unit.withdrawn += len(withdrawn)
    if run.options.dry_run:
        run.seen.update(batch.upserts)
        return
    changes = replace(
        batch.changes(),
        withdrawn=list(leaving),
        unchanged=[document_id for document_id in batch.upserts if document_id not in names],
        unreadable=[*batch.unreadable, *aside],
    )
    index_documents(run, changed, known | leaving, changes)


def _known(run: Run, upserts: Mapping[str, Upsert]) -> dict[str, StoredDocument]:
    """The documents that are indexed, those too that have another id now, and whose going is no loss."""
    moved = [event.moved_from for event in upserts.values() if event.moved_from]
    known = run.parts.ledger.known(run.lease.source, [*upserts, *moved])
    run.unit.moved.update(known.keys() & moved)
    return known


def _has_changed(document: Document, known: Mapping[str, StoredDocument]) -> bool:
    return document.id not in known or known[document.id].version != document.version


def _leaving(run: Run, withdrawn: list[Unreadable]) -> dict[str, StoredDocument]:
    """The indexed documents of which nothing may stay, because nobody can say who may see them."""
    ledger, source = run.parts.ledger, run.lease.source
    if not withdrawn:
        return {}
    whole = [event.scope for event in withdrawn if event.document_id == event.scope]
    found = ledger.known(source, [event.document_id for event in withdrawn])
    return found | {d.document_id: d for scope in whole for d in ledger.of_scope(source, scope)}


def _twins_aside(run: Run, batch: Batch, known: Mapping[str, StoredDocument]) -> list[Unreadable]:
    """Take documents out of a batch whose id another one has that this run has met; they are told, and not indexed."""
    listed = [d for d, event in batch.upserts.items() if event.document.scope in run.unit.listing]
    met = [document_id for document_id in listed if _was_met(run, known.get(document_id), document_id)]
    batch.twins += [(_first_of(run, known.get(d), d), batch.upserts.pop(d)) for d in met]
    return [_set_aside(run, first, twin.document) for first, twin in batch.twins]


def _was_met(run: Run, known: StoredDocument | None, document_id: str) -> bool:
    """Whether this run has met a document of this id before."""
    return document_id in run.seen or (known is not None and known.seen_run == run.lease.run)


def _first_of(run: Run, known: StoredDocument | None, document_id: str) -> Document:
    """The document of an id that was stored before, as far as it is kept; without its key where it has no points."""
    chunks = run.parts.index.chunks(known.chunk_ids[:1]) if known is not None else []
    return (
        chunks[0].document if chunks else Document(id=document_id, source=run.lease.source, title="", text="", uri="")
    )


def _set_aside(run: Run, first: Document, twin: Document) -> Unreadable:
    """The second of two documents of one id: it is told, and not indexed in the first one's place."""
    run.twins[twin.id] += 1
    aside = Unreadable(
        document_id=f"{twin.id}~{run.twins[twin.id]}",
        scope=twin.scope,
        reason="another document has the same id and keeps it; their keys are "
        f"{_key(first)} and {_key(twin)}. Name columns in `key` that identify rows.",
    )
    report_unreadable(run, aside)
    return aside


def _key(document: Document) -> str:
    return f"{json.dumps(document.primary_key, ensure_ascii=False)} ({document.title})"

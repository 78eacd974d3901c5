"""Makes good what a broken run or an older copy of the index left: index and state agree when a run has ended.

A run stores points before it commits, and deletes points before it forgets their documents, so after a crash they may
differ. And an index may be put back as it was a week ago while the state goes on. Each commit that writes points gives
the state a generation, which the index bears soon after: where the two are not the same, or the numbers of points
differ, the ids and versions of all points are compared with the state, and what differs is done again.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from rag.ports import PointStore
from service.store.ledger.ports import Lease, Ledger, StoredDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How an index differs from the state of a source.

    lost: documents that lack points; outdated: those whose points are of another version; orphans: points that no
    document has. The first two are (scope, document id).
    """

    documents: int
    chunks: int
    lost: tuple[tuple[str, str], ...]
    outdated: tuple[tuple[str, str], ...]
    orphans: tuple[str, ...] = ()

    @property
    def is_none(self) -> bool:
        return not (self.lost or self.outdated or self.orphans)


def new_generation() -> str:
    return uuid.uuid4().hex


def find_difference(ledger: Ledger, index: PointStore, lease: Lease) -> str:
    """Have documents that the index does not hold as the state says indexed again.

    Returns what was found, in a sentence; empty when all was well, which costs two counts and a look-up. Points without
    a document stay until `finish_recovery`, because the run may need their vectors.
    """
    documents, expected = ledger.counts(lease.source)
    stored = index.count(source=lease.source)
    generation = ledger.generation(lease.source)
    same = bool(generation) and index.marked(lease.source) == generation
    if stored == expected and (same or not documents):
        return ""
    found = compare(ledger, index, lease.source, orphans=False)
    again = [*found.lost, *found.outdated]
    ledger.forget_scopes(lease, {scope for scope, _ in again}, [document_id for _, document_id in again])
    if stored == expected and not again:
        return "" if not generation else "The index was checked, because the last run did not mark it: it is complete."
    what = f"held {stored} chunks instead of {expected}" if stored != expected else "was not as the last run left it"
    return (
        f"The index {what}, as after an interrupted run or with an older copy: {len(again)} documents are indexed "
        "again, and chunks without a document are deleted."
    )


def compare(ledger: Ledger, index: PointStore, source: str, *, orphans: bool = True) -> Difference:
    """Compare the ids and versions of a source's points with its state."""
    lost: list[tuple[str, str]] = []
    outdated: list[tuple[str, str]] = []
    for page in ledger.pages(source):
        stored = index.versions([chunk_id for document in page for chunk_id in document.chunk_ids])
        for d in page:
            if not stored.keys() >= set(d.chunk_ids) or not d.version:
                lost.append((d.scope, d.document_id))
            elif any(stored[chunk_id] != d.version for chunk_id in d.chunk_ids):
                outdated.append((d.scope, d.document_id))
    documents, chunks = ledger.counts(source)
    extra = [point for page in _orphans(ledger, index, source) for point in page] if orphans else []
    return Difference(
        documents=documents, chunks=chunks, lost=tuple(lost), outdated=tuple(outdated), orphans=tuple(extra)
    )


def finish_recovery(ledger: Ledger, index: PointStore, lease: Lease) -> None:
    """Delete points that no document has, and mark the index as in step, unless documents still wait to be indexed."""
    for orphans in _orphans(ledger, index, lease.source):
        ledger.renew(lease)
        if orphans:
            index.delete(orphans)
    if not ledger.has_pending(lease.source):
        generation = new_generation()
        ledger.set_generation(lease, generation)
        index.mark(lease.source, generation)


def _orphans(ledger: Ledger, index: PointStore, source: str) -> Iterator[list[str]]:
    """Points that no document has, by pages; those of a document that waits to be indexed again still answer."""
    for page in index.pages(source):
        known = ledger.known(source, sorted(set(page.values())))
        yield [point for point, document_id in page.items() if not _has(known.get(document_id), point)]


def _has(document: StoredDocument | None, point: str) -> bool:
    return document is not None and (not document.version or point in document.chunk_ids)

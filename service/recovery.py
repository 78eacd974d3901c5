"""Makes good what a broken run left: the index and the state of a source agree before a run begins.

A run stores points before it commits, and deletes points before it forgets their documents. So after a crash the index
may hold points that no document has, and documents may lack points. Both show in the counts.
"""

from collections.abc import Iterator

from indexes.qdrant import QdrantIndex
from service.state import Lease, State, StoredDocument


def reconcile(state: State, index: QdrantIndex, lease: Lease) -> str:
    """Delete points without a document; have documents without all their points read and indexed again.

    Returns what was found, in a sentence; empty when all was well, which costs two counts.
    """
    expected = state.counts(lease.source)[1]
    stored = index.count(source=lease.source)
    if stored == expected:
        return ""
    extra = _delete_orphans(state, index, lease)
    lost = [d for page in state.pages(lease.source) for d in _without_points(index, page)]
    state.forget_scopes(lease, {d.scope for d in lost}, [d.document_id for d in lost])
    return (
        f"The index held {stored} points of {expected} (a run was broken off?): {extra} points without a document were "
        f"deleted, {len(lost)} documents are indexed again."
    )


def _delete_orphans(state: State, index: QdrantIndex, lease: Lease) -> int:
    deleted = 0
    for page in index.pages(lease.source):
        known = state.known(lease.source, sorted(set(page.values())))
        orphans = [p for p, document in page.items() if document not in known or p not in known[document].chunk_ids]
        state.renew(lease)
        if orphans:
            index.delete(orphans)
        deleted += len(orphans)
    return deleted


def _without_points(index: QdrantIndex, page: list[StoredDocument]) -> Iterator[StoredDocument]:
    there = index.existing([chunk_id for document in page for chunk_id in document.chunk_ids])
    return (document for document in page if not set(document.chunk_ids) <= there)

"""Makes good what a broken run left, so that the index and the state of a source agree when the next one has ended.

A run stores points before it commits, and deletes points before it forgets their documents. So after a crash the index
may hold points that no document has, and documents may lack points. Both show in the counts.
"""

from collections.abc import Iterator

from indexes.qdrant import QdrantIndex
from service.state import Lease, State, StoredDocument


def find_difference(state: State, index: QdrantIndex, lease: Lease) -> str:
    """Have documents that lack points indexed again.

    Returns what was found, in a sentence; empty when all was well, which costs two counts. Points without a document
    stay until `delete_orphans`, because the run may need their vectors.
    """
    expected = state.counts(lease.source)[1]
    stored = index.count(source=lease.source)
    if stored == expected:
        return ""
    lost = [d for page in state.pages(lease.source) for d in _without_points(index, page)]
    state.forget_scopes(lease, {d.scope for d in lost}, [d.document_id for d in lost])
    return (
        f"The index held {stored} chunks where {expected} were noted, as a run that is broken off leaves it: "
        f"{len(lost)} documents are indexed again, and chunks without a document are deleted."
    )


def delete_orphans(state: State, index: QdrantIndex, lease: Lease) -> None:
    """Delete points that no document has."""
    for page in index.pages(lease.source):
        known = state.known(lease.source, sorted(set(page.values())))
        orphans = [p for p, document in page.items() if document not in known or p not in known[document].chunk_ids]
        state.renew(lease)
        if orphans:
            index.delete(orphans)


def _without_points(index: QdrantIndex, page: list[StoredDocument]) -> Iterator[StoredDocument]:
    there = index.existing([chunk_id for document in page for chunk_id in document.chunk_ids])
    return (document for document in page if not set(document.chunk_ids) <= there)

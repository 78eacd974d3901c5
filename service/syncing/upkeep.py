"""What an operator does to a source beside running it: forget a table, and verify the index."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from indexes.qdrant.index import QdrantIndex
from rag.errors import SourceError
from service.store.state import State
from service.syncing.recovery import compare, new_generation

_SHOWN = 20
_PART = 512


def forget(state: State, index: QdrantIndex, source: str, table: str) -> int:
    """Delete all documents of a table, with its notes and its quarantine. Returns how many documents it had.

    Raises SourceError, listing what there is, when nothing of it is indexed; SourceBusy while the source is read.
    """
    with state.lease(source) as lease:
        documents = state.of_scope(source, table)
        if not documents and table not in state.quarantined_scopes(source):
            known = ", ".join(sorted(state.scopes(source))[:40]) or "nothing"
            raise SourceError(f"Nothing of {table!r} is indexed in source {source!r}. What is: {known}.")
        in_step = index.marked(source) == state.generation(source)
        for start in range(0, len(documents), _PART):
            part = documents[start : start + _PART]
            if ids := [chunk_id for document in part for chunk_id in document.chunk_ids]:
                index.delete(ids)
            generation = new_generation()
            state.remove(lease, [document.document_id for document in part], generation=generation)
            if in_step:  # else the next run has to find that it is not
                index.mark(source, generation)
        state.drop_scope_notes(lease, [table])
    return len(documents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How a source's index and state compare, in numbers; examples: ids of some documents that differ."""

    source: str
    documents: int
    chunks: int
    documents_without_points: int
    documents_of_another_version: int
    points_without_document: int
    ok: bool
    examples: Sequence[str]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def verify(state: State, index: QdrantIndex, source: str) -> Verified:
    """Compare the ids and versions of all points of a source with the state. The next run makes good what differs.

    Raises SourceBusy while the source is read.
    """
    with state.lease(source) as lease:
        found = compare(state, index, source)
        if not found.is_none:
            state.set_generation(lease, "")  # so that the next run compares as well
    return Verified(
        source=source,
        documents=found.documents,
        chunks=found.chunks,
        documents_without_points=len(found.lost),
        documents_of_another_version=len(found.outdated),
        points_without_document=len(found.orphans),
        ok=found.is_none,
        examples=[document_id for _, document_id in (*found.lost, *found.outdated)][:_SHOWN],
    )

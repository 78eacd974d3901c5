"""What an operator does to a source beside running it: forget a table, and verify the index."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rag.errors import SourceError
from rag.ports import PointStore
from service.store.ledger.ports import Ledger
from service.syncing.recovery import compare
from service.syncing.writer import Writer

_SHOWN = 20
_PART = 512


def forget(ledger: Ledger, index: PointStore, source: str, table: str) -> int:
    """Delete all documents of a table, with its notes and its quarantine. Returns how many documents it had.

    Raises SourceError, listing what there is, when nothing of it is indexed; SourceBusy while the source is read.
    """
    with ledger.lease(source) as lease:
        documents = ledger.of_scope(source, table)
        if not documents and table not in ledger.quarantined_scopes(source):
            known = ", ".join(sorted(ledger.scopes(source))[:40]) or "nothing"
            raise SourceError(f"Nothing of {table!r} is indexed in source {source!r}. What is: {known}.")
        in_step = index.marked(source) == ledger.generation(source)  # else the next run has to find that it is not
        writer = Writer(ledger=ledger, index=index, lease=lease, marks=in_step)
        for start in range(0, len(documents), _PART):
            writer.remove(documents[start : start + _PART])
        ledger.drop_scope_notes(lease, [table])
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


def verify(ledger: Ledger, index: PointStore, source: str) -> Verified:
    """Compare the ids and versions of all points of a source with the state. The next run makes good what differs.

    Raises SourceBusy while the source is read.
    """
    with ledger.lease(source) as lease:
        found = compare(ledger, index, source)
        if not found.is_none:
            ledger.set_generation(lease, "")  # so that the next run compares as well
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

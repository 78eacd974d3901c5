"""Writes points and what the ledger says of them: points first, so that whatever a crash leaves is made good."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rag.documents import Point
from rag.errors import LeaseLost
from rag.ports import PointStore
from service.store.ledger.ports import Changes, Lease, Ledger, StoredDocument
from service.syncing.recovery import new_generation


@dataclass(slots=True, kw_only=True)
class Writer:
    """Writes for one run; a run that was taken over writes nothing more, and takes back what it cannot commit.

    marks: whether each commit is noted in the index (service/syncing/recovery.py); not while that is being made good,
    which only the end of the run says. uncommitted: points stored since the last commit, and their document.
    """

    ledger: Ledger
    index: PointStore
    lease: Lease
    marks: bool = True
    uncommitted: dict[str, str] = field(default_factory=dict)

    def upsert(self, points: Sequence[Point]) -> None:
        """Store points, to be committed later. Raises LeaseLost."""
        if not points:
            return
        try:
            self.ledger.renew(self.lease)
        except LeaseLost:
            self._undo()
            raise
        self.index.upsert(points)
        self.uncommitted |= {point.chunk.id: point.chunk.document.id for point in points}

    def commit(self, points: Sequence[Point], changes: Changes, stale: Sequence[str]) -> None:
        """Store points, commit, delete the stale ones, mark: in this order. Raises LeaseLost."""
        self.upsert(points)
        generation = new_generation() if self.uncommitted or stale else ""
        try:
            self.ledger.commit(self.lease, replace(changes, generation=generation))
        except LeaseLost:
            self._undo()
            raise
        self.uncommitted.clear()
        if stale:
            self.index.delete(stale)
        self._mark(generation)

    def remove(self, documents: Sequence[StoredDocument]) -> None:
        """Delete documents. A crash in between leaves some without points, which the next run puts right."""
        self.ledger.renew(self.lease)
        if ids := [chunk for document in documents for chunk in document.chunk_ids]:
            self.index.delete(ids)
        generation = new_generation()
        self.ledger.remove(self.lease, [document.document_id for document in documents], generation=generation)
        self._mark(generation)

    def _mark(self, generation: str) -> None:
        if generation and self.marks:
            self.index.mark(self.lease.source, generation)

    def _undo(self) -> None:
        """Take back points that another run, which took the source over, knows nothing of."""
        known = self.ledger.known(self.lease.source, sorted(set(self.uncommitted.values())))
        kept = {chunk_id for document in known.values() for chunk_id in document.chunk_ids}
        if orphans := self.uncommitted.keys() - kept:
            self.index.delete(sorted(orphans))

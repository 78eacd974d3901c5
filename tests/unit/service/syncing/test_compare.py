"""Comparing a batch with the ledger, which must know what came before."""

from collections.abc import Sequence, Set

from rag.events import Unreadable, Upsert
from service.store.ledger.memory import MemoryLedger
from service.store.ledger.ports import StoredDocument
from service.syncing.batch.compare import index_batch
from service.syncing.batch.sorting import sort_events
from service.syncing.report import Report
from service.syncing.run import Options, Run
from service.syncing.threads import Behind
from tests.unit.service.syncing.conftest import Store, row


class Asked(MemoryLedger):
    """Notes in a list which documents it was asked for."""

    def __init__(self, calls: list[object]) -> None:
        super().__init__()
        self.calls = calls

    def known(self, source: str, document_ids: Sequence[str]) -> dict[str, StoredDocument]:
        self.calls.append(set(document_ids))
        return super().known(source, document_ids)


class Settled(Behind):
    """Notes in a list which documents' commits it was to wait for."""

    def __init__(self, calls: list[object]) -> None:
        super().__init__("test", size=1)
        self.calls = calls

    def settle(self, documents: Set[str]) -> None:
        self.calls.append(("settle", set(documents)))
        super().settle(documents)


def test_what_is_still_being_committed_of_a_batch_s_documents_is_waited_for_before_the_ledger_is_asked() -> None:
    calls: list[object] = []
    parts = Store(ledger=Asked(calls)).parts
    with parts.ledger.lease("shop") as lease:
        report, writing = Report(source="shop"), Settled(calls)
        run = Run(parts=parts, lease=lease, options=Options(), report=report, progress=lambda _: None, writing=writing)
        hidden = Unreadable(document_id="t/9", scope="t", reason="no tenant", withdrawn=True)
        index_batch(run, sort_events(run, [Upsert(document=row(1)), hidden]))
        run.close()
    assert calls[0] == ("settle", {"t/1", "t/9"})
    assert {"t/1"} in calls[1:]

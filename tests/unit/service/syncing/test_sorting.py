"""What of a batch is compared, what is committed with it, and what waits for the end of its table."""

import pytest

from rag.events import (
    Checkpoint,
    CheckpointGroup,
    Listed,
    Listing,
    Met,
    ScopeComplete,
    SourceEvent,
    Tombstone,
    Unreadable,
    Upsert,
)
from service.store.ledger.memory import MemoryLedger
from service.store.ledger.ports import Lease
from service.syncing.batch.sorting import sort_events
from service.syncing.report import Report
from service.syncing.run import Options, Run
from tests.unit.service.syncing.conftest import Store, row

NOTE = Checkpoint(scope="t", name="range", head={})
GONE = Checkpoint(scope="t", name="range-1", head={}, gone=("t/9",))


@pytest.fixture
def run() -> Run:
    return Run(
        parts=Store(ledger=MemoryLedger()).parts,
        lease=Lease(source="shop", run=1),
        options=Options(),
        report=Report(source="shop"),
        progress=lambda report: None,
    )


def upsert(number: int, text: str = "") -> Upsert:
    return Upsert(document=row(number, text))


def test_the_last_of_a_document_s_events_counts_outside_a_listing(run: Run) -> None:
    batch = sort_events(run, [upsert(1, "first"), upsert(1, "last")])
    assert (batch.upserts["t/1"].document.text, batch.twins) == ("last", [])


def test_the_first_of_a_document_s_events_counts_in_a_listing(run: Run) -> None:
    batch = sort_events(run, [Listing(scope="t"), upsert(1, "first"), upsert(1, "last")])
    assert batch.upserts["t/1"].document.text == "first"
    assert [(first.text, twin.document.text) for first, twin in batch.twins] == [("first", "last")]


def test_a_document_that_comes_and_goes_is_gone_and_one_that_comes_again_is_not(run: Run) -> None:
    batch = sort_events(run, [upsert(1), Tombstone(document_id="t/1"), Tombstone(document_id="t/2"), upsert(2)])
    assert (list(batch.upserts), list(run.unit.gone)) == (["t/2"], ["t/1"])


def test_a_note_is_committed_with_its_batch(run: Run) -> None:
    assert sort_events(run, [NOTE, CheckpointGroup(parts=(NOTE, NOTE))]).checkpoints == [NOTE, NOTE, NOTE]
    assert run.unit.deferred == []


@pytest.mark.parametrize("event", [GONE, CheckpointGroup(parts=(NOTE, GONE))])
def test_a_note_that_says_that_documents_are_gone_waits_for_the_end_of_its_table(run: Run, event: SourceEvent) -> None:
    assert sort_events(run, [event, NOTE]).checkpoints == [NOTE]
    assert (GONE in run.unit.deferred, list(run.unit.gone)) == (True, ["t/9"])


def test_after_a_tombstone_every_note_waits(run: Run) -> None:
    assert sort_events(run, [NOTE, Tombstone(document_id="t/1"), NOTE]).checkpoints == [NOTE]
    assert sort_events(run, [NOTE]).checkpoints == []
    assert run.unit.deferred == [NOTE, NOTE]


def test_listings_that_begin_and_that_go_on_are_told_apart(run: Run) -> None:
    events: list[SourceEvent] = [
        Listing(scope="t"),
        Listing(scope="u", resumes=True),
        Met(document_ids=("u/1",)),
        Met(document_ids=("u/2",)),
    ]
    batch = sort_events(run, events)
    assert (batch.listings, batch.resumed, batch.met) == (["t"], ["u"], ["u/1", "u/2"])
    assert (run.unit.listing, run.unit.by_content) == ({"t", "u"}, False)


def test_one_listing_by_content_makes_its_table_so(run: Run) -> None:
    sort_events(run, [Listing(scope="t", by_content=True), Listing(scope="t")])
    assert run.unit.by_content


def test_the_end_of_a_listing_waits_for_the_end_of_its_table(run: Run) -> None:
    end = ScopeComplete(scope="t")
    assert sort_events(run, [Listed(scope="t"), end]).end == end
    assert run.unit.listed == [Listed(scope="t")]


def test_what_is_ignored_counts_as_nothing_that_was_read(run: Run) -> None:
    bad = Unreadable(document_id="t/1", scope="t", reason="broken")
    ignored = Unreadable(document_id="t/2", scope="t", reason="empty", ignored=True)
    assert sort_events(run, [bad, ignored, upsert(3)]).unreadable == [bad]
    assert (run.unit.fetched, run.report.fetched) == (2, 1)


def test_a_scope_that_cannot_be_read_whole_is_kept_and_a_document_of_it_is_no_scope(run: Run) -> None:
    sort_events(
        run, [Unreadable(document_id="a", scope="a", reason="x"), Unreadable(document_id="b/1", scope="b", reason="x")]
    )
    assert run.kept == {"a"}

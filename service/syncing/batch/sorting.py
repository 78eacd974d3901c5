"""Sorting a batch's events: what is compared, what is committed with it, and what waits for the end of its table."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rag.boundary.secrets import masked
from rag.documents import Document
from rag.events import (
    Checkpoint,
    CheckpointGroup,
    Expected,
    Listed,
    Listing,
    Met,
    Notice,
    Passed,
    ScopeComplete,
    ScopeFailed,
    SnapshotComplete,
    SourceEvent,
    Tombstone,
    Unreadable,
    Upsert,
)
from service.store.ledger.ports import Changes
from service.syncing.deletions import Unit
from service.syncing.report import Report
from service.syncing.run import Run, report_unreadable


@dataclass(slots=True, kw_only=True)
class Batch:
    """Events of a batch, sorted. upserts: the last of each document; twins: documents whose id another one has that a
    listing gave before, each with that one; end: of the table or the source, which comes last."""

    upserts: dict[str, Upsert] = field(default_factory=dict)
    twins: list[tuple[Document, Upsert]] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    listings: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    end: ScopeComplete | ScopeFailed | SnapshotComplete | None = None

    @property
    def withdrawn(self) -> list[Unreadable]:
        return [event for event in self.unreadable if event.withdrawn]

    def changes(self) -> Changes:
        """What is committed of the batch whatever its documents come to."""
        return Changes(
            unreadable=self.unreadable,
            listings=self.listings,
            resumed=self.resumed,
            met=self.met,
            checkpoints=self.checkpoints,
        )


def sort_events(run: Run, events: Sequence[SourceEvent]) -> Batch:
    """Sort events; what has to wait for the end of their table is kept in `run.unit`."""
    batch = Batch()
    for event in events:
        match event:
            case Upsert():
                _take_document(run, batch, event)
            case Unreadable():
                _take_unreadable(run, batch, event)
            case Checkpoint():
                _take_notes(run.unit, batch, (event,))
            case CheckpointGroup():
                _take_notes(run.unit, batch, event.parts)
            case Tombstone():
                _take_tombstone(run.unit, batch, event)
            case Listing():
                _take_listing(run.unit, batch, event)
            case Met():
                batch.met += event.document_ids
            case Listed():
                run.unit.listed.append(event)
            case Expected() | Passed() | Notice():
                _tell(run.report, event)
            case ScopeComplete() | ScopeFailed() | SnapshotComplete():
                batch.end = event
    if run.report.bytes_read:
        run.report.expected = round(run.report.fetched * run.report.bytes_expected / run.report.bytes_read)
    return batch


def _take_document(run: Run, batch: Batch, event: Upsert) -> None:
    run.report.fetched += 1
    run.unit.fetched += 1
    first = batch.upserts.get(event.document.id)
    if first is not None and event.document.scope in run.unit.listing:
        batch.twins.append((first.document, event))
        return
    batch.upserts[event.document.id] = event
    run.unit.gone.pop(event.document.id, None)


def _take_unreadable(run: Run, batch: Batch, event: Unreadable) -> None:
    report_unreadable(run, event)
    if not event.ignored:
        run.unit.fetched += 1
        batch.unreadable.append(event)


def _take_notes(unit: Unit, batch: Batch, notes: Sequence[Checkpoint]) -> None:
    """Notes that say that documents are gone wait until these are, and so does every note after them."""
    gone = [document_id for note in notes for document_id in note.gone]
    unit.gone |= dict.fromkeys(gone)
    (unit.deferred if gone or unit.waits else batch.checkpoints).extend(notes)


def _take_tombstone(unit: Unit, batch: Batch, event: Tombstone) -> None:
    unit.gone[event.document_id] = None
    unit.waits = True
    batch.upserts.pop(event.document_id, None)


def _take_listing(unit: Unit, batch: Batch, event: Listing) -> None:
    unit.listing.add(event.scope)
    unit.by_content = unit.by_content or event.by_content
    (batch.resumed if event.resumes else batch.listings).append(event.scope)


def _tell(report: Report, event: Expected | Passed | Notice) -> None:
    match event:
        case Expected():
            report.expected += event.documents
            report.bytes_expected += event.size_bytes
        case Passed():
            report.bytes_read += event.size_bytes
        case Notice():
            report.notes.append(masked(event.text))

"""A run under way: its parts, what was asked of it, and where it is."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rag.boundary.secrets import masked
from rag.errors import SourceError
from rag.events import Unreadable
from rag.ports import Embedder, PointStore, SparseEncoder, TokenCounter, VectorMemory
from service.store.ledger.ports import Lease, Ledger, StoredDocument
from service.syncing.deletions import Unit
from service.syncing.report import Report
from service.syncing.threads import Behind
from service.syncing.writer import Writer

_BEHIND = 1  # tasks that wait for each thread


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncParts:
    """The parts of an ingest, wired."""

    ledger: Ledger
    index: PointStore
    embedder: Embedder
    sparse: SparseEncoder
    counter: TokenCounter
    max_tokens: int
    mass_delete_share: float
    memory: VectorMemory | None = None
    batch_documents: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    full: bool = False  # index every document again, changed or not
    dry_run: bool = False
    allow_mass_delete: bool = False
    retry: bool = False  # read the scopes of quarantined documents again, changed or not
    stop: threading.Event = field(default_factory=threading.Event)  # set: finish the batch and end


@dataclass(slots=True, kw_only=True)
class Run:
    """A run under way.

    recovers: from a run that was broken off, or an older index. unit: what the table that is read waits for. kept:
    scopes and folders of scopes that could not be read whole; nothing there is deleted. done: scopes that were brought
    in step, or failed, by themselves. failures: by scope; "" for the source as a whole. seen: documents, in a dry run
    only, where the ledger is not written. twins: how many documents had the id of another one, by that id.
    """

    parts: SyncParts
    lease: Lease
    options: Options
    report: Report
    progress: Callable[[Report], None]
    recovers: bool = False
    unit: Unit = field(default_factory=Unit)
    kept: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    failures: dict[str, SourceError] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    twins: Counter[str] = field(default_factory=Counter)
    embedding: Behind = field(default_factory=lambda: Behind("citewell-embed-batches", size=_BEHIND))
    writing: Behind = field(default_factory=lambda: Behind("citewell-write", size=_BEHIND))
    writer: Writer = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.writer = Writer(ledger=self.parts.ledger, index=self.parts.index, lease=self.lease)

    def settle(self, documents: Set[str]) -> None:
        """Wait until none of the documents waits to be written. Raises what a task raised."""
        self.embedding.settle(documents)
        self.writing.settle(documents)

    def drain(self) -> None:
        """Wait until all is written. Raises what a task raised."""
        self.embedding.drain()
        self.writing.drain()

    def close(self) -> None:
        """Let what waits be written, and end the threads."""
        self.embedding.close()
        self.writing.close()

    def tell(self) -> None:
        """Tell how far the run is."""
        with self.lock:
            self.progress(self.report)


def count(run: Run, *, added: int = 0, updated: int = 0) -> None:
    with run.lock:
        for counts in (run.report, run.unit):
            counts.added += added
            counts.updated += updated


def report_unreadable(run: Run, event: Unreadable) -> None:
    entry = {"document_id": event.document_id, "reason": masked(event.reason)}
    (run.report.ignored if event.ignored else run.report.unreadable).append(entry)
    if not event.ignored and event.document_id == event.scope:
        run.kept.add(event.scope)


def is_kept(run: Run, scope: str) -> bool:
    """Whether a scope, or a folder above it, could not be read."""
    return not run.kept.isdisjoint({scope, *map(str, PurePosixPath(scope).parents)})


def remove(run: Run, gone: Sequence[StoredDocument]) -> None:
    """Delete documents, part by part."""
    run.report.deleted += len(gone)
    if run.options.dry_run:
        return
    size = run.parts.batch_documents
    for start in range(0, len(gone), size):
        run.writer.remove(gone[start : start + size])
    run.progress(run.report)

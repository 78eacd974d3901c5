"""A run under way: its parts, what was asked of it, and where it is."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rag.boundary.secrets import masked
from rag.errors import SourceError
from rag.events import Unreadable
from rag.ports import Embedder, PointStore, SparseEncoder, TokenCounter
from service.store.ports import Lease, Ledger
from service.syncing.deletions import Unit
from service.syncing.report import Report
from service.syncing.threads import WriteBehind

_WRITE_BEHIND = 1


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
    """A run under way. `kept`: scopes and folders of scopes that could not be read whole; nothing there is deleted."""

    parts: SyncParts
    lease: Lease
    options: Options
    report: Report
    progress: Callable[[Report], None]
    writer: WriteBehind = field(default_factory=lambda: WriteBehind(size=_WRITE_BEHIND))
    in_flight: deque[set[str]] = field(default_factory=lambda: deque(maxlen=2 * _WRITE_BEHIND))
    kept: set[str] = field(default_factory=set)
    recovers: bool = False  # from a run that was broken off, or an older index
    unit: Unit = field(default_factory=Unit)
    done: set[str] = field(default_factory=set)  # scopes that were brought in step, or failed, by themselves
    failures: dict[str, SourceError] = field(default_factory=dict)  # by scope; "" for the source as a whole
    uncommitted: dict[str, str] = field(default_factory=dict)  # points stored since the last commit, and their document
    seen: set[str] = field(default_factory=set)  # in a dry run only, where the state is not written
    twins: Counter[str] = field(default_factory=Counter)  # documents whose id another one had, by that id


def count(run: Run, *, added: int = 0, updated: int = 0) -> None:
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

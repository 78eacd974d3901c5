"""What syncing asks of the state store, and the values that pass between the two."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from rag.events import Checkpoint, Listed, Unreadable
from rag.ports import Notes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document as it is indexed. version: empty when it must be indexed again; seen_run: the run that last met it."""

    document_id: str
    scope: str
    version: str
    chunk_ids: tuple[str, ...]
    seen_run: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write a source, until it is lost: every commit checks it. `run` grows: it is the fencing token."""

    source: str
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Ids of a chunk, before and now, and the id of its document now."""

    old: str
    new: str
    document_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one transaction records.

    listings: scopes whose listing begins anew. resumed: those whose listing goes on; met: documents that it has met by
    its notes, and none else. generation: what the index will bear once it has what belongs to this commit; empty when
    nothing was written to it. moved: chunks whose document got another id. withdrawn: documents of which nothing may
    stay, because nobody can say who may see them.
    """

    changed: Sequence[StoredDocument] = ()
    unchanged: Sequence[str] = ()
    unreadable: Sequence[Unreadable] = ()
    listings: Sequence[str] = ()
    resumed: Sequence[str] = ()
    met: Sequence[str] = ()
    checkpoints: Sequence[Checkpoint] = ()
    generation: str = ""
    moved: Sequence[Moved] = ()
    withdrawn: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeCounts:
    """Documents of a scope, its entries in quarantine, and how many of those are of documents that are not indexed."""

    documents: int
    quarantined: int
    absent: int


class Ledger(Protocol):
    """What is indexed of each source, what could not be, and how far its reads have come.

    What records something under a lease raises LeaseLost, and records nothing, when another run has taken the source
    over; only `finish` does not mind.
    """

    # Runs.

    def lease(self, source: str) -> AbstractContextManager[Lease]:
        """Hold a source for one run. Raises SourceBusy, naming the holder, while another run lives."""
        ...

    def renew(self, lease: Lease) -> None:
        """Extend a lease."""
        ...

    def finish(self, lease: Lease, *, status: str, report: Mapping[str, Any]) -> None:
        """Close a run."""
        ...

    # Documents.

    def known(self, source: str, document_ids: Sequence[str]) -> dict[str, StoredDocument]:
        """Those of the documents that are indexed, by id."""
        ...

    def of_scope(self, source: str, scope: str) -> list[StoredDocument]: ...

    def pages(self, source: str, *, size: int = 1000) -> Iterator[list[StoredDocument]]:
        """All documents of a source, a page at a time."""
        ...

    def scopes(self, source: str) -> set[str]:
        """Scopes that have documents."""
        ...

    def counts(self, source: str) -> tuple[int, int]:
        """Numbers of a source's documents and chunks."""
        ...

    def counts_of(self, source: str, scope: str) -> ScopeCounts: ...

    def has_pending(self, source: str) -> bool:
        """Whether documents have to be indexed again."""
        ...

    # Changes.

    def commit(self, lease: Lease, changes: Changes) -> None:
        """Record a batch in one transaction."""
        ...

    def remove(self, lease: Lease, document_ids: Sequence[str], *, generation: str = "") -> None:
        """Forget documents, and what was wrong with them. generation: as of `Changes`."""
        ...

    def forget_scopes(self, lease: Lease, scopes: Iterable[str], lost: Sequence[str]) -> None:
        """Have scopes listed anew, and their lost documents indexed whatever their content."""
        ...

    def drop_scope_notes(self, lease: Lease, scopes: Iterable[str]) -> None:
        """Forget the notes and the quarantine of scopes that are no more."""
        ...

    # Notes and listings.

    def notes(self, source: str, *, ignore: bool = False) -> Notes:
        """A source's notes; none of them when they are to be ignored."""
        ...

    def listed(self, lease: Lease, listings: Sequence[Listed]) -> None:
        """Close listings of scopes: what was wrong with documents that they did not meet again is forgotten."""
        ...

    def unlisted(self, lease: Lease, scope: str) -> list[StoredDocument]:
        """Documents of a scope that its listing did not meet."""
        ...

    def unseen(self, lease: Lease) -> list[StoredDocument]:
        """Documents that this run has not met."""
        ...

    # Quarantine.

    def quarantined(self, source: str) -> list[dict[str, Any]]:
        """What could not be read, as document_id, reason and since (seconds since 1970), by document id."""
        ...

    def quarantined_scopes(self, source: str) -> set[str]:
        """Scopes that have documents which could not be read."""
        ...

    def clear_quarantine(self, lease: Lease) -> None:
        """After a run that met every document: what it did not find unreadable again is well."""
        ...

    def retry(self, source: str) -> None:
        """Have the scopes of quarantined documents read again, changed or not."""
        ...

    # The format, and what the index bears.

    def format_of(self, source: str) -> str:
        """The format that a source was indexed in; empty when it never was."""
        ...

    def start_format(self, lease: Lease, fmt: str) -> None:
        """Begin to index a source in a format: notes made under another one are forgotten."""
        ...

    def left_over(self, lease: Lease) -> list[StoredDocument]:
        """Documents that were not met since a run began to read all anew; none when no such read is under way."""
        ...

    def read_anew(self, lease: Lease) -> None:
        """Say that all of a source has been read anew."""
        ...

    def generation(self, source: str) -> str:
        """What the index bears when it has all that this store knows of; empty before the first commit."""
        ...

    def set_generation(self, lease: Lease, generation: str) -> None: ...

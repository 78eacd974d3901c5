"""What a source yields (docs/architecture.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rag.documents import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """A document as the source holds it now. moved_from: the id it had before, so that its embeddings are reused."""

    document: Document
    moved_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A document that the source says is gone."""

    document_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A row or file that could not be read. What was indexed of it before stays.

    scope: its table or file; where document_id is the scope itself, all documents of the scope stay.
    ignored: a file with nothing to read, or of a kind that is not read; it is reported, and is no failure.
    withdrawn: nobody can say who may see it now, so that nothing stays of it.
    """

    document_id: str
    scope: str
    reason: str
    ignored: bool = False
    withdrawn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """About how many more documents this read will yield, or how many bytes it will go through: for progress bars."""

    documents: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Bytes of those expected that have been read since, whatever they gave."""

    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that an operator should know: a column was dropped, a file was moved."""

    text: str


Note = Notice  # its name until 0.2
# its name until 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """From here to Listed, every document of the scope is yielded, each once.

    resumes: it goes on where a broken read stopped. by_content: ids are made of the content, or may have been until
    now, so that a document that changed is one that goes and one that comes.
    """

    scope: str
    resumes: bool = False
    by_content: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """Documents that a listing which goes on has noted. Others that it met before have to be met again, or are gone."""

    document_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A note of the source to itself, kept once everything before it is indexed, and given back to its next read.

    head: small and JSON-like; None removes the note. body: as large as a range of rows needs. gone: ids of documents
    that this part of the source does not have any more.
    """

    scope: str
    name: str
    head: Mapping[str, Any] | None
    body: bytes = b""
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointGroup:
    """Checkpoints that only make sense together (the pieces of a range that was split): all are kept, or none."""

    parts: tuple[Checkpoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Every document of the scope was yielded: those not seen since Listing are gone. Then `checkpoint` is kept."""

    scope: str
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeComplete:
    """All that was to say of a scope (a table) has been said: it is brought in step, whatever becomes of the others.

    documents: how many the scope holds by this read, those too that were not yielded; None where it did not count them.
    """

    scope: str
    documents: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeFailed:
    """A scope could not be read to its end: nothing of it is deleted, and the other scopes go on."""

    scope: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotComplete:
    """The read is complete, and these are all scopes there are; documents of other scopes are gone.

    fixed_scopes: a scope that an earlier read had and this one lacks (a dropped table) keeps its documents; it is told.
    changes_only: only what changed was yielded, so that of a scope not listed nothing is gone but what was said to be.
    covered: scopes whose documents are read under another one, which is the value (a partition, and its parent).
    documents: how many the source holds by this read, where it knows.
    """

    scopes: frozenset[str]
    fixed_scopes: bool = False
    changes_only: bool = False
    covered: Mapping[str, str] = field(default_factory=dict)
    documents: int | None = None


SourceEvent = (
    Upsert
    | Tombstone
    | Unreadable
    | Expected
    | Passed
    | Notice
    | Listing
    | Met
    | Checkpoint
    | CheckpointGroup
    | Listed
    | ScopeComplete
    | ScopeFailed
    | SnapshotComplete
)

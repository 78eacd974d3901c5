"""A source that is read again and again with its notes, and what an index holds then by the events' own words."""

import itertools
from dataclasses import dataclass, field

from rag.documents import Document
from rag.events import (
    Checkpoint,
    CheckpointGroup,
    Listed,
    Listing,
    Met,
    ScopeComplete,
    ScopeFailed,
    SnapshotComplete,
    SourceEvent,
    Tombstone,
    Unreadable,
    Upsert,
)
from rag.fakes import MemoryNotes
from rag.ports import LISTING, Source


@dataclass(kw_only=True)
class _Unit:
    """What has been read since the last scope ended, and waits for its end."""

    gone: set[str] = field(default_factory=set)
    notes: list[Checkpoint] = field(default_factory=list)
    listed: list[Listed] = field(default_factory=list)
    waits: bool = False


@dataclass(kw_only=True)
class Follower:
    """Follows a source as the service does: what is gone goes when its scope ends, and notes are kept when what stands
    before them is. Where a scope holds other documents than the index, its notes are dropped, so that the next read
    lists it. documents: what an index holds, by id; aside: documents that were told as unreadable, with their scope;
    seen: ids that the last read yielded.
    """

    source: Source
    documents: dict[str, Document] = field(default_factory=dict)
    notes: MemoryNotes = field(default_factory=MemoryNotes)
    aside: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    _met: dict[str, set[str]] = field(default_factory=dict)
    _kept_scopes: set[str] = field(default_factory=set)
    _unit: _Unit = field(default_factory=_Unit)

    def read(self, *, stop_after: int | None = None) -> list[SourceEvent]:
        """Read, and do what the events say. stop_after: the read is broken off after so many of them."""
        self.seen, self._kept_scopes, self._unit = set(), set(), _Unit()
        events = []
        for event in itertools.islice(self.source.read(self.notes), stop_after):
            events.append(event)
            self._follow(event)
        return events

    def changes(self) -> list[str]:
        """Read, and tell which documents were yielded, in their order; no scope may fail."""
        events = self.read()
        assert [event for event in events if isinstance(event, ScopeFailed)] == []
        return [event.document.id for event in events if isinstance(event, Upsert)]

    def changed(self) -> set[str]:
        return set(self.changes())

    @property
    def texts(self) -> dict[str, str]:
        """What the documents say, by id."""
        return {document_id: document.text for document_id, document in self.documents.items()}

    def _follow(self, event: SourceEvent) -> None:
        match event:
            case Upsert(document=document):
                self.documents[document.id] = document
                self.aside.pop(document.id, None)
                self._see(document.scope, document.id)
            case Tombstone():
                self._unit.gone.add(event.document_id)
                self._unit.waits = True
            case Unreadable():
                self._leave(event)
            case Checkpoint():
                self._note([event])
            case CheckpointGroup():
                self._note(event.parts)
            case Listing():
                self._begin(event)
            case Met():
                for met in self._met.values():
                    met.update(event.document_ids)
            case Listed():
                self._unit.listed.append(event)
            case ScopeComplete(scope=scope, documents=documents):
                self._end()
                held = sum(d.scope == scope for d in self.documents.values())
                if documents not in (None, held + sum(kept == scope for kept in self.aside.values())):
                    self._forget(scope)
            case ScopeFailed():
                self._unit = _Unit()
            case SnapshotComplete():
                self._end()
                self._end_source(event)

    def _see(self, scope: str, document_id: str) -> None:
        self.seen.add(document_id)
        self._met.get(scope, set()).add(document_id)

    def _leave(self, event: Unreadable) -> None:
        if event.withdrawn:
            self.documents.pop(event.document_id, None)
        elif event.document_id == event.scope and not event.ignored:
            self._kept_scopes.add(event.scope)
        elif not event.ignored:
            self.aside |= {event.document_id: event.scope} if event.document_id not in self.documents else {}
            self._see(event.scope, event.document_id)

    def _begin(self, event: Listing) -> None:
        if not event.resumes:
            self._forget(event.scope)
        self._met[event.scope] = set()
        self.notes.keep(Checkpoint(scope=event.scope, name=LISTING, head={}))

    def _forget(self, scope: str) -> None:
        for key in [key for key in self.notes.kept if key[0] == scope]:
            del self.notes.kept[key]

    def _note(self, notes: "list[Checkpoint] | tuple[Checkpoint, ...]") -> None:
        gone = {document_id for note in notes for document_id in note.gone}
        self._unit.gone |= gone
        if gone or self._unit.waits:
            self._unit.notes += notes
        else:
            for note in notes:
                self.notes.keep(note)

    def _end(self) -> None:
        unit, self._unit = self._unit, _Unit()
        listed = {event.scope: self._met.pop(event.scope) for event in unit.listed}
        for document_id, document in list(self.documents.items()):
            unmet = document_id not in listed.get(document.scope, {document_id})
            if (unmet or document_id in unit.gone) and document_id not in self.seen | self._kept(document_id):
                del self.documents[document_id]
        for document_id in unit.gone - self.seen:
            self.aside.pop(document_id, None)
        for note in unit.notes:
            self.notes.keep(note)
        for event in unit.listed:
            self.notes.kept.pop((event.scope, LISTING), None)
            self.notes.keep(event.checkpoint)

    def _end_source(self, event: SnapshotComplete) -> None:
        for document_id, document in list(self.documents.items()):
            unmet = not event.changes_only and document_id not in self.seen
            unlisted = document.scope not in event.scopes and not event.fixed_scopes
            if (unmet or unlisted) and not self._kept(document_id):
                del self.documents[document_id]

    def _kept(self, document_id: str) -> set[str]:
        return {document_id} if self.documents[document_id].scope in self._kept_scopes else set()

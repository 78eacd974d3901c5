"""A source that is read again and again with its notes, and what an index would hold then."""

import itertools
from dataclasses import dataclass, field

from connectors.sql.source import SqlSource
from rag.events import Checkpoint, CheckpointGroup, Listed, Listing, ScopeFailed, SourceEvent, Tombstone, Upsert
from rag.fakes import MemoryNotes


@dataclass(kw_only=True)
class Synced:
    """A source that is read with the notes of its last read, and the rows that an index would hold then."""

    source: SqlSource
    notes: MemoryNotes = field(default_factory=MemoryNotes)
    rows: dict[str, str] = field(default_factory=dict)

    def read(self, *, stop_after: int | None = None) -> list[SourceEvent]:
        events = list(itertools.islice(self.source.read(self.notes), stop_after))
        for event in events:
            match event:
                case Upsert():
                    self.rows[event.document.id] = event.document.text
                case Tombstone():
                    self.rows.pop(event.document_id, None)
                case Checkpoint() | CheckpointGroup():
                    for note in event.parts if isinstance(event, CheckpointGroup) else (event,):
                        for document_id in note.gone:
                            self.rows.pop(document_id, None)
                        self.notes.keep(note)
                case Listing() if not event.resumes:
                    for key in [key for key in self.notes.kept if key[0] == event.scope]:
                        del self.notes.kept[key]
                case Listed():
                    self.notes.keep(event.checkpoint)
        return events

    def changes(self) -> list[str]:
        """Read, and give the ids of the documents that were read; no table may fail."""
        events = self.read()
        assert [event for event in events if isinstance(event, ScopeFailed)] == []
        return [event.document.id for event in events if isinstance(event, Upsert)]

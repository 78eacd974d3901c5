"""A source that is read again and again with its notes, and what an index would hold then."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from connectors.sql.source import SqlSource
from rag.events import Checkpoint, CheckpointGroup, Listed, Listing, ScopeFailed, SourceEvent, Tombstone, Upsert


@dataclass
class KeptNotes:
    """A cursor over the checkpoints of earlier reads, kept in memory; heads come back as the state's JSON gives them."""

    kept: dict[tuple[str, str], Checkpoint] = field(default_factory=dict)

    def find(self, *, scope: str | None = None, name: str | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for (kept_scope, kept_name), note in list(self.kept.items()):
            if scope in (None, kept_scope) and name in (None, kept_name):
                yield kept_scope, kept_name, dict(note.head or {})

    def body(self, scope: str, name: str) -> bytes:
        return self.kept[scope, name].body

    def keep(self, note: Checkpoint | None) -> None:
        if note is not None and note.head is None:
            self.kept.pop((note.scope, note.name), None)
        elif note is not None:
            self.kept[note.scope, note.name] = replace(note, head=json.loads(json.dumps(note.head)))


@dataclass(kw_only=True)
class Synced:
    """A source that is read with the notes of its last read, and the rows that an index would hold then."""

    source: SqlSource
    notes: KeptNotes = field(default_factory=KeptNotes)
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

"""A source that is a list, and its notes in memory."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from rag.documents import Document
from rag.events import Checkpoint, SnapshotComplete, SourceEvent, Upsert
from rag.ports import Notes


class ListSource:
    """Yields its list in every read: a document as its Upsert, an event as it is; an exception is raised in its place.

    A read ends with SnapshotComplete, where the list has none of its own. `items` may be changed between reads.
    notes: what the last read was given.
    """

    def __init__(self, items: Iterable[Document | SourceEvent | Exception] = ()) -> None:
        self.items = list(items)
        self.notes: Notes | None = None

    def read(self, notes: Notes | None = None, /) -> Iterator[SourceEvent]:
        self.notes = notes
        scopes: set[str] = set()
        complete = False
        for item in list(self.items):
            if isinstance(item, Exception):
                raise item
            event = Upsert(document=item) if isinstance(item, Document) else item
            if isinstance(event, Upsert):
                scopes.add(event.document.scope)
            complete = complete or isinstance(event, SnapshotComplete)
            yield event
        if not complete:
            yield SnapshotComplete(scopes=frozenset(scopes))


class MemoryNotes:
    """Notes of earlier reads. Heads come back as they would from JSON, in which they are stored."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Checkpoint] = {}

    def find(self, *, scope: str | None = None, name: str | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for (kept_scope, kept_name), note in list(self.kept.items()):
            if scope in (None, kept_scope) and name in (None, kept_name):
                yield kept_scope, kept_name, dict(note.head or {})

    def body(self, scope: str, name: str) -> bytes:
        return self.kept[scope, name].body

    def keep(self, note: Checkpoint | None) -> None:
        """Keep a checkpoint; one without a head removes the note, and None is none."""
        if note is not None and note.head is None:
            self.kept.pop((note.scope, note.name), None)
        elif note is not None:
            self.kept[note.scope, note.name] = replace(note, head=json.loads(json.dumps(note.head)))

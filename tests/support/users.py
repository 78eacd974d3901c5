"""Reading as a user for whom permissions count: for root they are no barrier."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.files.source import FilesSource
from connectors.sql.source import SqlSource
from rag.events import Checkpoint, SourceEvent
from rag.fakes import MemoryNotes
from rag.ports import Notes

_NOBODY = 65534


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user without rights of its own meanwhile; a user who is not root stays who they are."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that everybody may read, as pytest's own are not; removed whatever was locked in it."""
    folder = Path(tempfile.mkdtemp(prefix="citewell-")).resolve()
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for place, _, _ in os.walk(folder):
            os.chmod(place, 0o755)
        shutil.rmtree(folder)


class AsNobody:
    """A source that is read as a user without rights of its own, all at once."""

    def __init__(self, source: SqlSource | FilesSource) -> None:
        self._source = source
        self.name = source.name

    def read(self, cursor: Notes | None = None) -> Iterator[SourceEvent]:
        notes = MemoryNotes()
        for scope, name, head in cursor.find() if cursor is not None else ():
            notes.keep(Checkpoint(scope=scope, name=name, head=head))
        with nobody():
            events = list(self._source.read(notes))
        yield from events

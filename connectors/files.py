"""Reads folders: each file, or each record of a table-like file, becomes a document with its positions.

A file whose size and time are as the last read noted them is not opened; one whose content has the same hash is not
parsed. PDF and office files are parsed in a process of their own, with limits.
"""

import hashlib
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.file_search import find_files, matching
from connectors.labels import FileLabels, Labels
from connectors.parsers import Parsed, Record, is_binary, parse
from connectors.parsers.child import ParserProcess
from connectors.parsers.errors import CannotParse, Ignored
from rag.ports import Cursor
from rag.types import (
    Checkpoint,
    Document,
    Expected,
    Listed,
    Listing,
    Note,
    SnapshotComplete,
    SourceEvent,
    Unreadable,
    Upsert,
)

_FORMAT = 1  # of parsed documents: a change has every file parsed anew
_SETTLED_NS = 2_000_000_000  # a file changed so shortly before it was read may change again within one tick of its time
_ATTEMPTS = 3  # at a file that is replaced while it is read


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSource:
    """Files as a source. paths: files, folders and globs (`docs/**/*.md`), relative to root; hidden files are left out.

    A file becomes one document whose id is its path relative to root; a record of a CSV, XLSX, JSON or JSONL file
    becomes `PATH#row=N`. parse_timeout_s and parse_memory_mb bound the parsing of one PDF or office file.
    """

    name: str
    paths: tuple[str, ...]
    root: Path
    exclude: tuple[str, ...] = ()
    labels: FileLabels = FileLabels()
    parse_timeout_s: float = 120.0
    parse_memory_mb: int = 2048

    def read(self, cursor: Cursor | None = None) -> Iterator[SourceEvent]:
        """Yield every file that changed since the cursor's notes, in path order; one that cannot be read is reported.

        Raises SourceError when a path matches nothing.
        """
        found = find_files(self.name, self.root, self.paths, self.exclude)
        notes = {scope: head for scope, _, head in cursor.find(name="file")} if cursor is not None else {}
        matched = [matching(self.root, rule.path) for rule in self.labels.rules]
        labels = {file: self.labels.of(file, matched) for file in found.files}
        for rule, named in zip(self.labels.rules, matched, strict=True):
            if named.isdisjoint(found.files):
                yield Note(text=f"The rule for {rule.path!r} names no file of this source.")
        changed = [file for file in found.files if not self._looks_unchanged(file, notes.get(file), labels[file])]
        yield Expected(documents=len(changed))
        missing = {head["hash"]: scope for scope, head in notes.items() if scope not in found.files}
        limits = ParserProcess(timeout_s=self.parse_timeout_s, memory_bytes=self.parse_memory_mb << 20)
        try:
            for file in changed:
                yield from _File(
                    source=self, path=file, labels=labels[file], note=notes.get(file), missing=missing, child=limits
                ).read()
        finally:
            limits.close()
        kept = set()
        for folder, reason in found.unreadable.items():
            yield Unreadable(document_id=folder, scope=folder, reason=reason)
            kept |= {folder, *(scope for scope in notes if scope.startswith(folder + "/"))}
        yield SnapshotComplete(scopes=frozenset({*found.files, *kept}), changes_only=True)

    def check(self) -> str:
        """What the source holds, in one line. Raises SourceError when a path matches nothing."""
        return f"{', '.join(self.paths)}: {len(find_files(self.name, self.root, self.paths, self.exclude).files)} files"

    def signature(self, labels: Labels) -> list[Any]:
        """All that a file's documents hang on, besides its content."""
        return [_FORMAT, labels["tenant"], list(labels["acl"]), list(labels["tags"]), str(self.root)]

    def _looks_unchanged(self, file: str, note: Mapping[str, Any] | None, labels: Labels) -> bool:
        if note is None or note["signature"] != self.signature(labels):
            return False
        try:
            stat = (self.root / file).stat()
        except OSError:
            return False
        settled = note["mtime_ns"] < note["read_at_ns"] - _SETTLED_NS
        return settled and (stat.st_size, stat.st_mtime_ns) == (note["size"], note["mtime_ns"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One file of a read. missing: files that are gone since the last read, by the hash of their content."""

    source: FilesSource
    path: str
    labels: Labels
    note: Mapping[str, Any] | None
    missing: Mapping[str, str]
    child: ParserProcess

    @property
    def full_path(self) -> Path:
        return self.source.root / self.path

    def read(self) -> Iterator[SourceEvent]:
        try:
            for attempt in range(_ATTEMPTS):
                before = _identity(self.full_path)
                read_at_ns = time.time_ns()
                digest = _hash(self.full_path)
                now = {"signature": self.source.signature(self.labels), "size": before[1], "mtime_ns": before[2]}
                now |= {"hash": digest, "read_at_ns": read_at_ns}
                if self.note is not None and (self.note["hash"], self.note["signature"]) == (digest, now["signature"]):
                    yield self._noted({**self.note, **now})
                    return
                if (yield from self._parse(now, before, last=attempt == _ATTEMPTS - 1)):
                    return
        except OSError as err:
            yield Unreadable(document_id=self.path, scope=self.path, reason=str(err))

    def _parse(
        self, now: Mapping[str, Any], before: tuple[int, ...], *, last: bool
    ) -> Generator[SourceEvent, None, bool]:
        """Yield the file's documents. Returns False when it was replaced meanwhile and should be read again."""
        kind = "ignored"
        sweeps = self.note is not None and self.note["kind"] in ("records", "unreadable")  # other ids may have to go
        moved_from = self.missing.get(now["hash"], "")
        try:
            for item in self._items():
                if kind == "ignored":
                    kind = "records" if isinstance(item, Record) else "text"
                    sweeps = sweeps or kind == "records"
                    if kind == "text" and not last and not self._is_still(before):
                        return False
                    if sweeps:
                        yield Listing(scope=self.path)
                place = f"#{item.place}" if isinstance(item, Record) else ""
                document = self._document(item, place, now["mtime_ns"] // 1_000_000_000)
                yield Upsert(document=document, moved_from=moved_from + place if moved_from else "")
        except Ignored as err:
            yield Unreadable(document_id=self.path, scope=self.path, reason=str(err), ignored=True)
            sweeps = self.note is not None and self.note["kind"] != "ignored"
            if sweeps:
                yield Listing(scope=self.path)
        except OSError:
            raise
        except Exception as err:  # noqa: BLE001 a library may raise anything over a damaged file; the other files go on
            yield Unreadable(document_id=self.path, scope=self.path, reason=_reason(err))
            yield self._noted({**now, "kind": "unreadable"})
            return True
        if not self._is_still(before):
            reason = "the file changed while it was read; the next run reads it again"
            yield Unreadable(document_id=self.path, scope=self.path, reason=reason)
            return True
        noted = self._noted({**now, "kind": kind})
        yield Listed(scope=self.path, checkpoint=noted) if sweeps else noted
        return True

    def _items(self) -> Iterator[Parsed | Record]:
        return self.child.parse(self.full_path) if is_binary(self.full_path) else parse(self.full_path)

    def _is_still(self, before: tuple[int, ...]) -> bool:
        return _identity(self.full_path) == before

    def _noted(self, head: Mapping[str, Any]) -> Checkpoint:
        return Checkpoint(scope=self.path, name="file", head=head)

    def _document(self, item: Parsed | Record, place: str, updated_at: int) -> Document:
        source = self.source
        return Document(
            id=self.path + place,
            source=source.name,
            title=f"{item.title or self.full_path.name}{f' ({place[1:]})' if place else ''}",
            text=item.text,
            uri=self.full_path.resolve().as_uri() + place,
            scope=self.path,
            kind="row" if isinstance(item, Record) else "file",
            primary_key=dict(item.key) if isinstance(item, Record) else None,
            sections=item.sections if isinstance(item, Parsed) else (),
            key_text=item.title if isinstance(item, Record) else "",
            updated_at=updated_at,
            **self.labels,
        )


def _reason(err: Exception) -> str:
    text = str(err) if isinstance(err, CannotParse) else f"the file cannot be read: {type(err).__name__}: {err}"
    return text[:500]


def _identity(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Reads folders: each file, or each record of a table-like file, becomes a document with its positions.

A file whose size, times and inode are as the last read noted them is not opened; one whose content has the same hash
is not parsed. PDF and office files are parsed in a process of their own, with limits.
"""

import hashlib
import os
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.files.left_out import LeftOut
from connectors.files.limits import PARSE_MEMORY_MB, PARSE_TIMEOUT
from connectors.files.patterns import Pattern
from connectors.files.search import below, find_files, matching
from connectors.files.visibility import FileVisibility
from connectors.parsers import Hidden, Item, Parsed, Record, is_binary, parse
from connectors.parsers.child import ParserProcess
from connectors.parsers.errors import CannotParse, Ignored
from connectors.visibility import Visibility
from rag.documents import Document
from rag.errors import SourceError
from rag.events import (
    Checkpoint,
    Expected,
    Listed,
    Listing,
    Notice,
    Passed,
    SnapshotComplete,
    SourceEvent,
    Unreadable,
    Upsert,
)
from rag.ports import LISTING, Notes

_FORMAT = 2  # of parsed documents: a change has every file parsed anew
_SETTLED_NS = 2_000_000_000  # a file changed so shortly before it was read may change again within one tick of its time
_REPLACED = -1
_ATTEMPTS = 3  # at a file that is replaced while it is read


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSource:
    """Files as a source. paths: files, folders and globs (`docs/**/*.md`), relative to root; hidden files are left out.

    Secrets, build output and what ignore files name are left out too (connectors/files/left_out.py), but for what
    `include` names; own: the configuration and Citewell's data, which nothing takes in. hidden: read hidden sheets,
    rows, columns and slides.

    A file becomes one document whose id is its path relative to root; a record of a CSV, XLSX, JSON or JSONL file
    becomes `PATH#row=N`. parse_timeout (seconds) and parse_memory_mb bound the parsing of one PDF or office file.
    """

    name: str
    paths: tuple[str, ...]
    root: Path
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    own: tuple[Path, ...] = ()
    hidden: bool = False
    labels: FileVisibility = FileVisibility()
    parse_timeout: float = PARSE_TIMEOUT
    parse_memory_mb: int = PARSE_MEMORY_MB

    def read(self, notes: Notes | None = None, /) -> Iterator[SourceEvent]:
        """Yield every file that changed since the notes, in path order; unreadable ones are reported.

        Raises SourceError when a path matches nothing.
        """
        left_out = self._left_out()
        found = find_files(self.name, self.root, self.paths, self.exclude, left_out)
        if told := left_out.told():
            yield Notice(text=told)
        noted = {scope: head for scope, _, head in notes.find(name="file")} if notes is not None else {}
        unfinished = {scope for scope, _, _ in notes.find(name=LISTING)} if notes is not None else set()
        out_of_reach = below(self.root, found.unreadable, noted)
        labels = yield from self._labels_of([*found.files, *out_of_reach])
        documents = yield from self._read_changed(found.files, noted, labels, unfinished)
        for place, reason in found.unreadable.items():
            yield Unreadable(document_id=place, scope=place, reason=reason)
        for file in sorted(out_of_reach):
            if _changed_rights(noted[file], labels[file]):
                reason = "who may see it has changed, and it cannot be read"
                yield Unreadable(document_id=file, scope=file, reason=reason, withdrawn=True)
        yield SnapshotComplete(
            scopes=frozenset({*found.files, *found.unreadable, *out_of_reach}),
            changes_only=True,
            documents=_total(documents) if not found.unreadable else None,
        )

    def _labels_of(self, files: Collection[str]) -> Generator[SourceEvent, None, dict[str, Visibility]]:
        matched = [matching(self.root, rule.path, files) for rule in self.labels.rules]
        for rule, named in zip(self.labels.rules, matched, strict=True):
            if not named:
                yield Notice(text=f"The rule for {rule.path!r} matches no file of this source.")
        return {file: self.labels.of(file, matched) for file in files}

    def _read_changed(
        self,
        files: Collection[str],
        noted: Mapping[str, Mapping[str, Any]],
        labels: Mapping[str, Visibility],
        unfinished: Collection[str],
    ) -> Generator[SourceEvent, None, list[int | None]]:
        """Yield what changed. Returns how many documents each file has, None where that is not known."""
        changed = [file for file in files if not self._looks_unchanged(file, noted.get(file), labels[file])]
        sizes = {file: _size(self.place_of(file)) for file in changed}
        yield Expected(size_bytes=sum(sizes.values()))
        documents = {file: noted[file].get("documents") if file in noted else None for file in files}
        missing = {head["hash"]: scope for scope, head in noted.items() if scope not in files}
        limits = ParserProcess(timeout_s=self.parse_timeout, memory_bytes=self.parse_memory_mb << 20)
        try:
            for file in changed:
                read = _File(
                    source=self,
                    path=file,
                    size_bytes=sizes[file],
                    labels=labels[file],
                    note=noted.get(file),
                    unfinished=file in unfinished,
                    missing=missing,
                    child=limits,
                )
                documents[file] = yield from read.read()
                yield from read.pass_to(1.0)
        finally:
            limits.close()
        return list(documents.values())

    def check(self) -> str:
        """What the source holds, in one line. Raises SourceError when a path matches nothing."""
        found = find_files(self.name, self.root, self.paths, self.exclude, self._left_out())
        unreadable = f", {len(found.unreadable)} places that cannot be read" if found.unreadable else ""
        return f"{', '.join(self.paths)}: {len(found.files)} files{unreadable}"

    def _left_out(self) -> LeftOut:
        include = [Pattern.of(self.root, pattern) for pattern in self.include]
        return LeftOut(self.root, own=[path.resolve() for path in self.own], include=include)

    def place_of(self, file: str) -> Path:
        """Where a file is; one outside the root is not reached through the root, which may be locked or a link."""
        return Path(os.path.abspath(self.root / file))

    def signature(self, labels: Visibility) -> list[Any]:
        """All that a file's documents hang on, besides its content."""
        return [_FORMAT, labels["tenant"], list(labels["acl"]), list(labels["tags"]), str(self.root), self.hidden]

    def _looks_unchanged(self, file: str, note: Mapping[str, Any] | None, labels: Visibility) -> bool:
        if note is None or note["signature"] != self.signature(labels):
            return False
        try:
            seen = _seen(self.place_of(file))
        except OSError:
            return False
        settled = max(seen["mtime_ns"], seen["ctime_ns"]) < note["read_at_ns"] - _SETTLED_NS
        return settled and seen.items() <= note.items()


@dataclass(slots=True, kw_only=True)
class _File:
    """One file of a read, of size_bytes when the read began, of which passed have been told.

    unfinished: an earlier read of it was broken off, so it may have documents though it has no note. missing: files
    that are gone since the last read, by the hash of their content.
    """

    source: FilesSource
    path: str
    labels: Visibility
    note: Mapping[str, Any] | None
    unfinished: bool
    missing: Mapping[str, str]
    child: ParserProcess
    size_bytes: int
    passed: int = 0

    @property
    def full_path(self) -> Path:
        return self.source.place_of(self.path)

    def read(self) -> Generator[SourceEvent, None, int | None]:
        """Yield the file's documents, if it changed. Returns how many it has, None when it could not be read."""
        try:
            for attempt in range(_ATTEMPTS):
                before = _seen(self.full_path)
                read_at_ns = time.time_ns()
                digest = _hash(self.full_path)
                now = {**before, "signature": self.source.signature(self.labels), "hash": digest}
                now |= {"read_at_ns": read_at_ns}
                if self.note is not None and (self.note["hash"], self.note["signature"]) == (digest, now["signature"]):
                    yield self._noted({**self.note, **now})
                    return self.note.get("documents")
                documents = yield from self._parse(now, before, last=attempt == _ATTEMPTS - 1)
                if documents != _REPLACED:
                    return documents
        except OSError as err:
            yield self._unreadable(str(err))
        return None

    def _parse(
        self, now: Mapping[str, Any], before: Mapping[str, int], *, last: bool
    ) -> Generator[SourceEvent, None, int | None]:
        """Yield the file's documents, and return how many. _REPLACED: it was replaced meanwhile, read it again."""
        kind, documents = "ignored", 0
        # Other ids may have to go.
        sweeps = self.unfinished or (self.note is not None and self.note["kind"] in ("records", "unreadable"))
        moved_from = self.missing.get(now["hash"], "")
        try:
            for item in self._items():
                if isinstance(item, Hidden):
                    yield Notice(
                        text=f"{self.path}: {item.what} not read. To read them, set hidden = true in the source."
                    )
                    continue
                if kind == "ignored":
                    kind = "records" if isinstance(item, Record) else "text"
                    sweeps = sweeps or kind == "records"
                    if kind == "text" and not last and not self._is_still(before):
                        return _REPLACED
                    if sweeps:
                        yield Listing(scope=self.path)
                place = f"#{item.place}" if isinstance(item, Record) else ""
                document = self._document(item, place, now["mtime_ns"] // 1_000_000_000)
                yield Upsert(document=document, moved_from=moved_from + place if moved_from else "")
                documents += 1
                if isinstance(item, Record):
                    yield from self.pass_to(item.share)
        except Ignored as err:
            yield Unreadable(document_id=self.path, scope=self.path, reason=str(err), ignored=True)
            sweeps = self.unfinished or (self.note is not None and self.note["kind"] != "ignored")
            if sweeps:
                yield Listing(scope=self.path)
        except (OSError, SourceError):
            raise
        except Exception as err:  # noqa: BLE001 a library may raise anything over a damaged file; the other files go on
            yield self._unreadable(_reason(err))
            yield self._noted({**now, "kind": "unreadable", "documents": None})
            return None
        if not self._is_still(before):
            reason = "the file changed while it was read; the next run reads it again"
            yield self._unreadable(reason)
            return None
        noted = self._noted({**now, "kind": kind, "documents": documents})
        yield Listed(scope=self.path, checkpoint=noted) if sweeps else noted
        return documents

    def pass_to(self, share: float) -> Iterator[Passed]:
        """Tell how much of the file has been read, in steps worth telling."""
        more = int(self.size_bytes * min(share, 1.0)) - self.passed
        if more > 0 and (share == 1.0 or more >= self.size_bytes / 1000):
            self.passed += more
            yield Passed(size_bytes=more)

    def _items(self) -> Iterator[Item]:
        read = self.child.parse if is_binary(self.full_path) else parse
        return read(self.full_path, hidden=self.source.hidden)

    def _unreadable(self, reason: str) -> Unreadable:
        """What was indexed of the file stays, unless others may see it now."""
        withdrawn = self.note is not None and _changed_rights(self.note, self.labels)
        return Unreadable(document_id=self.path, scope=self.path, reason=reason, withdrawn=withdrawn)

    def _is_still(self, before: Mapping[str, int]) -> bool:
        return _seen(self.full_path) == before

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


def _changed_rights(note: Mapping[str, Any], labels: Visibility) -> bool:
    """Whether others may see a file now than when it was read."""
    _, tenant, acl, *_ = note["signature"]
    return (tenant, acl) != (labels["tenant"], list(labels["acl"]))


def _reason(err: Exception) -> str:
    text = str(err) if isinstance(err, CannotParse) else f"the file cannot be read: {type(err).__name__}: {err}"
    return text[:500]


def _seen(path: Path) -> dict[str, int]:
    """What tells, without opening a file, that it changed. Anybody can set mtime back; ctime only the system sets."""
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns, "inode": stat.st_ino}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _total(documents: Collection[int | None]) -> int | None:
    known = [number for number in documents if number is not None]
    return sum(known) if len(known) == len(documents) else None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Reads folders: each file, or each record of a table-like file, becomes a document with its positions."""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors.parsers import Parsed, Record, parse
from connectors.parsers.errors import CannotParse, Ignored
from rag.errors import SourceError
from rag.types import Document, SnapshotComplete, SourceEvent, Unreadable, Upsert


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSource:
    """Files as a source. paths: files, folders and globs (`docs/**/*.md`), relative to root; hidden files are left out.

    A file becomes one document whose id is its path relative to root; a record of a CSV, XLSX, JSON or JSONL file
    becomes `PATH#row=N`.
    """

    name: str
    paths: tuple[str, ...]
    root: Path
    exclude: tuple[str, ...] = ()
    tenant: str = "default"
    acl: tuple[str, ...] = ()

    def read(self, cursor: str | None = None) -> Iterator[SourceEvent]:
        """Yield every file in path order; a file that cannot be read is reported, and the rest goes on.

        Raises SourceError when a path matches nothing.
        """
        files = self._files()
        for relative in files:
            yield from self._read_file(relative)
        yield SnapshotComplete(scopes=frozenset(files))

    def check(self) -> str:
        """What the source holds, in one line. Raises SourceError when a path matches nothing."""
        files = self._files()
        return f"{', '.join(self.paths)}: {len(files)} files"

    def _files(self) -> list[str]:
        if not self.paths:
            raise SourceError(f'Source {self.name!r} names no files: paths = ["docs/**/*"].')
        found: set[str] = set()
        for pattern in self.paths:
            matched = self._matches(pattern)
            if not matched:
                raise SourceError(
                    f"Source {self.name!r}: no file matches {pattern!r} under {self.root}. Check paths; "
                    "a folder is read with FOLDER/**/*."
                )
            found |= matched
        left_out = {path for pattern in self.exclude for path in self._matches(pattern)}
        return sorted(found - left_out)

    def _matches(self, pattern: str) -> set[str]:
        pattern = os.path.expanduser(pattern)
        if (self.root / pattern).is_dir():
            pattern = os.path.join(glob.escape(pattern), "**", "*")
        matched = glob.glob(pattern, root_dir=self.root, recursive=True)
        return {
            Path(os.path.relpath(self.root / path, self.root)).as_posix()
            for path in matched
            if (self.root / path).is_file()
        }

    def _read_file(self, relative: str) -> Iterator[SourceEvent]:
        path = self.root / relative
        try:
            updated_at = int(path.stat().st_mtime)
            for item in parse(path):
                yield Upsert(document=self._document(relative, path, item, updated_at))
        except Ignored as err:
            yield Unreadable(document_id=relative, scope=relative, reason=str(err), ignored=True)
        except (CannotParse, OSError) as err:
            yield Unreadable(document_id=relative, scope=relative, reason=str(err))
        except Exception as err:  # noqa: BLE001 a library may raise anything over a damaged file; the other files go on
            reason = f"the file cannot be read: {type(err).__name__}: {err}"
            yield Unreadable(document_id=relative, scope=relative, reason=reason[:500])

    def _document(self, relative: str, path: Path, item: Parsed | Record, updated_at: int) -> Document:
        place = item.place if isinstance(item, Record) else ""
        tail = f"#{place}" if place else ""
        return Document(
            id=relative + tail,
            source=self.name,
            title=f"{item.title or path.name}{f' ({place})' if place else ''}",
            text=item.text,
            uri=path.resolve().as_uri() + tail,
            scope=relative,
            kind="row" if isinstance(item, Record) else "file",
            primary_key=dict(item.key) if isinstance(item, Record) else None,
            sections=item.sections if isinstance(item, Parsed) else (),
            key_text=item.title if isinstance(item, Record) else "",
            updated_at=updated_at,
            tenant=self.tenant,
            acl=self.acl,
        )

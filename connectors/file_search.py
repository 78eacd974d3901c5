"""Finds the files that a source's paths name."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rag.errors import SourceError

_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Files in path order, relative to the root; folders that could not be listed, with the reason."""

    files: dict[str, None]
    unreadable: dict[str, str] = field(default_factory=dict)


def find_files(source: str, root: Path, paths: Sequence[str], exclude: Sequence[str]) -> Found:
    """The files that paths name and exclude does not. A file that several names lead to is found once.

    `**` does not follow links to folders, so that no loop of links can trap it; a path may name such a folder itself.
    Raises SourceError when a path matches nothing.
    """
    if not paths:
        raise SourceError(f'Source {source!r} names no files: paths = ["docs/**/*"].')
    matched: set[str] = set()
    unreadable: dict[str, str] = {}
    for pattern in paths:
        files = _matches(root, pattern, unreadable)
        if not files and not unreadable:
            raise SourceError(
                f"Source {source!r}: no file matches {pattern!r} under {root}. Check paths; "
                "a folder is read with FOLDER/**/*."
            )
        matched |= files
    left_out = {file for pattern in exclude for file in matching(root, pattern)}
    return Found(files=dict.fromkeys(_once(root, matched - left_out)), unreadable=unreadable)


def _once(root: Path, files: set[str]) -> list[str]:
    """Files by path; of several that are one file by links, the one that is no link."""
    owners: dict[str, str] = {}
    for file in sorted(files, key=lambda file: (os.path.realpath(root / file) != os.path.abspath(root / file), file)):
        owners.setdefault(os.path.realpath(root / file), file)
    return sorted(owners.values())


def matching(root: Path, pattern: str) -> set[str]:
    """The files that a pattern names, relative to the root."""
    return _matches(root, pattern, {})


def _matches(root: Path, pattern: str, unreadable: dict[str, str]) -> set[str]:
    base, rest = _split(root, os.path.expanduser(pattern))
    if not rest and base.is_file():
        return {_relative(root, base)}
    rest = rest or "**/*"
    if "**" in rest:
        _check_folders(root, base, unreadable)
    found = (path for path in base.glob(rest) if not _is_hidden(path.relative_to(base)) and path.is_file())
    return {_relative(root, path) for path in found}


def base_of(root: Path, pattern: str) -> Path:
    """The file or folder that a pattern begins with, before its first wildcard."""
    return _split(root, os.path.expanduser(pattern))[0]


def _split(root: Path, pattern: str) -> tuple[Path, str]:
    """The folder or file that a pattern begins with, and the part that has wildcards."""
    parts = Path(root / pattern).parts
    fixed = next((i for i, part in enumerate(parts) if _MAGIC & set(part)), len(parts))
    whole = Path(*parts)
    if fixed < len(parts) and whole.exists():  # a name that has brackets of its own
        return whole, ""
    return Path(*parts[:fixed]), "/".join(parts[fixed:])


def _check_folders(root: Path, base: Path, unreadable: dict[str, str]) -> None:
    """Note the folders that cannot be listed: their files must not count as gone."""

    def note(err: OSError) -> None:
        unreadable[_relative(root, Path(err.filename))] = f"the folder cannot be listed: {err.strerror}"

    if base.exists():
        for _ in os.walk(base, onerror=note):
            pass


def _relative(root: Path, path: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)

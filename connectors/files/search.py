"""Finds the files that a source's paths name."""

import errno
import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from connectors.files.left_out import Below, LeftOut
from connectors.files.patterns import Pattern, States
from rag.errors import SourceError

_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_REMEDY = "Let the user that runs Citewell read it (a folder: list and enter it), or leave it out with exclude"
_NO_TEXT = "its name is not UTF-8; rename it so that it can be read"
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # what Python reads from bytes that are not UTF-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Files in path order, relative to the root; places that could not be looked at, with the reason.

    What is below such a place, or is the place, must not count as gone.
    """

    files: dict[str, None]
    unreadable: dict[str, str] = field(default_factory=dict)


def find_files(
    source: str, root: Path, paths: Sequence[str], exclude: Sequence[str], left_out: LeftOut | None = None
) -> Found:
    """The files that paths name, but for what exclude names or is left out by default.

    A file that several names lead to is found once.

    `**` does not follow links to folders, so that no loop of links can trap it; a path may name such a folder itself.
    A name that is not UTF-8 is told as unreadable, under an escaped name. Raises SourceError when a path matches
    nothing.
    """
    if not paths:
        raise SourceError(f'Source {source!r} names no files: paths = ["docs/**/*"].')
    excluded = [Pattern.of(root, pattern) for pattern in exclude]
    met: dict[str, _Place | _Unseen] = {}
    left_out = left_out or LeftOut(root)
    for text in paths:
        pattern = Pattern.of(root, text)
        out = left_out.below(pattern.base)
        looked_at = {place.path: place for place in _look(root, pattern, [*excluded, out])}
        named = {
            path: place
            for path, place in looked_at.items()
            if isinstance(place, _Unseen) or not (left_out.is_own(place.real) or out.fits(path))
        }
        if looked_at and not named:
            raise SourceError(f"Source {source!r}: nothing that matches {text!r} is read. {left_out.told()}".strip())
        if not named:
            raise SourceError(
                f"Source {source!r}: no file matches {text!r} under {root}. Check paths; "
                "a folder is read with FOLDER/**/*."
            )
        met |= named
    wanted = [
        place for place in met.values() if not any(out.fits(place.path) or out.covers(place.path) for out in excluded)
    ]
    return _found(root, wanted)


def matching(root: Path, pattern: str, files: Collection[str]) -> set[str]:
    """Those of some files, relative to the root, that a pattern names. Goes by the names, so no folder can hide one."""
    parsed = Pattern.of(root, pattern)
    return {file for file in files if parsed.fits(os.path.abspath(root / file))}


def below(root: Path, places: Collection[str], files: Collection[str]) -> set[str]:
    """Those of some files that are one of some places, or below one, all relative to the root."""
    held = {os.path.abspath(root / place) for place in places}
    return {file for file in files if held and not held.isdisjoint(_with_parents(os.path.abspath(root / file)))}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A file or folder, by its absolute path. linked: links lead to it; real: the path without them."""

    path: str
    real: str
    kind: str
    linked: bool
    states: States


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unseen:
    """A place where one cannot look, with the reason."""

    path: str
    reason: str


def _look(root: Path, pattern: Pattern, exclude: Sequence[Pattern | Below]) -> Iterator[_Place | _Unseen]:
    """The files that a pattern names, and the places where one cannot look for them, the base too if left out."""
    base = _begin(root, pattern)
    if not isinstance(base, _Place) or base.kind == "file":
        yield from [base] if base is not None else []
        return
    waiting = [base]
    while waiting:
        folder = waiting.pop()
        if any(excluded.covers(folder.path) for excluded in exclude):
            if folder is base:
                yield _Unseen(path=folder.path, reason="it is left out")
            continue
        try:
            entries = _entries(folder.path, pattern.names_next(folder.states))
        except OSError as err:
            yield _unseen(folder.path, err)
            continue
        for name, kind in entries:
            met = _enter(pattern, folder, name, kind)
            if isinstance(met, _Place) and met.kind == "folder":
                waiting.append(met)
            elif met is not None:
                yield met


def _begin(root: Path, pattern: Pattern) -> _Place | _Unseen | None:
    """What a pattern's base is; None when it is nothing that the pattern could name."""
    try:
        kind = _kind_behind_links(pattern.base)
    except OSError as err:
        return _unseen(pattern.base, err)
    if not kind or (kind == "file" and not pattern.is_name):
        return None
    real = os.path.realpath(pattern.base)
    below_root = os.path.relpath(pattern.base, root)
    expected = os.path.normpath(os.path.join(os.path.realpath(root), below_root))
    return _Place(path=pattern.base, real=real, kind=kind, linked=real != expected, states=pattern.start)


def _enter(pattern: Pattern, folder: _Place, name: str, kind: str) -> _Place | _Unseen | None:
    """What an entry of a folder is to a pattern: a file that it names, a folder on the way, a place out of sight."""
    is_link = kind == "link"
    states = pattern.step(folder.states, name, stays=not is_link)
    if not states:
        return None
    path, real = _inside(folder.path, name), _inside(folder.real, name)
    if is_link:
        try:
            kind = _kind_behind_links(path)
        except OSError as err:
            return _unseen(path, err)
        real = os.path.realpath(path)
    wanted = pattern.end in states if kind == "file" else kind == "folder" and states != {pattern.end}
    return _Place(path=path, real=real, kind=kind, linked=folder.linked or is_link, states=states) if wanted else None


def _entries(folder: str, names: Sequence[str] | None) -> list[tuple[str, str]]:
    """Entries of a folder with their kinds; names: look for these only. Raises OSError when one cannot look."""
    os.stat(_inside(folder, "."))  # one that can be listed may still let nobody in, or be gone
    if names is not None:
        kinds = ((name, _kind_of(_inside(folder, name))) for name in names)
        return [(name, kind) for name, kind in kinds if kind]
    with os.scandir(folder) as listed:
        return [(entry.name, _kind_listed(entry)) for entry in listed]


def _kind_listed(entry: os.DirEntry[str]) -> str:
    if entry.is_file(follow_symlinks=False):
        return "file"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "link" if entry.is_symlink() else ""


def _kind_of(path: str) -> str:
    try:
        mode = os.lstat(path).st_mode
    except OSError as err:
        if err.errno in _NOT_THERE:
            return ""
        raise
    return _kind(mode)


def _kind_behind_links(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError as err:
        if err.errno in _NOT_THERE:
            return ""
        raise
    except ValueError:  # no name at all
        return ""
    return _kind(mode)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(mode), "")


def _inside(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def _unseen(path: str, err: OSError) -> _Unseen:
    if err.errno in _NOT_THERE:
        return _Unseen(
            path=path, reason="it was moved or removed while the folder was scanned; the next run scans again"
        )
    return _Unseen(path=path, reason=f"it cannot be read: {err.strerror}. {_REMEDY}.")


def _found(root: Path, met: Collection[_Place | _Unseen]) -> Found:
    """Sort what was met: of several names of one file the one that is no link, unless that is no text."""
    places: dict[str, _Place] = {}
    names = _relative(root, [place.path for place in met])
    files = [place for place in met if isinstance(place, _Place)]
    for place in sorted(files, key=lambda place: (not _is_text(names[place.path]), place.linked, names[place.path])):
        places.setdefault(place.real, place)
    found = [names[place.path] for place in places.values()]
    unreadable = {_text_of(names[place.path]): place.reason for place in met if isinstance(place, _Unseen)}
    unreadable |= {_text_of(name): _NO_TEXT for name in found if not _is_text(name)}
    return Found(files=dict.fromkeys(sorted(filter(_is_text, found))), unreadable=dict(sorted(unreadable.items())))


def _relative(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """Absolute paths, with what they are called from the root."""
    above = os.path.join(os.path.abspath(root), "")
    return {path: path[len(above) :] if path.startswith(above) else os.path.relpath(path, root) for path in paths}


def _is_text(name: str) -> bool:
    return _SURROGATE.search(name) is None


def _text_of(name: str) -> str:
    """A name up to its first part that is no text, which is escaped: all that is below has the same remedy."""
    parts = name.split("/")
    end = next((i for i, part in enumerate(parts, 1) if not _is_text(part)), len(parts))
    return "/".join(parts[:end]).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _with_parents(path: str) -> Iterator[str]:
    yield path
    while path != (path := os.path.dirname(path)):
        yield path

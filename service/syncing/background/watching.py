"""Tells when files change: as the operating system says, and when a watched folder is another one than before."""

import logging
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from watchfiles import watch

_DEBOUNCE_MS = 1000
_POLL_MS = 1000
_BLIND_S = 30.0  # until watching is tried again
_log = logging.getLogger("citewell")

News = Literal["begun", "changed", ""]


def follow_files(bases: Sequence[Path], *, ignore: Path, stop: threading.Event) -> Iterator[News]:
    """Yield about once a second, until stop is set, what is new of some files and of all that is in some folders.

    "begun": they are watched from now on, or anew, because some were put in the place of others, or went.
    "changed": something in them changed. The operating system follows a folder wherever it is moved to, so the places
    are looked at too. Hidden files, and what is below `ignore`, do not count.
    """
    told, blind_until = "", 0.0
    while not stop.is_set():
        is_blind = time.monotonic() < blind_until
        places = {base: _identity(base) for base in bases}
        news: News = "begun"
        try:
            for paths in _changes([] if is_blind else [base for base in bases if base.is_dir()], stop):
                if not places.keys().isdisjoint(paths) or places != {base: _identity(base) for base in bases}:
                    blind_until = 0.0
                    break
                if is_blind and time.monotonic() >= blind_until:
                    break
                yield news or ("changed" if any(_counts(path, bases, ignore) for path in paths) else "")
                news = ""
        except (OSError, RuntimeError) as err:  # a folder went at this moment, or the system watches no more of them
            blind_until = time.monotonic() + _BLIND_S
            if told != str(err):
                told = str(err)
                _log.warning("file changes cannot be watched, so files are read every %g s: %s", _BLIND_S, told)


def _changes(folders: Sequence[Path], stop: threading.Event) -> Iterator[set[Path]]:
    """Paths that changed, about once a second; where there is no folder to watch only the time passes.

    Ends when watching should begin anew.
    """
    if not folders:
        while not stop.wait(_POLL_MS / 1000):
            yield set()
        return
    try:
        yield from _told(folders, stop, recursive=True)
    except PermissionError:  # a folder below may not be watched, and with it others would be left out
        below = {Path(place) for folder in folders for place, _, _ in os.walk(folder) if _is_open(place)}
        for paths in _told(sorted(below), stop, recursive=False):
            yield paths
            if any(path in below or os.path.isdir(path) for path in paths):
                return


def _told(folders: Sequence[Path], stop: threading.Event, *, recursive: bool) -> Iterator[set[Path]]:
    for changes in watch(
        *folders,
        watch_filter=None,  # with one, changes that do not count would keep us from looking at the places
        debounce=_DEBOUNCE_MS,
        rust_timeout=_POLL_MS,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=False,
        recursive=recursive,
        ignore_permission_denied=False,
    ):
        yield {Path(path) for _, path in changes}


def _is_open(folder: str) -> bool:
    return os.access(folder, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


def _identity(base: Path) -> tuple[int, ...]:
    """What tells a folder from another one in its place, and one state of a file from the next; nothing: it is away."""
    try:
        seen = base.stat()
    except OSError:
        return ()
    place = (seen.st_dev, seen.st_ino)
    return place if stat.S_ISDIR(seen.st_mode) else (*place, seen.st_size, seen.st_ctime_ns)


def _counts(path: Path, bases: Sequence[Path], ignore: Path) -> bool:
    """Whether a file that changed may be read: it is not hidden below a base, and not of our own data."""
    below = [path.relative_to(base).parts for base in bases if path.is_relative_to(base)]
    is_hidden = all(any(part.startswith(".") for part in parts) for parts in below)
    return not is_hidden and not path.is_relative_to(ignore)

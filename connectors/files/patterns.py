"""Patterns such as `docs/**/*.md`, segment by segment, for walking folders and for sorting names."""

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from rag.errors import SourceError

_MAGIC = frozenset("*?[")
_ALL_BELOW = ("**", "*")

States = frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """What a path of a source names. base: the absolute path before its first wildcard; segments: what follows.

    is_name: it has no wildcards, so that it names the base, and everything below when that is a folder. How far a path
    has come is told by states: numbers of the segments that may come next, `end` when the path is named.
    """

    base: str
    segments: tuple[str, ...]
    is_name: bool

    @classmethod
    def of(cls, root: Path, text: str) -> "Pattern":
        """Read a pattern that is relative to root. Raises SourceError where `**` is only a part of a segment."""
        base, rest = _split(root, text)
        if wrong := next((segment for segment in rest if "**" in segment and segment != "**"), None):
            raise SourceError(
                f"The path {text!r} has ** within {wrong!r}. It stands for any number of folders and has to be a "
                "segment of its own, as in docs/**/*.md; within a name write *."
            )
        if rest and rest[-1] == "**":
            rest = (*rest, "*")
        return cls(base=base, segments=rest or _ALL_BELOW, is_name=not rest)

    @property
    def start(self) -> States:
        return self._reached([0])

    @property
    def end(self) -> int:
        return len(self.segments)

    def step(self, states: States, name: str, *, stays: bool = True) -> States:
        """Where a path is after another part. stays: `**` may stand for it. Hidden parts fit nothing."""
        if name.startswith("."):
            return frozenset()
        segments, after = self.segments, []
        for state in states:
            segment = segments[state] if state < len(segments) else ""
            if segment == "**":
                after += [state] if stays else []
            elif segment == "*" or fnmatchcase(name, segment):
                after.append(state + 1)
        return self._reached(after) if after else frozenset()

    def names_next(self, states: States) -> list[str] | None:
        """The only names that can come next; None where wildcards leave that open."""
        segments = {self.segments[state] for state in states if state < self.end}
        return None if any(_MAGIC & set(segment) for segment in segments) else sorted(segments)

    def fits(self, path: str) -> bool:
        """Whether it names a file, given by its absolute path."""
        return (self.is_name and path == self.base) or self.end in self._states_of(path)

    def reaches(self, folder: str) -> bool:
        """Whether it may name something below a folder, given by its absolute path."""
        return f"{self.base}/".startswith(f"{folder}/") or bool(self._states_of(folder))

    def covers(self, folder: str) -> bool:
        """Whether it names everything below a folder, given by its absolute path."""
        return any(self.segments[state:] == _ALL_BELOW for state in self._states_of(folder))

    def _states_of(self, path: str) -> States:
        if path == self.base:
            return self.start
        above = os.path.join(self.base, "")
        if not path.startswith(above):
            return frozenset()
        states = self.start
        for part in path[len(above) :].split("/"):
            states = self.step(states, part)
        return states

    def _reached(self, states: list[int]) -> States:
        """States, and those behind a `**` that stands for no folder at all."""
        segments = self.segments
        for state in states:  # grows meanwhile
            if state < len(segments) and segments[state] == "**":
                states.append(state + 1)
        return frozenset(states)


def base_of(root: Path, text: str) -> Path:
    """The file or folder that a pattern begins with, before its first wildcard."""
    return Path(_split(root, text)[0])


def _split(root: Path, text: str) -> tuple[str, tuple[str, ...]]:
    """The absolute path that a pattern begins with, and the segments from its first wildcard on."""
    whole = root / os.path.expanduser(text)
    fixed = next((i for i, part in enumerate(whole.parts) if _MAGIC & set(part)), len(whole.parts))
    if os.path.exists(whole):  # a name may have brackets of its own
        fixed = len(whole.parts)
    return os.path.abspath(Path(*whole.parts[:fixed])), whole.parts[fixed:]

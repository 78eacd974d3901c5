"""What parsers give."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rag.documents import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A file's whole text with the positions of its pages and headings."""

    text: str
    title: str = ""
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a table-like file, with its place in it ({"sheet": "Prices", "row": 3}).

    share: about how much of the file has been read with it, from 0 to 1.
    """

    text: str
    title: str
    key: Mapping[str, str | int]
    share: float = 0.0

    @property
    def place(self) -> str:
        return "&".join(f"{name}={value}" for name, value in self.key.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """What a file hides from its readers, and so is not read: "2 hidden sheets"."""

    what: str


Item = Parsed | Record | Hidden


def lines(fields: Iterable[tuple[str, object]]) -> str:
    """Fields as lines; those without a value are left out."""
    shown = ((name.strip(), str(value).strip()) for name, value in fields if value is not None)
    return "\n".join(f"{name}: {value}" if name else value for name, value in shown if value)


class HeadingPath:
    """The path of headings at a point of a document: 'Returns > Damaged records'."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []

    def enter(self, level: int, heading: str) -> str:
        self._path = [(depth, name) for depth, name in self._path if depth < level]
        self._path.append((level, " ".join(heading.split())))
        return " > ".join(name for _, name in self._path)

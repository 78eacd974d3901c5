"""What the sync fuzz does to a source between two runs."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# The sources' names.
TABLES, ASKED, FOLDER = "shop", "digest", "folder"
_SENTENCE = "It lies on shelf {shelf:02d} and was looked at {edition} times, last by the clerk of the day."


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One transaction: statements of SQL, or what is done to files."""

    kind: str
    statements: tuple[Any, ...]


class World(Protocol):
    """A source that a generator changes. It does no I/O: it knows what there is, and says what is to be done.

    listed: whether it is read by a list of names. forgotten: scopes that were indexed, are gone, and were forgotten.
    """

    listed: bool
    reader: str
    forgotten: set[str]

    @property
    def names(self) -> list[str]:
        """What such a list holds."""

    def missing(self) -> set[str]:
        """Names of the list that are not there."""

    def create(self) -> Step:
        """What makes the source, first of all."""

    def step(self, kinds: Sequence[str] = ()) -> Step:
        """The next transaction; of one of these kinds, where one is possible."""

    def spoil(self) -> Step:
        """Make a part of the source unreadable."""

    def mend(self) -> Step:
        """Make all of it readable again."""

    @property
    def trouble(self) -> frozenset[str]:
        """Scopes that cannot be read now."""

    def expected(self) -> Mapping[str, Mapping[str, int]]:
        """Documents that each source has, by scope, once all is mended."""

    def quarantined(self) -> int:
        """Documents of the first source that can never be read."""


def note_of(rng: random.Random, subject: str, edition: int) -> str:
    """A text of some words; rarely one that is long enough for several chunks."""
    repeats = 60 if rng.random() < 0.02 else 1
    sentence = _SENTENCE.format(shelf=rng.randint(1, 99), edition=edition)
    return f"Edition {edition} of {subject}. " + " ".join([sentence] * repeats)

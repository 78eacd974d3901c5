"""A question, read: its language, the words that carry its meaning, and whether it asks for a figure over many rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from rag.language.languages import languages
from rag.language.terms import content_weights, terms
from rag.language.text import fold, language_of

_NO_SYNONYMS: Mapping[str, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with what was read from its words."""

    text: str
    language: str
    weights: dict[str, float]
    also: Mapping[str, frozenset[str]] = field(default_factory=dict)  # terms that the synonyms put in place of one
    expansion: str = ""  # the synonyms themselves, for the retrievers
    aggregate: str = ""  # the word that asks for a figure over many rows
    is_count: bool = False  # whether that figure is a number of things
    counted: str = ""  # the thing that is counted, where the question says it


def understand(text: str, synonyms: Mapping[str, Sequence[str]] = _NO_SYNONYMS) -> Question:
    """Read a question. synonyms: words of questions with the words that the sources use for them."""
    how_many, figure = _first(_how_many(), text), _first(_figure(), text)
    asking = figure or how_many
    counted = (how_many.group(1) or "") if how_many and how_many.re.groups else ""
    weights = content_weights(text)
    used = {word: others for word, others in synonyms.items() if fold(word) in fold(text)}
    also = {
        term: frozenset(t for o in others for t in terms(o)) for word, others in used.items() for term in terms(word)
    }
    return Question(
        text=text,
        language=language_of(text),
        weights=weights,
        also={term: others for term, others in also.items() if term in weights},
        expansion=" ".join(other for others in used.values() for other in others),
        aggregate=asking.group(0) if asking else "",
        is_count=bool(counted) or (how_many is not None and figure is None),
        counted=counted,
    )


@lru_cache(maxsize=1)
def _how_many() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(each.how_many, re.I) for each in languages().values() if each.how_many)


@lru_cache(maxsize=1)
def _figure() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(each.figure, re.I) for each in languages().values() if each.figure)


def _first(patterns: Sequence[re.Pattern[str]], text: str) -> re.Match[str] | None:
    return next((match for pattern in patterns if (match := pattern.search(text))), None)

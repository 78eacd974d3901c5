"""What differs between languages: word lists, patterns and texts, from files beside this one that say what is what."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A table of languages.toml; empty what the language does not have."""

    code: str
    script: str = ""
    stemmer: str = ""
    telling_words: frozenset[str] = frozenset()
    stop_words: frozenset[str] = frozenset()
    abbreviations: frozenset[str] = frozenset()
    spaced: bool = True
    how_many: str = ""
    figure: str = ""
    over_all: str = ""
    number: str = ""
    refers_back: str = ""
    nothing_found: str = ""
    no_figure: str = ""
    more_rows: str = ""
    label_names: str = ""
    label_hints: str = ""
    label_joins: str = ""
    label_fillers: str = ""


_WORD_LISTS = {"telling_words", "stop_words", "abbreviations"}
_PATTERNS = {"script", "how_many", "figure", "over_all", "number", "refers_back"}


@lru_cache(maxsize=1)
def languages() -> Mapping[str, Language]:
    """Every language by its ISO 639-1 code, in the file's order. Read on first use, once."""
    tables = tomllib.loads((_FOLDER / "languages.toml").read_text(encoding="utf-8"))
    return {code: _language(code, table) for code, table in tables.items()}


def _language(code: str, table: dict[str, Any]) -> Language:
    words = {name: frozenset(table[name].split()) for name in _WORD_LISTS & table.keys()}
    patterns = {name: "".join(line.strip() for line in table[name].splitlines()) for name in _PATTERNS & table.keys()}
    return Language(code=code, **(table | words | patterns))


def known_pairs() -> Mapping[str, Sequence[tuple[str, str]]]:
    """Questions with the sentence that answers each, by language; "" stands for all other languages."""
    tables = tomllib.loads((_FOLDER / "pairs.toml").read_text(encoding="utf-8"))
    return {code: [(question, answer) for question, answer in pairs] for code, pairs in tables.items()}


def alternatives(*names: str) -> str:
    """What all languages have under some names, as alternatives of one pattern."""
    found = (getattr(language, name) for name in names for language in languages().values())
    return "|".join(dict.fromkeys(pattern for pattern in found if pattern))

"""Terms of a text for lexical search: Chinese words, Latin stems, and codes kept whole."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import opencc
import Stemmer

from rag.language.languages import languages
from rag.language.text import fold, has_han, split_identifier, words

_NOTHING: Mapping[str, frozenset[str]] = MappingProxyType({})
_POSSESSIVE = re.compile(r"['’]s?$")
_DECIMAL = re.compile(r"(?<!\d)\d++[.]\d++")
_ENGLISH = "english"
_MIN_TELLING = 2
_TRADITIONAL = opencc.OpenCC("t2s")


@lru_cache(maxsize=65536)
def _stem(word: str, language: str = _ENGLISH) -> str:
    return str(Stemmer.Stemmer(language).stemWord(word))


def stemming_language(found: Sequence[str]) -> str:
    """The language of a text's words, for their stems: the one most of whose telling words it has, else English."""
    have = {word.lower() for word in found}
    language, count = max(((name, len(have & telling)) for name, telling in _telling_words()), key=lambda x: x[1])
    return language if count >= _MIN_TELLING else _ENGLISH


@lru_cache(maxsize=1)
def _telling_words() -> tuple[tuple[str, frozenset[str]], ...]:
    """By stemmer, what tells a language in a sentence. A row or a list of names has none, and counts as English."""
    stemmed = [each for each in languages().values() if each.stemmer]
    return tuple((each.stemmer, each.telling_words or each.stop_words) for each in stemmed)


def _han_words(run: str, *, search: bool) -> list[str]:
    """The words of a run of Chinese in simplified characters; search: the words inside long words too."""
    import rjieba  # its dictionary takes .1 s, and only Chinese needs it

    simplified = _TRADITIONAL.convert(fold(run))
    return list(rjieba.cut_for_search(simplified) if search else rjieba.cut(simplified))


@lru_cache(maxsize=1)
def function_words() -> frozenset[str]:
    """Terms that carry no meaning of their own in a question."""
    return frozenset(word if has_han(word) else _stem(word) for word in _stop_words())


@lru_cache(maxsize=1)
def _stop_words() -> frozenset[str]:
    return frozenset(word for language in languages().values() for word in language.stop_words)


def terms(text: str) -> list[str]:
    """Terms in order, with repeats.

    A run of Chinese gives the words of a search-mode segmentation, in simplified characters. A Latin word gives its
    English stem and, in a sentence of another language, the one of that language: either finds it. A compound (AC/DC,
    INV-2024-0042, InvoiceLine) gives its whole folded form and then its parts, so that either finds it. A number after
    a word gives the pair too: 'invoice 5' is one thing, and not any invoice with a 5 in it.
    """
    found: list[str] = []
    previous = ""
    chinese = has_han(text)
    all_words = words(text)
    language = stemming_language(all_words)
    for word in all_words:
        if chinese and has_han(word):
            found.extend(_han_words(word, search=True))
            previous = ""
            continue
        new = _bare_terms(word)
        found.extend(new)
        if (
            language != _ENGLISH
            and len(new) == 1
            and (stem := _stem(fold(_POSSESSIVE.sub("", word)), language)) != new[0]
        ):
            found.append(stem)
        if new[0].isdecimal() and (pair := _numbered(previous, new)):
            found.append(pair)
        previous = new[0]
    return found


@lru_cache(maxsize=8192)
def term_set(text: str) -> frozenset[str]:
    """The terms of a text without order; the passages of one question are often those of the next."""
    return frozenset(terms(text))


def _numbered(previous: str, new: tuple[str, ...]) -> str:
    if previous.isalpha() and len(new) == 1 and new[0].isdecimal() and previous not in function_words():
        return f"{previous} {new[0]}"
    return ""


@lru_cache(maxsize=65536)
def _bare_terms(word: str) -> tuple[str, ...]:
    """The terms of a word without its possessive ending."""
    return _latin_terms(_POSSESSIVE.sub("", word))


@lru_cache(maxsize=65536)
def _latin_terms(word: str) -> tuple[str, ...]:
    whole = fold(word)
    if _DECIMAL.fullmatch(whole):
        return (whole,)
    parts = [part for piece in re.split(r"[-_./@:'’+&#]", word) for part in split_identifier(piece)]
    if len(parts) <= 1:
        return (_stem(whole),)
    return (whole, *(_stem(fold(part)) for part in parts))


def content_weights(question: str) -> dict[str, float]:
    """Terms of a question that carry its meaning, each with a weight.

    A name, a code or a number counts 3 (a number after a word as the pair of both): what has a digit, an inner joiner,
    an accent, or a capital that no sentence start explains. Other words count 1; function words and question words
    nothing.
    """
    weights: dict[str, float] = {}
    mostly_chinese = has_han(question)
    previous = ""
    for position, word in enumerate(words(question)):
        if has_han(word):
            for term in _han_words(word, search=False):
                if term not in _stop_words() and term.strip():
                    weights[term] = max(weights.get(term, 0.0), 1.0)
            previous = ""
            continue
        bare = _POSSESSIVE.sub("", word)
        folded = fold(bare)
        found = _latin_terms(bare)
        pair, previous = _numbered(previous, found), found[0]
        if folded in _stop_words() and not (bare.isupper() and len(bare) > 1):
            continue
        weight = 3.0 if mostly_chinese or _is_specific(bare, position) else 1.0
        if pair:
            weights[pair], weight = 3.0, 1.0
        weights[found[0]] = max(weights.get(found[0], 0.0), weight)
    return weights


def _is_specific(word: str, position: int) -> bool:
    if any(c.isdigit() for c in word) or re.search(r"[-_./@:+&#]", word) or fold(word) != word.casefold():
        return True
    if len(word) > 1 and word.isupper():
        return True
    return position > 0 and word[0].isupper()


def coverage(
    weights: Mapping[str, float], text_terms: frozenset[str] | set[str], also: Mapping[str, frozenset[str]] = _NOTHING
) -> float:
    """Share of a question's weight that a text holds, 0 to 1; 0 for a question without content words.

    also: other terms that stand for one of the question's.
    """
    total = sum(weights.values())
    if total == 0:
        return 0.0
    held = (w for term, w in weights.items() if term in text_terms or (term in also and also[term] & text_terms))
    return sum(held) / total

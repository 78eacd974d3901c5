"""Whether a passage holds what a sentence claims, and where.

A passage supports a claim when it holds half of the weight of the claim's content words, names and numbers weighing
more (rag/language/terms.py), and every figure of the claim. Where the claim and the passage are in different scripts,
only names, codes and figures can be compared. The shares were set on the human answers of MTRAG and KdConv
(docs/benchmarks.md).
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from rag.documents import Passage
from rag.language.terms import content_weights, coverage, term_set
from rag.language.text import fold, has_han, language_of, line_spans, sentence_spans
from rag.types import Citation

_ENOUGH, _UNASKED, _PART = 0.5, 0.6, 0.25
_FAR_BETTER = 0.3
_MOST_SENTENCES, _WORTH_A_SENTENCE = 3, 0.2
_SPECIFIC = 3.0  # weight of a name, code or number
_FIGURE = re.compile(r"(?<![A-Za-z])\d+(?:[.,:]\d+)*")
_LIST_MARK = re.compile(r"^\s*(?:[-*•]\s+|\d{1,2}(?:[)、]|\.(?!\d))\s*)+")


def cite(passage: Passage, start: int, end: int, *, pointer: str = "") -> Citation:
    """A citation of passage.text[start:end], outer white space dropped, with offsets into the document."""
    quote = passage.text[start:end]
    start += len(quote) - len(quote.lstrip())
    quote = quote.strip()
    document = passage.document
    return Citation(
        label=passage.label,
        source=document.source,
        document_id=document.id,
        title=document.title,
        primary_key=document.primary_key,
        page=passage.page,
        start=passage.start + start,
        end=passage.start + start + len(quote),
        quote=quote,
        uri=document.uri,
        version=document.version,
        pointer=pointer,
    )


def supporting(claim: str, named: Sequence[Passage], others: Sequence[Passage]) -> list[Passage]:
    """Those of the named passages that support a claim, alone or together.

    others: all that could have been named. One that holds far less of the claim than another of them is the wrong one.
    """
    weights = content_weights(_LIST_MARK.sub("", claim))
    held = [_held(weights, claim, passage) for passage in named]
    if not named or not _figures(claim) <= set().union(*(_figures(_whole(passage)) for passage in named)):
        return []
    best = max((_held(weights, claim, passage) for passage in others), default=0.0)
    alone = [p for p, share in zip(named, held, strict=True) if share >= _ENOUGH and share + _FAR_BETTER >= best]
    if alone or len(named) < 2:
        return alone
    together = coverage(weights, frozenset().union(*(term_set(_whole(passage)) for passage in named)))
    return [p for p, share in zip(named, held, strict=True) if share >= _PART] if together >= _ENOUGH else []


def attributed(claim: str, passages: Sequence[Passage]) -> Passage | None:
    """The passage that holds most of a claim without a label; None where none holds enough of it."""
    weights = content_weights(_LIST_MARK.sub("", claim))
    shares = [(_held(weights, claim, passage), -place) for place, passage in enumerate(passages)]
    share, place = max(shares, default=(0.0, 0))
    if share < _UNASKED or not _figures(claim) <= _figures(_whole(passages[-place])):
        return None
    return passages[-place]


def says_something(claim: str) -> bool:
    """Whether a sentence has enough of its own to stand on a passage."""
    return len(content_weights(_LIST_MARK.sub("", claim))) >= 3


def locate(claim: str, passage: Passage, *, pointer: str = "") -> Citation:
    """The sentence of a passage that holds most of a claim, with the next ones where they hold more of it.

    A row is quoted whole: its fields only mean something together. A claim in another script is where its names are.
    """
    if passage.document.kind == "row":
        return cite(passage, 0, len(passage.text), pointer=pointer)
    weights = content_weights(claim)
    spans = sentence_spans(passage.text)
    sets = [term_set(passage.text[start:end]) for start, end in spans]
    first = max(range(len(spans)), key=lambda i: coverage(weights, sets[i]))
    last, seen = first, sets[first]
    while last + 1 < len(spans) and last + 1 - first < _MOST_SENTENCES:
        wider = seen | sets[last + 1]
        if coverage(weights, wider) < coverage(weights, seen) + _WORTH_A_SENTENCE:
            break
        last, seen = last + 1, wider
    return cite(passage, spans[first][0], spans[last][1], pointer=pointer)


def _held(weights: Mapping[str, float], claim: str, passage: Passage) -> float:
    text = _whole(passage)
    if not _comparable(claim, text):
        weights = {term: weight for term, weight in weights.items() if weight >= _SPECIFIC and not has_han(term)}
    return coverage(weights, term_set(text))


def _comparable(claim: str, text: str) -> bool:
    """Whether the words of a claim can stand in a text at all: Chinese ones in Chinese, Latin ones in the rest."""
    return has_han(text) if has_han(claim) else not _is_chinese(text)


@lru_cache(maxsize=8192)
def _is_chinese(text: str) -> bool:
    return language_of(text) == "zh"


def _whole(passage: Passage) -> str:
    return f"{passage.context}\n{passage.document.title}\n{passage.text}"


def _figures(text: str) -> frozenset[str]:
    """The numbers of a text, without leading zeros and marks of thousands; a date and a time by their parts."""
    found = _FIGURE.findall(fold(_LIST_MARK.sub("", text)))
    plain = (re.sub(r",(?=\d{3}(?!\d))", "", number) for number in found)
    return frozenset(part.lstrip("0") or "0" for number in plain for part in re.split(r"[:,]", _without_zeros(number)))


def _without_zeros(number: str) -> str:
    """12.50 and 12.5 are one figure, and so are 12.0 and 12."""
    whole, point, rest = number.partition(".")
    return f"{whole}.{rest.rstrip('0')}".rstrip(".") if point and rest.isdigit() else number


def json_citations(value: object, passages: Sequence[Passage]) -> list[Citation]:
    """Where each text and number of a JSON value stands, with its pointer. A value that is found nowhere has none."""
    parts = [_parts(passage) for passage in passages]
    return [citation for pointer, leaf in json_leaves(value) for citation in _where(str(leaf), parts, pointer)]


def json_leaves(value: object, pointer: str = "") -> list[tuple[str, object]]:
    """The texts and numbers of a JSON value, each with its pointer (RFC 6901)."""
    if isinstance(value, dict):
        pairs = [(str(key).replace("~", "~0").replace("/", "~1"), inner) for key, inner in value.items()]
    elif isinstance(value, list):
        pairs = [(str(place), inner) for place, inner in enumerate(value)]
    else:
        empty = value is None or isinstance(value, bool) or not str(value).strip()
        return [] if empty else [(pointer, value)]
    return [leaf for key, inner in pairs for leaf in json_leaves(inner, f"{pointer}/{key}")]


def _parts(passage: Passage) -> tuple[Passage, list[tuple[int, int, str]]]:
    """A passage with its sentences, a row's lines: where each is, and its folded text."""
    spans = line_spans(passage.text) if passage.document.kind == "row" else sentence_spans(passage.text)
    return passage, [(start, end, fold(passage.text[start:end])) for start, end in spans]


def _where(value: str, parts: Sequence[tuple[Passage, Sequence[tuple[int, int, str]]]], pointer: str) -> list[Citation]:
    """The first passage with the value word for word, or else the one that supports it as a sentence."""
    wanted = fold(value)
    for passage, sentences in parts:
        for start, end, text in sentences:
            if _holds(wanted, text):
                whole = passage.document.kind == "row"
                return [cite(passage, 0 if whole else start, len(passage.text) if whole else end, pointer=pointer)]
    found = attributed(value, [passage for passage, _ in parts]) if says_something(value) else None
    return [locate(value, found, pointer=pointer)] if found else []


def _holds(wanted: str, text: str) -> bool:
    """Whether a text holds a value as whole words; Chinese has no marks between words."""
    if wanted not in text:
        return False
    edges = (rf"(?<!\w){re.escape(wanted)}(?!\w)", re.escape(wanted))[has_han(wanted)]
    return re.search(edges, text) is not None

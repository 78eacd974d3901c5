"""Whether passages hold the evidence for an answer, decided in code and not by the model.

A passage's evidence joins the share of the question's content words that it holds with the cosine of the dense
retriever; the threshold was set with benchmarks/refusal.py (docs/benchmarks.md has its figures).
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from rag.documents import Passage
from rag.language.languages import alternatives
from rag.language.terms import coverage, term_set, terms
from rag.language.text import fold, has_han, humanize
from rag.question.question import Question
from rag.retrieval.likeness import Scale

THRESHOLD = 0.45
_FIGURE = re.compile(r"\A([^:]+): [-+]?[\d.,]++%?$")
_NAMED_COVERAGE = 0.75


def held_by(question: Question, text: str) -> float:
    """Share of the question's content words that a text holds, 0 to 1."""
    return coverage(question.weights, term_set(text), question.also)


def words_held(question: Question, passage: Passage) -> float:
    """Share of the question's content words that a passage holds with its context and title."""
    return held_by(question, f"{passage.context}\n{passage.document.title}\n{passage.text}")


def evidence(question: Question, passage: Passage, *, scale: Scale) -> float:
    """How well a passage supports an answer, 0 to about 1.

    scale: what a cosine means in the question's language; where it means nothing, only words count.
    """
    held = words_held(question, passage)
    if has_han(question.text) != has_han(passage.text):
        return held  # across scripts the cosines of what belongs together and what does not lie too near each other
    return 0.5 * held + 0.5 * scale.likeness(passage.scores.get("dense", 0.0)) if scale.counts else held


def admissible(question: Question, passages: Iterable[Passage]) -> list[Passage]:
    """Passages that may answer: for a figure over many rows, only those that state the figure themselves.

    A row states it when one of its fields is what is asked for ('total', 'how many milliseconds'); a document when
    it holds the asking word ('the longest'), or a number for a count.
    """
    if not question.aggregate:
        return list(passages)
    return [passage for passage in passages if _states_figure(question, passage)]


def _states_figure(question: Question, passage: Passage) -> bool:
    asked = term_set(question.counted or question.aggregate)
    if passage.document.kind == "row":
        return _is_name(question, asked, passage) or (
            not _over_all().search(question.text) and bool(asked & _numeric_fields(passage))
        )
    if question.is_count:
        return _number().search(passage.text) is not None
    return bool(asked & term_set(passage.text)) or fold(question.aggregate) in fold(passage.text)


def _is_name(question: Question, asked: frozenset[str], passage: Passage) -> bool:
    """Whether the asking word is part of a name that the row holds: 'Who recorded The Best Of Buddy Guy?'

    The row must then hold other words of the question in its values too, and most of the question in all.
    """
    values = term_set("\n".join(line.partition(":")[2] for line in passage.text.splitlines()))
    names = term_set("\n".join(line.partition(":")[0] for line in passage.text.splitlines()))
    others = (values & set(question.weights)) - asked - names
    return (
        not question.counted
        and asked <= values
        and bool(others)
        and coverage(question.weights, values | names) >= _NAMED_COVERAGE
    )


def _numeric_fields(passage: Passage) -> set[str]:
    """Terms of the names of a row's figures; keys and references are no figures."""
    found = (_FIGURE.match(line) for line in passage.text.splitlines())
    names = [match.group(1) for match in found if match]
    keys = {humanize(column) for column in passage.document.primary_key or ()}
    return {term for name in names if name not in keys and not name.lower().endswith(" id") for term in terms(name)}


def supported(
    question: Question, passages: Sequence[Passage], *, scale: Scale, threshold: float = THRESHOLD
) -> list[tuple[float, Passage]]:
    """Passages above the evidence threshold with their evidence, in the order given."""
    scored = [(evidence(question, passage, scale=scale), passage) for passage in passages]
    return [(value, passage) for value, passage in scored if value >= threshold]


@lru_cache(maxsize=1)
def _over_all() -> re.Pattern[str]:
    return re.compile(alternatives("over_all"), re.I)


@lru_cache(maxsize=1)
def _number() -> re.Pattern[str]:
    return re.compile(rf"\d|{alternatives('number')}")

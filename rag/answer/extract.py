"""The extractive answerer: quotes the best rows and sentences, each with its citation. No language model."""

import re
from collections.abc import Iterator, Sequence

from rag.answer.claims import cite
from rag.answer.label_forms import quoted
from rag.documents import Passage
from rag.language.terms import coverage, term_set
from rag.language.text import humanize, line_spans, sentence_spans
from rag.question.evidence import held_by, words_held
from rag.question.question import Question
from rag.question.refusals import more_rows
from rag.types import Citation

MAX_ROWS = 8
MAX_SENTENCES = 3
_NEAR_TIE, _SAME_WORDS_TIE = 0.08, 0.3
_OF_TABLE, _NAMED = 0.15, 0.2
_LONG_ROW_CHARS = 700
_REFERENCE = re.compile(r"^([^:\n]+): (.*) \([^()]* id [^()]*\)$", re.M)


def extract(question: Question, supported: Sequence[tuple[float, Passage]]) -> Iterator[tuple[str, Citation | None]]:
    """Yield (sentence with its label, citation), best first.

    supported: passages with their evidence; at least one. Rows that tie with the best one are all quoted, because a
    question for a list is answered by several rows; when there are more than are quoted, a last sentence without a
    citation says so. Of documents, the sentences that hold most of the question.
    """
    labels = {passage.label for _, passage in supported}
    for text, citation in _extract(question, supported):
        yield (f"{quoted(text, labels)} [{citation.label}]" if citation is not None else text), citation


def _extract(question: Question, supported: Sequence[tuple[float, Passage]]) -> Iterator[tuple[str, Citation | None]]:
    ranked = sorted(((_preference(question, pair), pair[1]) for pair in supported), key=lambda pair: -pair[0])
    best_value, best = ranked[0]
    near = [passage for value, passage in ranked if best_value - value <= _tie(question, best, passage)]
    if best.document.kind == "file":
        yield from _quote_sentences(question, [passage for passage in near if passage.document.kind == "file"])
        return
    rows = [p for p in near if p.document.kind == "row" and p.document.scope == best.document.scope]
    for passage in rows[:MAX_ROWS]:
        yield _quote_row(question, passage)
    if len(rows) > MAX_ROWS:
        yield more_rows(question, shown=MAX_ROWS), None


def _tie(question: Question, best: Passage, passage: Passage) -> float:
    """How far below the best one a passage may be and tie with it: further for a row with as much of the question.

    Such a row differs in likeness only, which moves with what else stands in a row.
    """
    if not best.document.kind == passage.document.kind == "row":
        return _NEAR_TIE
    as_many_words = words_held(question, passage) >= words_held(question, best)
    as_much_about = _about(question, passage) >= _about(question, best)
    return _SAME_WORDS_TIE if as_many_words and as_much_about else _NEAR_TIE


def _preference(question: Question, pair: tuple[float, Passage]) -> float:
    """Evidence, raised for the rows that the question is about.

    'Which albums …' is about rows of the table Album; 'When was Andrew Adams hired?' about the row that bears the
    name, not about those that refer to it, unless the question names the reference ('Who reports to Andrew Adams?').
    """
    value, passage = pair
    return value + _about(question, passage) if passage.document.kind == "row" else value


def _about(question: Question, passage: Passage) -> float:
    of_table = held_by(question, passage.document.scope) > 0
    return (_OF_TABLE if of_table else 0.0) + _NAMED * _named(question, passage)


def _named(question: Question, passage: Passage) -> float:
    """Share of the question's names that the row's own title, or a reference that the question names, holds."""
    names = {term: weight for term, weight in question.weights.items() if weight > 1} or question.weights
    shares = [coverage(names, term_set(passage.document.title))]
    for match in _REFERENCE.finditer(passage.text):
        if held_by(question, match.group(1)) > 0:
            shares.append(coverage(names, term_set(match.group(2))))
    return max(shares)


def _quote_row(question: Question, passage: Passage) -> tuple[str, Citation]:
    start, end = 0, len(passage.text.rstrip())
    if end > _LONG_ROW_CHARS:
        start, end = _best_lines(question, passage)
    citation = cite(passage, start, end)
    fields = [line for line in citation.quote.splitlines() if line.strip() and not _in_title(passage, line)]
    return "; ".join([passage.document.title, *fields]), citation


def _in_title(passage: Passage, line: str) -> bool:
    """Whether the row's title ('Album 4: Let There Be Rock') says what a line says: the table, a key or the label."""
    document = passage.document
    name, _, value = line.partition(": ")
    if not value:
        return line.startswith(humanize(document.scope))
    if name in {humanize(column) for column in document.primary_key or ()}:
        return True
    return len(value) > 2 and not value.isdecimal() and value in document.title.partition(": ")[2]


def _best_lines(question: Question, passage: Passage) -> tuple[int, int]:
    """The run of lines around the one that holds most of the question."""
    spans = line_spans(passage.text)
    held = [held_by(question, passage.text[start:end]) for start, end in spans]
    first = last = held.index(max(held))
    while spans[last][1] - spans[first][0] < _LONG_ROW_CHARS and (first > 0 or last < len(spans) - 1):
        first, last = max(first - 1, 0), min(last + 1, len(spans) - 1)
    return spans[first][0], spans[first][0] + len(passage.text[spans[first][0] : spans[last][1]].rstrip())


def _quote_sentences(question: Question, passages: Sequence[Passage]) -> Iterator[tuple[str, Citation]]:
    """Up to MAX_SENTENCES sentences, in reading order, of those that hold nearly as much as the best one."""
    candidates = [
        (held_by(question, passage.text[start:end]) - 0.05 * rank, rank, start, end)
        for rank, passage in enumerate(passages)
        for start, end in sentence_spans(passage.text)
        if not _is_heading(passage, passage.text[start:end])
    ]
    if not candidates:
        candidates = [(0.0, 0, 0, len(passages[0].text))]
    best = max(held for held, *_ in candidates)
    chosen = sorted((c for c in candidates if c[0] >= 0.8 * best), key=lambda c: (-c[0], c[1], c[2]))[:MAX_SENTENCES]
    for _, rank, start, end in sorted(chosen, key=lambda c: (c[1], c[2])):
        passage = passages[rank]
        citation = cite(passage, start, end)
        yield _plain(citation.quote), citation


def _is_heading(passage: Passage, sentence: str) -> bool:
    bare = sentence.strip().lstrip("# ").strip()
    return (
        not bare or sentence.lstrip().startswith("#") or bare in (*passage.context.split(" > "), passage.document.title)
    )


def _plain(quote: str) -> str:
    return " ".join(quote.lstrip("#-*> ").split())

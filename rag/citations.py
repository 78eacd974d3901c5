"""Labels, and the check of every label before it leaves.

A label belongs to a passage: it is derived from the passage's place, not from its rank, so the same passage has the
same label in every prompt, which keeps the prefix cache valid.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

from rag.terms import coverage, term_set, terms
from rag.text import sentence_spans
from rag.types import Citation, Passage

# A model's bracket that may hold labels: ours (k7f2), bare numbers, or a list of either.
_ONE = r"(?:(?:[a-z]\d){2,8}|\d{1,3})"
_SPACE = r"[ \t\u3000]*"
_INSIDE = r"[^\]】\n]{0,60}"  # of a bracket: no more is held back while an answer streams, so no more counts
_BRACKET = re.compile(
    rf"[ \t]*[\[【](?={_INSIDE}[\]】]){_SPACE}({_ONE}(?:{_SPACE}[,，;、]{_SPACE}{_ONE})*){_SPACE}[\]】]"
)
_TRAILING = re.compile(rf"(?:{_BRACKET.pattern.replace('(' + _ONE, '(?:' + _ONE)})+")
_OPEN_BRACKET = re.compile(rf"[ \t]*[\[【]{_INSIDE}$")
_SPECIAL = re.compile(r"[ \t]*[\[【]|[。！？\n]|[.!?](?=\s|$)")
_SUPPORT = 0.6  # share of a sentence's terms that a quoted sentence must hold to cite it unasked


def label_passages(passages: Sequence[Passage]) -> list[Passage]:
    """Give each passage its label: letter-digit pairs from its place, longer where two would meet."""
    taken: set[str] = set()
    labelled = []
    for passage in passages:
        digest = hashlib.sha256(f"{passage.document.source}\0{passage.document.id}\0{passage.start}".encode()).digest()
        pairs = "".join(f"{chr(97 + a % 26)}{b % 10}" for a, b in zip(digest[::2], digest[1::2], strict=True))
        length = next(n for n in range(4, len(pairs) + 1, 2) if pairs[:n] not in taken)
        taken.add(pairs[:length])
        labelled.append(replace(passage, label=pairs[:length]))
    return labelled


def cite(passage: Passage, start: int, end: int) -> Citation:
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
    )


def best_quote(claim: str, passage: Passage) -> tuple[float, Citation]:
    """The sentence of a passage that holds most of a claim's terms, and which share it holds.

    A short row is quoted whole: its fields only mean something together.
    """
    weights = dict.fromkeys(terms(claim), 1.0)
    if passage.document.kind == "row":
        return coverage(weights, term_set(passage.text)), cite(passage, 0, len(passage.text))
    spans = sentence_spans(passage.text)
    held = [coverage(weights, term_set(passage.text[start:end])) for start, end in spans]
    best = max(range(len(spans)), key=held.__getitem__)
    return held[best], cite(passage, *spans[best])


class CitationWriter:
    """Checks an answer's labels while it streams.

    Feed it the model's text; it gives back text whose labels all exist. Labels that no passage has are removed and
    counted in `dropped`. A sentence without a label gets one when a passage sentence holds most of its words; one
    that finds none is counted in `uncited`. Streamed in any pieces, the result is the same: only a bracket, white
    space or a full stop is held back until what follows it is known.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = {passage.label: passage for passage in passages}
        self._pending = ""
        self._sentence = ""
        self._labels: list[str] = []
        self.citations: list[Citation] = []
        self.dropped = 0
        self.uncited = 0

    def feed(self, text: str) -> str:
        self._pending += text
        return self._drain(final=False)

    def finish(self) -> str:
        """The text still held back; call once, after the last piece."""
        return self._drain(final=True) + self._close()

    def _drain(self, *, final: bool) -> str:
        out: list[str] = []
        while self._pending:
            special = _SPECIAL.search(self._pending)
            if special is None:
                held = 0 if final else len(self._pending) - len(self._pending.rstrip(" \t"))
                out.append(self._plain(len(self._pending) - held))
                break
            out.append(self._plain(special.start()))
            step = self._bracket(final) if special.group()[-1] in "[【" else self._stop(final)
            if step is None:
                break
            out.append(step)
        return "".join(out)

    def _plain(self, length: int) -> str:
        text, self._pending = self._pending[:length], self._pending[length:]
        self._sentence += text
        return text

    def _bracket(self, final: bool) -> str | None:
        """The labels at the head of the pending text; None when it may go on."""
        match = _BRACKET.match(self._pending)
        if match:
            self._pending = self._pending[match.end() :]
            return self._take(match.group(1))
        if not final and _OPEN_BRACKET.match(self._pending):
            return None
        return self._plain(len(self._pending) - len(self._pending.lstrip(" \t")) + 1)

    def _stop(self, final: bool) -> str | None:
        """A sentence end with the labels that directly follow it; None when labels may still follow."""
        stop, rest = self._pending[0], self._pending[1:]
        if stop == "\n":
            self._pending = rest
            return self._close() + stop
        trailing = _TRAILING.match(rest)
        after = rest[trailing.end() :] if trailing else rest
        if not final and (not after.strip(" \t") or _OPEN_BRACKET.match(after)):
            return None
        labels = (
            "".join(self._take(match.group(1)) for match in _BRACKET.finditer(trailing.group())) if trailing else ""
        )
        self._pending = after
        return labels + self._close() + stop

    def _take(self, listed: str) -> str:
        """Known labels of a bracket as text; the unknown ones are dropped."""
        marks = []
        for label in re.split(r"\s*[,，;、]\s*", listed):
            if label not in self._passages:
                self.dropped += 1
            elif label not in self._labels:
                self._labels.append(label)
                marks.append(f" [{label}]")
        return "".join(marks)

    def _close(self) -> str:
        """End the sentence: locate each label's quote, or find a passage for a sentence without a label."""
        sentence, labels = self._sentence, self._labels
        self._sentence, self._labels = "", []
        if labels:
            self._remember([best_quote(sentence, self._passages[label])[1] for label in labels])
            return ""
        found = self._attribute(sentence)
        if found is None:
            return ""
        self._remember([found])
        return f" [{found.label}]"

    def _attribute(self, sentence: str) -> Citation | None:
        if len(terms(sentence)) < 3:
            return None
        quotes = [best_quote(sentence, passage) for passage in self._passages.values()]
        held, citation = max(quotes, key=lambda pair: pair[0], default=(0.0, None))
        if held < _SUPPORT:
            self.uncited += 1
            return None
        return citation

    def _remember(self, citations: Sequence[Citation]) -> None:
        known = {(c.label, c.start, c.end) for c in self.citations}
        self.citations.extend(c for c in citations if (c.label, c.start, c.end) not in known)

"""The check of every label before it leaves."""

import re
from collections.abc import Sequence
from functools import lru_cache

from rag.answer.claims import attributed, locate, says_something, supporting
from rag.answer.label_forms import LabelReader
from rag.documents import Passage
from rag.language.languages import alternatives
from rag.types import Citation

# A model's bracket that may hold labels: ours (k7f2), bare numbers, or a list of either, with a word such as "passage"
# before; in double brackets or full-width ones too. Round ones only around labels of ours.
_OURS = r"(?:[a-z]\d){2,8}"
_ONE = rf"(?:[#^]?(?:{_OURS}|\d{{1,3}}))"
_SPACE = r"[ \t\u3000]*"
_INSIDE = r"[^\]】\n]{0,60}"  # of a bracket: no more is held back while an answer streams, so no more counts
_ROUND = rf"[（(]{_SPACE}{_OURS}(?:{_SPACE}[,，;；、]{_SPACE}{_OURS}){{0,8}}{_SPACE}[)）]"
_BLANKS = 32  # before a bracket, that are taken with it
_LABEL = re.compile(rf"{_OURS}|\d{{1,3}}")
_OPEN = re.compile(rf"[ \t]{{0,{_BLANKS}}}(?:[\[【]{{1,2}}{_INSIDE}|[（(][a-z0-9,，;；、 \t\u3000]{{0,60}})$")
_SPECIAL = re.compile(r"[\[【]|[（(](?=\s{0,32}[a-z]\d|\s{0,32}[a-z]?$)|[。！？\n]|[.!?](?=\s|$)")


@lru_cache(maxsize=1)
def _brackets() -> re.Pattern[str]:
    """Brackets with labels that follow one another. A longer run is taken in parts, so that none is read again."""
    word = rf"(?:(?:{alternatives('label_names')})[:：]?)?"
    listed = rf"{_SPACE}{word}{_SPACE}{_ONE}(?:{_SPACE}[,，;；、&]{_SPACE}{_ONE})*{_SPACE}"
    square = rf"[\[【]{{1,2}}(?={_INSIDE}[\]】]){listed}[\]】]{{1,2}}"
    return re.compile(rf"(?:[ \t]{{0,{_BLANKS}}}(?:{square}|{_ROUND})){{1,32}}")


class CitationWriter:
    """Checks an answer's labels while it streams.

    Feed it the model's text; it gives back text whose labels are all true: their passage is there and supports the
    sentence, or the part of it that they follow. Others are removed and counted in `dropped`. A sentence without a
    label gets one when a passage holds most of it; one that finds none is counted in `uncited`. Streamed in any
    pieces, the result is the same: only a bracket, white space or a full stop is held back until what follows is known.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._all = tuple(passages)
        self._passages = {passage.label: passage for passage in passages}
        self._reader = LabelReader(self._passages)
        self._pending = ""
        self._sentence = ""
        self._claimed = 0  # how much of the sentence has its labels already
        self._labels: set[str] = set()  # of the sentence
        self._early: list[str] = []  # labels before the text that they are for
        self.citations: list[Citation] = []
        self.marks: list[int] = []  # for each label that was written, the index of its citation
        self.dropped = 0
        self.uncited = 0

    def feed(self, text: str) -> str:
        self._pending += self._reader.feed(text)
        return self._drain(final=False)

    def finish(self) -> str:
        """The text still held back; call once, after the last piece."""
        self._pending += self._reader.finish()
        return self._drain(final=True) + self._close()

    def _drain(self, *, final: bool) -> str:
        out: list[str] = []
        while self._pending:
            special = _SPECIAL.search(self._pending)
            end = special.start() if special is not None else len(self._pending)
            before = self._pending[max(end - _BLANKS, 0) : end]
            blanks = len(before) - len(before.rstrip(" \t"))
            if special is None:
                out.append(self._plain(end - (0 if final else blanks)))
                break
            out.append(self._plain(end - blanks))
            step = self._bracket(final) if special.group() in "[【（(" else self._stop(blanks, final)
            if step is None:
                break
            out.append(step)
        return "".join(out)

    def _plain(self, length: int) -> str:
        text, self._pending = self._pending[:length], self._pending[length:]
        self._sentence += text
        return text

    def _bracket(self, final: bool) -> str | None:
        """The labels at the head of the pending text; None when they may go on."""
        match = _brackets().match(self._pending)
        if match:
            after = self._pending[match.end() :]
            if not final and _may_go_on(after):
                return None
            self._pending = after
            return self._take(match.group()) + (
                " " if after.startswith("(") else ""
            )  # else Markdown makes a link of it
        if not final and _OPEN.match(self._pending):
            return None
        return self._plain(len(self._pending) - len(self._pending.lstrip(" \t")) + 1)

    def _stop(self, blanks: int, final: bool) -> str | None:
        """A sentence end with the labels that directly follow it; None when labels may still follow."""
        stop, rest = self._pending[: blanks + 1], self._pending[blanks + 1 :]
        if stop[-1] == "\n":
            self._pending = rest
            return self._close() + stop
        trailing = _brackets().match(rest)
        after = rest[trailing.end() :] if trailing else rest
        if not final and _may_go_on(after):
            return None
        labels = self._take(trailing.group()) if trailing else ""
        self._pending = after
        return labels + self._close() + stop

    def _take(self, brackets: str) -> str:
        """Those of a bracket's labels that are true, as text, for the part of the sentence that they follow."""
        listed = list(dict.fromkeys(_LABEL.findall(brackets)))
        known = [label for label in listed if label in self._passages]
        self.dropped += len(listed) - len(known)
        part = self._sentence[self._claimed :]
        if not self._sentence.strip():
            self._early += known
            return ""
        if not part.strip():  # behind the full stop, or repeated
            known = [label for label in known if label not in self._labels]
        marks = self._cite(part if says_something(part) else self._sentence, known)
        self._claimed = len(self._sentence)
        return marks

    def _cite(self, claim: str, labels: Sequence[str]) -> str:
        named = [self._passages[label] for label in labels]
        kept = supporting(claim, named, self._all)
        self.dropped += len(named) - len(kept)
        return "".join(self._mark(claim, passage) for passage in kept)

    def _mark(self, claim: str, passage: Passage) -> str:
        citation = locate(claim, passage)
        if citation not in self.citations:
            self.citations.append(citation)
        self.marks.append(self.citations.index(citation))
        self._labels.add(passage.label)
        return f" [{passage.label}]"

    def _close(self) -> str:
        """End the sentence: check the labels that stood before it, or find a passage for one that has none."""
        sentence, early = self._sentence, [label for label in self._early if label not in self._labels]
        marks = self._cite(sentence, early) if early and sentence.strip() else ""
        if not self._labels and says_something(sentence):
            found = attributed(sentence, self._all)
            if found is None:
                self.uncited += 1
            else:
                marks = self._mark(sentence, found)
        self._sentence, self._claimed, self._labels, self._early = "", 0, set(), []
        return marks


def _may_go_on(after: str) -> bool:
    """Whether what follows labels or a full stop may be, or become, another bracket with labels."""
    return (len(after) <= _BLANKS and not after.strip(" \t")) or _OPEN.match(after) is not None

"""A model's text without its reasoning, while it streams.

A server that was started with a reasoning parser sends reasoning in a field of its own; others leave it in the text,
between the marks of the model's chat template.
"""

import re

from rag.errors import GeneratorUnavailable

_MARKS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",
}
_ALL = (*_MARKS, *_MARKS.values())
_MARK = re.compile("|".join(re.escape(mark) for mark in _ALL), re.IGNORECASE)
_MAY_BEGIN = re.compile(r"[<\[◁]")
_LONGEST = max(map(len, _ALL))
_QUOTES = "`\"'“‘«"


class AnswerText:
    """Takes out what stands between the marks of reasoning; one that does not end has no answer behind it.

    A mark opens at a line's start only, so that an answer may speak of one. One that closes what was never opened says
    that all before it was reasoning: some chat templates open it in the prompt. Not in JSON, whose texts may hold
    any. Halves of a character (UTF-16 surrogates) that come in two pieces are put together.
    """

    def __init__(self, *, is_json: bool = False) -> None:
        self._is_json = is_json
        self._pending = ""
        self._half = ""
        self._closer = ""  # of the reasoning that is open
        self._line = ""  # the last sign of the line so far; empty where it is blank
        self._given = False

    def feed(self, text: str) -> str:
        """Raises GeneratorUnavailable where what was given already turns out to be reasoning."""
        self._pending += self._whole(text)
        return self._drain(final=False)

    def finish(self) -> str:
        """The text still held back; call once."""
        if self._half:
            self._pending, self._half = f"{self._pending}\ufffd", ""
        return self._drain(final=True)

    def _whole(self, text: str) -> str:
        if text.isascii() and not self._half:
            return text
        text, self._half = self._half + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _drain(self, *, final: bool) -> str:
        out: list[str] = []
        while self._pending:
            if self._closer:
                end = self._pending.lower().find(self._closer)
                if end < 0:
                    self._pending = "" if final else self._pending[1 - len(self._closer) :]
                    break
                self._pending = self._pending[end + len(self._closer) :]
                self._closer = ""
                continue
            mark = _MARK.search(self._pending)
            if mark is None:
                out.append(self._give(len(self._pending) if final else self._settled()))
                break
            out.append(self._give(mark.start()))
            out.append(self._at_mark(mark[0]))
        return "".join(out)

    def _at_mark(self, mark: str) -> str:
        closer = _MARKS.get(mark.lower())
        if not self._given or (closer is not None and not self._line and not self._is_json):
            self._pending, self._closer = self._pending[len(mark) :], closer or ""
            return ""
        if closer is None and not self._is_json and (not self._line or self._line not in _QUOTES):
            raise GeneratorUnavailable(
                f"The language model wrote its reasoning as its answer, up to {mark}. Start its server with the "
                "--reasoning-parser of its model."
            )
        return self._give(len(mark))

    def _settled(self) -> int:
        """Up to where no mark can begin any more."""
        start = max(len(self._pending) - _LONGEST + 1, 0)
        for match in _MAY_BEGIN.finditer(self._pending, start):
            tail = self._pending[match.start() :].lower()
            if any(mark.startswith(tail) for mark in _ALL):
                return match.start()
        return len(self._pending)

    def _give(self, length: int) -> str:
        text, self._pending = self._pending[:length], self._pending[length:]
        if not self._given:
            text = text.lstrip()
            self._given = bool(text)
        self._line = (self._line + text).rpartition("\n")[2].rstrip()[-1:]
        return text

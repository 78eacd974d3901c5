"""Labels in whatever form a model writes them, brought into the one form that is checked: `[k7f2]`.

A label is known by its token, not by the bracket around it. A token that equals a label of the prompt is one wherever
it stands; one that only looks like a label is one in a bracket, a link, code or a tag, and behind a sign that cites.
Elsewhere it is a word (h2o2). What is left of a bracket from which the labels were taken goes with them, unless it says
something.
"""

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache

from rag.language.languages import alternatives, languages

# What a reader does not see between two characters: ignorable ones, emphasis, an escape.
_IGNORABLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
)
_UNSEEN = rf"(?:[{_IGNORABLE}]|[*_~\\]{{1,3}}(?=[a-z0-9])|\\)*"
_TOKEN = rf"(?<![a-z0-9])[a-z]{_UNSEEN}[0-9](?:{_UNSEEN}[a-z]{_UNSEEN}[0-9]){{1,7}}(?![{_IGNORABLE}]*[a-z0-9])"
_TOKENS = re.compile(_TOKEN)
_PAIRS = "[] () {} <> 【】 ［］ （） ｛｝ 〔〕 〖〗 〘〙 〚〛 〈〉 《》 「」 『』 ｢｣ ‹› «» ⟦⟧ ⟨⟩ ⟪⟫ ⁅⁆ ``"
_CLOSERS = {pair[0]: pair[1] for pair in _PAIRS.split()}
_OPENERS = "".join(_CLOSERS)
_ENDS = frozenset(_CLOSERS.values()) - {"`"}
_ROUND = frozenset("(（`<\"'「『«‹")  # around which people put words of their own
_EMPHASIS = "*_~"
_BEGINNING = rf"(?<![a-z0-9])[a-z](?={_UNSEEN}(?:[0-9]|$))"  # of a token
_INTERESTING = re.compile(rf"(?<![*_~])[*_~]*+(?:[{re.escape(_OPENERS)}]|{_BEGINNING})")
_MARKUP = "sup|sub|small|cite|a|href"
_TAG = re.compile(r"<\S")
_LONGEST = 160  # characters of a bracket: one that goes on is text
_REST = 40  # characters that go with the labels of a bracket that was made for them: [pump.md, k7f2]
_ENTITY = re.compile(r"&#(?:([0-9]{1,4})|[xX]([0-9a-fA-F]{1,3}));")
_ENTITY_OPEN = re.compile(r"&(?:#(?:[xX]?[0-9a-fA-F]{0,4})?)?$")
_MAY_GO_ON = re.compile(rf"(?:[a-z0-9]|{_UNSEEN}|[*_~\\])*")
_UNSEEN_END = re.compile(rf"(?:{_UNSEEN}[*_~\\]*)*")


@lru_cache(maxsize=1)
def _cites() -> re.Pattern[str]:
    """What stands before what is cited: a sign, or a word such as 'see'."""
    words = rf"(?<![a-z])(?:{_label_words(spaced=True)})|{_label_words(spaced=False)}"
    return re.compile(rf"[=#†‡^@§¶>]$|(?:{words})[\s*_~\"'“”‘’:：=#]*$", re.IGNORECASE)


def _label_words(*, spaced: bool) -> str:
    known = [language for language in languages().values() if language.spaced is spaced]
    return "|".join(word for language in known for word in (language.label_names, language.label_hints) if word)


@lru_cache(maxsize=1)
def _says_nothing() -> re.Pattern[str]:
    """What may stand beside labels in a bracket and says nothing. The longest words first: none is tried again."""
    words = alternatives("label_names", "label_hints", "label_joins", "label_fillers").split("|")
    longest_first = sorted([*words, *_MARKUP.split("|")], key=lambda word: (-len(word), word))
    return re.compile(rf"(?:{'|'.join(longest_first)}|[\W_\d])*+", re.IGNORECASE)


@lru_cache(maxsize=1)
def _after_label() -> re.Pattern[str]:
    joins = alternatives("label_joins")
    return re.compile(rf"\[(?:[a-z][0-9]){{2,8}}\](?:[\s,;、，；&|/*_~-]|{joins})*$")


class LabelReader:
    """Brings labels into one form while a text streams; in any pieces the result is the same.

    labels: those of the prompt.
    """

    def __init__(self, labels: Collection[str]) -> None:
        self._labels = frozenset(labels)
        self._raw = ""  # the beginning of what may be a letter's number
        self._pending = ""
        self._line = ""  # what has been given of the line
        self._in_code = False
        self._inside_end = 0  # up to where, in what is pending, a bracket with words of its own reaches

    def feed(self, text: str) -> str:
        text = self._raw + text
        open_entity = _ENTITY_OPEN.search(text, max(len(text) - 8, 0))
        end = open_entity.start() if open_entity else len(text)
        self._pending, self._raw = self._pending + _decoded(text[:end]), text[end:]
        return self._read(final=False)

    def finish(self) -> str:
        """What is still held back; call once, after the last piece."""
        self._pending, self._raw = self._pending + self._raw, ""
        return self._read(final=True)

    def _read(self, *, final: bool) -> str:
        out: list[str] = []
        text = self._pending
        folded = _folded(text)
        at = 0
        while at < len(text):
            found = _INTERESTING.search(folded, at)
            if found is None:
                end = len(text) if final else _settled(folded, at)
                out.append(self._given(text[at:end]))
                at = end
                break
            out.append(self._given(text[at : found.start()]))
            at = found.start()
            start = found.end() - 1
            look = self._bracket if folded[start] in _CLOSERS else self._token
            step = look(folded, start, final)
            if step is None:
                break
            end, instead = step
            if instead is None:
                out.append(self._given(text[at:end]))
            else:
                lead = folded[found.start() : start]
                if lead and not final and len(folded) - end < len(lead):
                    break  # what closes the emphasis may follow
                end = _behind_emphasis(folded, found.start(), start, end)
                closed = lead and folded[end - len(lead) : end] == lead[::-1]
                out.append(self._given(("" if closed else lead) + instead))
            at = end
        self._pending = text[at:]
        self._inside_end = max(self._inside_end - at, 0)
        return "".join(out)

    def _given(self, text: str) -> str:
        """Note what is given of the line, because a token's meaning hangs on what stands before it."""
        if text:
            self._line = (self._line + text).rpartition("\n")[2][-2 * _LONGEST :]
        return text

    def _bracket(self, folded: str, start: int, final: bool) -> tuple[int, str | None] | None:
        """The end of what begins with an opening sign, and the labels that stand in its place; None: wait for more."""
        if folded[start] == "`" and (fence := self._fence(folded, start, final)) != _NONE:
            return (fence, None) if fence != _OPEN else None
        end = _extent(folded, start)
        if end == _OPEN and not final:
            return None
        if end < 0:
            return start + 1, None
        while folded[end : end + 1] == folded[end - 1]:
            end += 1
        if not final and end == len(folded):
            return None  # another closing sign, or a link's address, may follow
        if folded[end : end + 1] == "(" and folded[end - 1] == "]":
            tail = _extent(folded, end)
            if tail == _OPEN and not final:
                return None
            end = tail if tail > 0 else end
        inside = folded[start:end]
        tokens = list(dict.fromkeys(_bare(match[0]) for match in _TOKENS.finditer(inside)))
        if not tokens:
            return start + 1, None
        rest = _TOKENS.sub(" ", inside)
        is_for_labels = folded[start] not in _ROUND and len(rest.strip()) <= _REST and "](" not in inside
        if is_for_labels or _says_nothing().fullmatch(rest):
            return end, _canonical(tokens)
        words = _TOKENS.search(inside)
        if words is None:
            return start + 1, None
        self._inside_end = max(self._inside_end, end)
        first = start + words.start()
        return (first, None) if first > start else (start + 1, None)

    def _fence(self, folded: str, start: int, final: bool) -> int:
        """The end of what opens or closes a block of code; _NONE when none does here, _OPEN when one may."""
        signs = len(folded) - start - len(folded[start:].lstrip("`"))
        if start + signs == len(folded) and not final:
            return _OPEN
        if signs < 3:
            return _NONE
        if not self._line.strip():
            self._in_code = not self._in_code
        return start + signs

    def _token(self, folded: str, start: int, final: bool) -> tuple[int, str | None] | None:
        if start == 0 and re.search(r"[a-z0-9]$", _folded(self._line[-1:])):
            return 1, None
        match = _TOKENS.match(folded, start)
        end = match.end() if match is not None else start
        rest = (_UNSEEN_END if match is not None else _MAY_GO_ON).fullmatch(folded, end)
        if not final and rest is not None and len(folded) - start <= _LONGEST:
            return None
        if match is None:
            return start + 1, None
        token = _bare(match[0])
        if token in self._labels or self._is_cited(folded, start, match.end()):
            return match.end(), _canonical([token])
        return match.end(), None

    def _is_cited(self, folded: str, start: int, end: int) -> bool:
        """Whether a token that only looks like a label stands where a label would."""
        before = _folded(self._line)
        return (
            self._in_code
            or start < self._inside_end
            or folded[end : end + 1] in ("<", "]", "】", "］")
            or _cites().search(before[-40:]) is not None
            or _after_label().search(before[-60:]) is not None
            or _is_inside(before)
        )


_OPEN, _NONE = -1, -2


def _extent(folded: str, start: int) -> int:
    """The end of a bracket that begins at start; _OPEN when it may end later, _NONE when its line ends."""
    stack = [_CLOSERS[folded[start]]]
    limit = min(len(folded), start + _LONGEST)
    for at in range(start + 1, limit):
        sign = folded[at]
        if sign == "\n":
            return _NONE
        if sign == stack[-1]:
            stack.pop()
            if not stack:
                return at + 1
        elif sign in _CLOSERS and sign != "`" and stack[-1] != "`":
            stack.append(_CLOSERS[sign])
    return _OPEN if limit == len(folded) else _NONE


def _is_inside(before: str) -> bool:
    """Whether a bracket, a tag or code is open at the end of a line so far."""
    line = before[-_LONGEST:]
    depth = 0
    for at in range(len(line) - 1, -1, -1):
        if line[at] in _ENDS:
            depth += 1
        elif line[at] in _CLOSERS and line[at] != "`" and (line[at] != "<" or _TAG.match(line, at)):
            if depth == 0:
                return True
            depth -= 1
    return before.count("`") % 2 == 1


def _canonical(tokens: Collection[str]) -> str:
    return "".join(f"[{token}]" for token in tokens)


def _bare(token: str) -> str:
    return re.sub(r"[^a-z0-9]", "", token)


def _folded(text: str) -> str:
    """The text with each letter or digit of ASCII in its plain lower-case form, whatever it looked like; as long."""
    if text.isascii():
        return text.lower()
    return "".join(_fold(sign) for sign in text)


def _fold(sign: str) -> str:
    if sign.isascii():
        return sign.lower()
    plain = unicodedata.normalize("NFKC", sign)
    return plain.lower() if len(plain) == 1 and plain.isalnum() and plain.isascii() else sign


def _decoded(text: str) -> str:
    """Letters and digits that were written as HTML's numbers, in their place."""

    def sign(match: re.Match[str]) -> str:
        number = int(match[1]) if match[1] else int(match[2], 16)
        return chr(number) if number < 128 and chr(number).isalnum() else match[0]

    return _ENTITY.sub(sign, text) if "&#" in text else text


def _settled(folded: str, at: int) -> int:
    """Up to where a text can be given of which nothing is interesting: not emphasis at its end, which may be."""
    return max(len(folded.rstrip(_EMPHASIS)), at, len(folded) - 3)


def _behind_emphasis(folded: str, lead_start: int, start: int, end: int) -> int:
    """The end of what is replaced, with the emphasis that closes the one before it."""
    lead = folded[lead_start:start]
    return end + len(lead) if lead and folded.startswith(lead[::-1], end) else end


def unlabelled(text: str, labels: Collection[str]) -> str:
    """A text that a model wrote where no label belongs, without any."""
    reader = LabelReader(labels)
    return re.sub(r"(?<![ \t])[ \t]*+\[(?:[a-z][0-9]){2,8}\]", "", reader.feed(text) + reader.finish())


def quoted(text: str, labels: Collection[str]) -> str:
    """A quote, in which nothing can be taken for a label of ours: a bracket that looks like one gets other signs."""
    folded = _folded(text)
    out, at = [], 0
    for match in _TOKENS.finditer(folded):
        in_brackets = folded[match.start() - 1 : match.start()] == "[" and folded[match.end() : match.end() + 1] == "]"
        if in_brackets or _bare(match[0]) in labels:
            start, end = match.start() - in_brackets, match.end() + in_brackets
            inside = "" if _bare(match[0]) in labels else f"({text[match.start() : match.end()]})"
            out.append(text[at:start] + inside)
            at = end
    return "".join([*out, text[at:]])

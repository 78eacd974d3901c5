"""Text as people write it: sentences, terms and languages, for Chinese as for English."""

import re
import unicodedata
from functools import lru_cache

from rag.language.languages import languages

HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAN_CHAR = re.compile(f"[{HAN}]")

# Here and elsewhere: what repeats begins where nothing of its kind stands before it and gives nothing back, so that a
# long run of it takes time in proportion to its length (tests/unit/test_patterns.py).
_BOUNDARY = re.compile(r"[。！？]++[”’」』）】]*+\s*+|(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?:\s++|$)|(?<!\s)[^\S\n]*+\n\s*+")
_LINE_ENDERS = frozenset(".!?:;。！？：；|")
_LIST_MARK = re.compile(r"[-*+•|#>]|(?<!\d)\d++[.)、]")
# A word keeps its inner joiners, so that AC/DC, INV-2024-0042, 3.5 and a.b@c.org stay whole.
_WORD = re.compile(rf"[^\W_{HAN}\u3040-\u30ff]+(?:[-_./@:'’+&#][^\W_{HAN}\u3040-\u30ff]+)*|[{HAN}\u3040-\u30ff]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Split text into sentences and lines; the spans touch and cover the text, trailing space included.

    A line end inside a sentence that was only wrapped to the page's width is no boundary.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        if _is_wrap(text, start, match) if "\n" in match.group() else _is_inside_sentence(text, match):
            continue
        if text[start : match.end()].strip():
            spans.append((start, match.end()))
            start = match.end()
    return _covering(spans, start, text)


def line_spans(text: str) -> list[tuple[int, int]]:
    """Split text into lines; the spans touch and cover it. A row has one field a line."""
    spans: list[tuple[int, int]] = []
    start = 0
    for match in re.finditer(r"\n+", text):
        spans.append((start, match.end()))
        start = match.end()
    return _covering(spans, start, text)


def _covering(spans: list[tuple[int, int]], start: int, text: str) -> list[tuple[int, int]]:
    if start < len(text):
        if text[start:].strip() or not spans:
            spans.append((start, len(text)))
        else:
            spans[-1] = (spans[-1][0], len(text))
    return spans


def _is_wrap(text: str, sentence_start: int, match: re.Match[str]) -> bool:
    """Whether a line end only wraps a long line: no blank line, no full stop before it, no list mark after it."""
    if match.group().count("\n") != 1 or match.group()[0] in ".!?…。！？":
        return False
    line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
    before, after = line.rstrip()[-1:], text[match.end() : match.end() + 1]
    if not before or before in _LINE_ENDERS or _LIST_MARK.match(text, match.end()) or line.lstrip().startswith("#"):
        return False
    if _HAN_CHAR.match(before) and _HAN_CHAR.match(after):
        return len(line) >= 18
    return after.islower() or before == "," or len(line) >= 70


def _is_inside_sentence(text: str, match: re.Match[str]) -> bool:
    if text[match.start()] != ".":
        return False
    if _abbreviation().search(text[max(0, match.start() - 12) : match.start() + 1]):
        return True
    following = text[match.end() : match.end() + 1]
    return following.islower()


@lru_cache(maxsize=1)
def _abbreviation() -> re.Pattern[str]:
    known = sorted(word for language in languages().values() for word in language.abbreviations)
    return re.compile(rf"(?:^|[\s(])(?:[A-Z]|{'|'.join(map(re.escape, known))})\.$")


def words(text: str) -> list[str]:
    """The words of a text in order; a run of Chinese or Japanese characters is one word here."""
    return _WORD.findall(text)


def split_identifier(name: str) -> list[str]:
    """Words of an identifier: 'InvoiceLine' and 'invoice_line' both give ['invoice', 'line']."""
    return [part.lower() for piece in re.split(r"[_\s\-.]+", name) for part in _CAMEL.split(piece) if part]


@lru_cache(maxsize=4096)
def humanize(identifier: str) -> str:
    """An identifier as people read it: 'SupportRepId' and 'support_rep_id' both give 'Support rep id'."""
    if _HAN_CHAR.search(identifier):
        return identifier.replace("_", " ").strip()
    joined = " ".join(split_identifier(identifier))
    return joined[:1].upper() + joined[1:]


def fold(text: str) -> str:
    """Case, width and accents folded: 'Ｌｕíｓ' and 'luis' meet. Chinese characters stay as they are."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize("NFKC", "".join(c for c in decomposed if not unicodedata.combining(c)))


def has_han(text: str) -> bool:
    return _HAN_CHAR.search(text) is not None


def language_of(text: str) -> str:
    """ISO 639-1 code of a text: by script, and by py3langid for the Latin one; 'en' when nothing tells."""
    for pattern, code in _scripts():
        if len(pattern.findall(text)) * 4 >= len(re.findall(r"\w", text)) > 0:
            return code
    if not re.search(r"[^\W\d_]", text):
        return "en"
    return _latin_language(text)


@lru_cache(maxsize=1)
def _scripts() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(each.script), each.code) for each in languages().values() if each.script)


@lru_cache(maxsize=1024)
def _latin_language(text: str) -> str:
    code, confidence = _classifier().classify(text)
    return str(code) if confidence >= 0.8 else "en"


@lru_cache(maxsize=1)
def _classifier():  # type: ignore[no-untyped-def]
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([each.code for each in languages().values() if not each.script])
    return identifier

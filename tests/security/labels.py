"""Labels in forms that no rule names: what leaves must be written by the checker, or be a word of prose."""

import html
import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st

from rag.answer.citations import CitationWriter
from rag.documents import Document, Passage

TEXT = "Records can be returned within 30 days. Opened records are exchanged only. 年假为十二天。"
DOCUMENT = Document(id="returns.md", source="docs", title="Returns", text=TEXT, uri="file:///r", scope="returns.md")
PASSAGE = Passage(label="k7f2", document=DOCUMENT, text=TEXT, start=0, end=len(TEXT), page=None, context="", score=1.0)
OTHER = Passage(
    label="m1n2", document=Document(id="pump.md", source="docs", title="Pump", text="The pump is red.", uri="", scope="pump.md"),
    text="The pump is red.", start=0, end=16, page=None, context="", score=1.0,
)  # fmt: skip
KNOWN, UNKNOWN = ("k7f2", "m1n2"), ("z9z8", "a1b2c3", "q4q4q4q4")
BRACKETS = (
    "[]", "()", "{}", "<>", "【】", "［］", "（）", "〔〕", "《》", "〈〉", "「」", "『』", "⟨⟩", "⟦⟧", "«»", "‹›", "[[ ]]", "[( )]",
    "([ ])", "【【 】】", "<sup> </sup>", "<a href='#'> </a>", "` `", "```\n \n```", "** **", "_ _", "[^ ]", "[# ]", "[ ](#x)", "[ ](x.md)",
    "<!-- -->", "~~ ~~", "| |", "^ ^", "{{ }}", "\\[ \\]", "\\( \\)", "$ $", "<cite> </cite>", "【 †source】",
)  # fmt: skip
WORDS = (
    "", "source: ", "Source ", "Sources: ", "see ", "cf. ", "ref ", "Quelle: ", "siehe ", "fuente: ", "voir ", "出典：", "来源：", "参见", "출처: ",
    "id=", "ID: ", "label ", "pump.md, ", "page 4, ", "passage ", "#", "†", "@", "per ", "источник: ", "Passages ",
)  # fmt: skip
JOINS = (", ", "; ", " and ", "-", "|", "/", " & ", "、", "，", " 和 ", "] [", ",", " ")
PROSE = (
    "Records can be returned within 30 days", "The pump is red", "Opened records are exchanged only", "年假为十二天", "The moon is made of cheese",
    "Hydrogen peroxide is h2o2 to chemists", "It costs 900 euros",
)  # fmt: skip
STOPS = (".", "。", "!", "?", "\n", "\n\n", ". ", ":", ", ", " ")


def _styled(label: str, style: int) -> str:
    """A label as it may be written, to be read as the same one."""
    match style:
        case 1:
            return label.upper()
        case 2:
            return "".join(chr(ord(sign) + 0xFEE0) for sign in label)  # full-width
        case 3:
            return "\u200b".join(label)
        case 4:
            return f"{label[:2]}\u00ad{label[2:]}"
        case 5:
            return f"{label[:2]}**{label[2:]}**"
        case 6:
            return "".join(f"&#{ord(sign)};" for sign in label)
        case 7:
            return f"{label[0]}&#x{ord(label[1]):x};{label[2:]}"
        case 8:
            return "".join(chr(0x1D41A + ord(s) - 97) if s.isalpha() else chr(0x1D7CE + int(s)) for s in label)  # bold
        case _:
            return label


@st.composite
def forms(draw: st.DrawFn) -> str:
    """A label, or several, in some bracket, behind some word."""
    labels = draw(st.lists(st.sampled_from(KNOWN + UNKNOWN), min_size=1, max_size=3))
    style = draw(st.sampled_from([0] * 8 + list(range(1, 9))))
    listed = draw(st.sampled_from(JOINS)).join(_styled(label, style) for label in labels)
    bracket = draw(st.sampled_from(BRACKETS))
    left, right = (
        bracket.split(" ", 1) if " " in bracket else (bracket[: len(bracket) // 2], bracket[len(bracket) // 2 :])
    )
    inner = draw(st.sampled_from(WORDS)) + listed
    inside = f"{left}{inner}{right}"
    if draw(st.booleans()) and len(inside) < 60:
        left, right = draw(st.sampled_from([("[", "]"), ("(", ")"), ("【", "】"), ("「", "」"), ("<", ">")]))
        inside = f"{left}{inside}{right}"
    return draw(st.sampled_from(["", " ", " ", "  "])) + inside


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, list[int]]:
    """A text with forms in it, and where it is cut into pieces."""
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        parts.append(draw(st.sampled_from(PROSE)))
        parts += draw(st.lists(forms(), max_size=2))
        parts.append(draw(st.sampled_from(STOPS)))
        parts += draw(st.lists(forms(), max_size=1))
    text = "".join(parts)
    return text, sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))


@dataclass(frozen=True)
class Written:
    text: str
    marks: tuple[int, ...]
    dropped: int


def write(text: str, cuts: list[int]) -> Written:
    writer = CitationWriter([PASSAGE, OTHER])
    edges = [0, *cuts, len(text)]
    out = "".join(writer.feed(text[a:b]) for a, b in pairwise(edges)) + writer.finish()
    return Written(text=out, marks=tuple(writer.marks), dropped=writer.dropped)


_MARK = re.compile(r"\[(k7f2|m1n2)\]")
_FALSE = "|".join(UNKNOWN)
_AROUND = re.compile(
    rf"[\[(<{{【［（〔〖《〈「『⟨⟦`][^\])>}}】］）〕》〉」』⟩⟧`\n]{{0,60}}(?<![a-z0-9])(?:{_FALSE})(?![a-z0-9])"
    rf"|(?:source|see|ref|quelle|出典|来源|label|passage|id)s?\s*[:：=]?\s*(?<![a-z0-9])(?:{_FALSE})(?![a-z0-9])"
)


def as_read(text: str) -> str:
    """A text as a reader of the page sees its letters."""
    seen = unicodedata.normalize("NFKC", html.unescape(text)).lower()
    seen = "".join(sign for sign in seen if unicodedata.category(sign) != "Cf" and sign != "\u034f")
    return re.sub(r"[*~\\]|(?<=[a-z0-9])_+(?=[a-z0-9])", "", seen)


def leaks(written: Written) -> list[str]:
    """Labels in what was written that the checker did not write."""
    seen = as_read(written.text)
    found = []
    marks = _MARK.findall(seen)
    if len(marks) != len(written.marks):
        found.append(f"{len(marks)} labels in brackets and {len(written.marks)} marks")
    rest = _MARK.sub(" ", seen)
    found += [f"bare {label}" for label in KNOWN if re.search(rf"(?<![a-z0-9]){label}(?![a-z0-9])", rest)]
    found += [f"shape {match[0]!r}" for match in _AROUND.finditer(rest)]
    return found

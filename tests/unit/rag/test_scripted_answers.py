"""500 answers as a model may write them: what leaves must be true, and the same streamed as whole."""

import random
import re
from typing import Literal

import pytest

from rag.answer.citations import CitationWriter
from rag.documents import Document, Passage
from rag.retrieval.labels import label_passages

FILES = {
    "returns.md": "Unopened records can be returned within 30 days. Opened records are exchanged for the same title only.",
    "stores.md": "The Edmonton store opens at 11:00 and closes at 20:00. Parking behind the Calgary store is free.",
    "care.md": "Shellac dissolves in alcohol, so clean it with distilled water. Store records upright, away from heat.",
    "手册.md": "员工每年有十二天带薪年假。试用期为三个月，期间可随时解除合同。",
    "运输.md": "订单满 200 元免运费。发货后一般 3 天内送达，偏远地区需要 7 天。",
}
ROWS = {
    "Album/1": "Title: For Those About To Rock\nArtist: AC/DC\nTracks: 10",
    "Invoice/5": "Customer: Luís Gonçalves\nDate: 2024-03-11\nTotal: 13.86",
    "Employee/3": "Name: Jane Peacock\nTitle: Sales Support Agent\nCity: Calgary",
}
# Claims with the document that each stands on, in other words than the document's.
CLAIMS = (
    ("You can return unopened records within 30 days", "returns.md"),
    ("Opened records are only exchanged for the same title", "returns.md"),
    ("Edmonton's store is open from 11:00 to 20:00", "stores.md"),
    ("Parking is free behind the Calgary store", "stores.md"),
    ("Clean shellac with distilled water, because alcohol dissolves it", "care.md"),
    ("Records are stored upright and away from heat", "care.md"),
    ("每年有十二天带薪年假", "手册.md"),
    ("试用期是三个月", "手册.md"),
    ("订单满 200 元就免运费", "运输.md"),
    ("偏远地区需要 7 天送达", "运输.md"),
    ("For Those About To Rock by AC/DC has 10 tracks", "Album/1"),
    ("The total of the invoice for Luís Gonçalves is 13.86", "Invoice/5"),
    ("Jane Peacock is a sales support agent in Calgary", "Employee/3"),
)
FALSE = (
    "The warranty on turntables lasts five years",
    "Unopened records can be returned within 45 days",
    "The manager's name is Harper Quill",
    "The invoice for Luís Gonçalves comes to 99.10",
    "公司提供免费午餐和班车",
    "员工每年有二十五天带薪病假和旅游补贴",
)


def _passages() -> dict[str, Passage]:
    made = []
    for name, text in (FILES | ROWS).items():
        kind: Literal["row", "file"] = "row" if name in ROWS else "file"
        title = name.replace("/", " ") if kind == "row" else name.partition(".")[0]
        document = Document(id=name, source="s", title=title, text=text, uri=f"s:{name}", scope=name, kind=kind)
        made.append(
            Passage(label="", document=document, text=text, start=0, end=len(text), page=None, context="", score=1.0)
        )
    return {passage.document.id: passage for passage in label_passages(made)}


PASSAGES = _passages()
LABEL_OF = {name: passage.label for name, passage in PASSAGES.items()}
NAME_OF = {label: name for name, label in LABEL_OF.items()}
KINDS = "right wrong missing invented duplicated nested full-width round worded early listed both".split()


def _marks(kind: str, label: str, rng: random.Random) -> tuple[str, str]:
    """What stands before a claim and what behind it."""
    other = rng.choice([each for each in NAME_OF if each != label])
    return {
        "right": ("", f" [{label}]"),
        "wrong": ("", f" [{other}]"),
        "missing": ("", ""),
        "invented": ("", f" [q9z8] [{rng.randint(1, 40)}]"),
        "duplicated": ("", f" [{label}][{label}] [{label}]"),
        "nested": ("", f" [[{label}]]"),
        "full-width": ("", f"【{label}】"),
        "round": ("", f" ({label})"),
        "worded": ("", f" [passage {label}]"),
        "early": (f"[{label}] ", ""),
        "listed": ("", f" [{other}, {label}、q9z8]"),
        "both": ("", f" [{label}] [{other}]"),
    }[kind]


def script(seed: int) -> tuple[str, list[str | None]]:
    """An answer with, for each sentence, the document that it stands on, or None for one that is not true."""
    rng = random.Random(seed)
    text, truth = "", list[str | None]()
    for _ in range(rng.randint(1, 4)):
        false = rng.random() < 0.2
        claim, name = (rng.choice(FALSE), None) if false else rng.choice(CLAIMS)
        before, behind = _marks(rng.choice(KINDS), LABEL_OF[name] if name else rng.choice(list(NAME_OF)), rng)
        stop = "。" if re.search("[一-鿿]", claim) else "."
        text += f"{before}{claim}{stop}{behind}\n" if rng.random() < 0.3 else f"{before}{claim}{behind}{stop}\n"
        truth.append(name)
    return text.strip(), truth


def write(text: str, rng: random.Random | None = None) -> tuple[str, CitationWriter]:
    writer = CitationWriter(list(PASSAGES.values()))
    out, at = "", 0
    while at < len(text):
        size = rng.randint(1, 6) if rng else len(text)
        out += writer.feed(text[at : at + size])
        at += size
    return out + writer.finish(), writer


@pytest.mark.parametrize("start", range(0, 500, 50))
def test_of_500_scripted_answers_only_true_citations_leave_and_streamed_equals_plain(start: int) -> None:
    for seed in range(start, start + 50):
        answer, truth = script(seed)
        text, writer = write(answer)
        streamed, again = write(answer, random.Random(seed))
        assert (streamed, again.citations, again.dropped) == (text, writer.citations, writer.dropped)
        lines = text.split("\n")
        assert len(lines) == len(truth), (answer, text)
        for line, name in zip(lines, truth, strict=True):
            labels = set(re.findall(r"[\[【(（]\s*(?:passage )?((?:[a-z]\d)+)", line))
            assert labels <= ({LABEL_OF[name]} if name else set()), (seed, answer, text)
        left = set(re.findall(r"\[((?:[a-z]\d)+)\]", text))
        assert {citation.label for citation in writer.citations} == left
        for citation in writer.citations:
            document = PASSAGES[NAME_OF[citation.label]].document
            assert document.text[citation.start : citation.end] == citation.quote
            assert citation.quote


def test_true_sentences_keep_or_get_their_citation() -> None:
    kept = wanted = 0
    for seed in range(500):
        answer, truth = script(seed)
        for line, name in zip(write(answer)[0].split("\n"), truth, strict=True):
            wanted += name is not None
            kept += name is not None and f"[{LABEL_OF[name]}]" in line
    assert kept / wanted >= 0.95

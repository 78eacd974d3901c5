from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from rag.answer.citations import CitationWriter, label_passages
from rag.documents import Document, Passage

TEXT = "Records can be returned within 30 days. Opened records are exchanged only. 年假为十二天。"
DOCUMENT = Document(id="returns.md", source="docs", title="Returns", text=TEXT, uri="file:///r", scope="returns.md")
PASSAGE = Passage(label="k7f2", document=DOCUMENT, text=TEXT, start=0, end=len(TEXT), page=None, context="", score=1.0)


def write(answer: str, *, pieces: int = 10_000) -> tuple[str, CitationWriter]:
    writer = CitationWriter([PASSAGE])
    out = "".join(writer.feed(answer[i : i + pieces]) for i in range(0, len(answer), pieces))
    return out + writer.finish(), writer


def test_a_known_label_is_kept_and_its_sentence_located():
    text, writer = write("You have 30 days to return a record [k7f2].")
    assert text == "You have 30 days to return a record [k7f2]."
    quote = writer.citations[0]
    assert quote.quote == "Records can be returned within 30 days."
    assert TEXT[quote.start : quote.end] == quote.quote


def test_a_label_after_the_full_stop_belongs_to_the_sentence_before():
    text, writer = write("Opened records are exchanged. [k7f2] Nothing else.")
    assert text.startswith("Opened records are exchanged [k7f2].")
    assert writer.citations[0].quote == "Opened records are exchanged only."


def test_labels_that_no_passage_has_are_removed_and_counted():
    text, writer = write("Records can be returned [z9z9] soon [3].")
    assert "z9z9" not in text
    assert "[3]" not in text
    assert writer.dropped == 2


def test_a_list_of_labels_keeps_the_known_ones():
    text, writer = write("Return records within 30 days [z9z9, k7f2].")
    assert text == "Return records within 30 days [k7f2]."
    assert writer.dropped == 1


def test_a_sentence_without_label_is_cited_when_a_passage_holds_it():
    text, writer = write("Opened records are exchanged only. The moon is made of green cheese.")
    assert text.startswith("Opened records are exchanged only [k7f2].")
    assert writer.uncited == 1


def test_other_brackets_are_left_alone():
    assert write("See [the appendix] (and [so on]).")[0] == "See [the appendix] (and [so on])."


@given(st.text(alphabet="ab [](k7f2),.。\n3z ", max_size=60), st.integers(1, 7))
@example("[\n2]", 1)
@example("[" + ", ".join(["k7f2"] * 12) + "] it is.", 5)
@example("[k7f2" + " " * 58 + "] and more", 3)
def test_streamed_in_any_pieces_the_result_is_the_same(answer: str, pieces: int):
    whole, first = write(answer)
    streamed, second = write(answer, pieces=pieces)
    assert streamed == whole
    assert second.citations == first.citations


def test_labels_belong_to_passages_and_not_to_ranks():
    other = replace(PASSAGE, start=500)
    forth = {p.start: p.label for p in label_passages([PASSAGE, other])}
    back = {p.start: p.label for p in label_passages([other, PASSAGE])}
    assert forth == back
    assert len(set(forth.values())) == 2


def test_each_label_in_the_text_tells_which_citation_it_stands_for():
    text, writer = write(
        "Opened records are exchanged only [k7f2]. Records can be returned within 30 days. Opened records are exchanged only [k7f2]."
    )
    assert text.count("[k7f2]") == 3
    assert [writer.citations[mark].quote for mark in writer.marks] == [
        "Opened records are exchanged only.",
        "Records can be returned within 30 days.",
        "Opened records are exchanged only.",
    ]
    assert len(writer.citations) == 2

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag.answer.citations import CitationWriter
from rag.documents import Document, Passage

TEXT = "Records can be returned within 30 days. Opened records are exchanged only. 年假为十二天。"
DOCUMENT = Document(id="returns.md", source="docs", title="Returns", text=TEXT, uri="file:///r", scope="returns.md")
PASSAGE = Passage(label="k7f2", document=DOCUMENT, text=TEXT, start=0, end=len(TEXT), page=None, context="", score=1.0)


def write(answer: str, *, pieces: int = 10_000) -> tuple[str, CitationWriter]:
    writer = CitationWriter([PASSAGE])
    out = "".join(writer.feed(answer[i : i + pieces]) for i in range(0, len(answer), pieces))
    return out + writer.finish(), writer


def test_a_known_label_is_kept_and_its_sentence_located() -> None:
    text, writer = write("You have 30 days to return a record [k7f2].")
    assert text == "You have 30 days to return a record [k7f2]."
    quote = writer.citations[0]
    assert quote.quote == "Records can be returned within 30 days."
    assert TEXT[quote.start : quote.end] == quote.quote


def test_a_label_after_the_full_stop_belongs_to_the_sentence_before() -> None:
    text, writer = write("Opened records are exchanged. [k7f2] Nothing else.")
    assert text.startswith("Opened records are exchanged [k7f2].")
    assert writer.citations[0].quote == "Opened records are exchanged only."


def test_labels_that_no_passage_has_are_removed_and_counted() -> None:
    text, writer = write("Records can be returned [z9z9] soon [3].")
    assert "z9z9" not in text
    assert "[3]" not in text
    assert writer.dropped == 2


def test_a_list_of_labels_keeps_the_known_ones() -> None:
    text, writer = write("Return records within 30 days [z9z9, k7f2].")
    assert text == "Return records within 30 days [k7f2]."
    assert writer.dropped == 1


def test_a_sentence_without_label_is_cited_when_a_passage_holds_it() -> None:
    text, writer = write("Opened records are exchanged only. The moon is made of green cheese.")
    assert text.startswith("Opened records are exchanged only [k7f2].")
    assert writer.uncited == 1


def test_other_brackets_are_left_alone() -> None:
    assert write("See [the appendix] (and [so on]).")[0] == "See [the appendix] (and [so on])."


@given(st.text(alphabet="ab [](k7f2),.。\n3z ", max_size=60), st.integers(1, 7))
@example("[\n2]", 1)
@example("[" + ", ".join(["k7f2"] * 12) + "] it is.", 5)
@example("[k7f2" + " " * 58 + "] and more", 3)
def test_streamed_in_any_pieces_the_result_is_the_same(answer: str, pieces: int) -> None:
    whole, first = write(answer)
    streamed, second = write(answer, pieces=pieces)
    assert streamed == whole
    assert second.citations == first.citations


def test_each_label_in_the_text_tells_which_citation_it_stands_for() -> None:
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


def quotes(answer: str) -> list[str]:
    """For each label that leaves, what it stands for."""
    _, writer = write(answer)
    return [writer.citations[mark].quote for mark in writer.marks]


RETURNED, EXCHANGED = "Records can be returned within 30 days.", "Opened records are exchanged only."


@pytest.mark.parametrize(
    "answer",
    [
        f"{RETURNED} [k7f2] Tea is free.",
        f"{RETURNED[:-1]} [k7f2]  [z9z9] [k7f2]. {EXCHANGED}  ",
        f"{RETURNED[:-1]}【k7f2】。{EXCHANGED[:-1]} (k7f2)!",
        f"[k7f2] {EXCHANGED}\n[see the appendix] [k7f2] Tea [",
        f"{RETURNED[:-1]} [k7f2] (and more) [12].   ",
        "Tea   \n   is free   ",
        f"{EXCHANGED[:-1]} [k7f2](really).",
    ],
)
@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_a_label_that_comes_in_pieces_is_read_as_one(answer: str, pieces: int) -> None:
    (whole, first), (streamed, second) = write(answer), write(answer, pieces=pieces)
    assert streamed == whole
    assert (second.marks, second.dropped, second.uncited) == (first.marks, first.dropped, first.uncited)


def test_what_cannot_become_a_label_is_not_held_back() -> None:
    writer = CitationWriter([PASSAGE])
    assert writer.feed("Tea is free. Milk") == "Tea is free. Milk"
    assert writer.feed(" is. ") == " is"  # a label may follow the full stop
    assert writer.feed("Not all of it is [you") == ". Not all of it is"
    assert writer.finish() == " [you"


def test_a_label_leaves_as_soon_as_something_else_follows_it() -> None:
    assert CitationWriter([PASSAGE]).feed(f"{EXCHANGED[:-1]} [k7f2] and") == f"{EXCHANGED[:-1]} [k7f2] and"


def test_blank_space_at_the_end_stays() -> None:
    assert write("Tea is free   ")[0] == "Tea is free   "


def test_a_line_s_end_ends_its_sentence_and_labels_behind_it_are_the_next_one_s() -> None:
    text, _ = write(f"{RETURNED[:-1]}\n[k7f2] {EXCHANGED}")
    assert text == f"{RETURNED[:-1]} [k7f2]\n {EXCHANGED[:-1]} [k7f2]."
    assert quotes(f"{RETURNED[:-1]}\n[k7f2] {EXCHANGED}") == [RETURNED, EXCHANGED]


def test_a_label_before_its_sentence_is_written_behind_it_once() -> None:
    assert write(f"[k7f2] {EXCHANGED}")[0] == f" {EXCHANGED[:-1]} [k7f2]."
    assert write(f"[k7f2] {EXCHANGED[:-1]} [k7f2].")[0] == f" {EXCHANGED[:-1]} [k7f2]."


def test_an_early_label_without_a_sentence_is_not_written() -> None:
    assert write("[k7f2] \n")[0] == " \n"


def test_an_early_label_that_is_not_true_is_removed() -> None:
    text, writer = write("[k7f2] The moon is made of green cheese.")
    assert (text, writer.dropped, writer.uncited) == (" The moon is made of green cheese.", 1, 1)


def test_each_part_of_a_sentence_has_the_label_that_follows_it() -> None:
    sentence = f"{RETURNED[:-1]} [k7f2], and opened records are exchanged only [k7f2]."
    assert write(sentence)[0] == sentence
    assert quotes(sentence) == [RETURNED, EXCHANGED]


def test_a_part_that_says_nothing_has_the_label_of_its_sentence() -> None:
    assert quotes(f"{RETURNED[:-1]} [k7f2], yes [k7f2].") == [RETURNED, RETURNED]


def test_a_label_that_is_repeated_behind_the_full_stop_is_written_once() -> None:
    text, writer = write(f"{EXCHANGED[:-1]} [k7f2]. [k7f2] [z9z9]")
    assert (text, writer.dropped) == (f"{EXCHANGED[:-1]} [k7f2].", 1)


def test_labels_of_one_sentence_are_not_those_of_the_next() -> None:
    text, _ = write(f"{EXCHANGED[:-1]} [k7f2]. {RETURNED} [k7f2]")
    assert text == f"{EXCHANGED[:-1]} [k7f2]. {RETURNED[:-1]} [k7f2]."


def test_a_label_before_a_round_bracket_makes_no_link_of_it() -> None:
    assert write(f"{EXCHANGED[:-1]} [k7f2](really).")[0] == f"{EXCHANGED[:-1]} [k7f2] (really)."


def test_a_sentence_that_says_nothing_is_not_uncited() -> None:
    assert write("Yes. It is.")[1].uncited == 0

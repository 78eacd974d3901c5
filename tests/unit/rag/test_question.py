"""What is read from a question's words."""

import pytest

from rag.question.question import understand


@pytest.mark.parametrize("question", ["故宫的门票是多少？", "门票多少钱？", "几点开门？", "员工买唱片打几折？"])
def test_a_chinese_question_for_a_value_is_no_count(question: str) -> None:
    assert understand(question).aggregate == ""


@pytest.mark.parametrize(
    ("question", "aggregate", "counted", "is_count"),
    [
        ("How many tracks are there?", "How many tracks", "tracks", True),
        ("What is the total number of the invoices?", "total", "invoices", True),
        ("Which track is the Longest?", "Longest", "", False),
        ("一共有多少个播放列表？", "一共", "", False),
        ("有多少个播放列表？", "多少", "", True),
        ("Who is Ann?", "", "", False),
    ],
)
def test_a_question_for_a_figure_is_known_by_its_words(
    question: str, aggregate: str, counted: str, is_count: bool
) -> None:
    found = understand(question)
    assert (found.aggregate, found.counted, found.is_count) == (aggregate, counted, is_count)


def test_synonyms_are_searched_for_and_stand_for_their_word() -> None:
    found = understand("哪些专辑？", {"专辑": ["album", "record"], "发票": ["invoice"]})
    assert found.expansion == "album record"
    assert found.also == {"专辑": frozenset({"album", "record"})}


def test_a_synonym_of_a_word_that_means_nothing_stands_for_none() -> None:
    found = understand("Which albums are there?", {"which": ["who"]})
    assert (found.expansion, found.also) == ("who", {})

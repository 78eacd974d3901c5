"""What is said where not all is answered."""

from dataclasses import replace

import pytest

from rag.language.languages import languages
from rag.question.question import understand
from rag.question.refusals import more_rows, refusal


@pytest.mark.parametrize(
    ("question", "language"), [("Wer ist der Chef von allem hier?", "de"), ("谁是老板？", "zh"), ("Who?", "en")]
)
def test_a_refusal_speaks_the_question_s_language(question: str, language: str) -> None:
    assert refusal(understand(question)) == languages()[language].nothing_found


def test_a_refused_figure_is_explained() -> None:
    assert refusal(understand("How many tracks?")) == languages()["en"].no_figure


def test_a_language_without_a_text_for_figures_says_that_it_found_nothing() -> None:
    german = replace(understand("Was?"), language="de", aggregate="Summe")
    assert refusal(german) == languages()["de"].nothing_found


@pytest.mark.parametrize("language", ["el", "xx"])
def test_a_language_without_any_text_is_answered_in_english(language: str) -> None:
    question = replace(understand("How many?"), language=language)
    assert refusal(replace(question, aggregate="")) == languages()["en"].nothing_found
    assert refusal(replace(question, aggregate="total")) == languages()["en"].no_figure
    assert more_rows(question, shown=8) == "More rows match; these are the first 8."


def test_more_rows_are_told_in_the_language_of_the_question() -> None:
    assert more_rows(understand("有哪些专辑？"), shown=8) == "还有更多匹配的行，以上是前 8 行。"

"""Measures of rankings, of answers found, and of refusals."""

import math

import pytest

from rag.documents import Chunk, Hit
from service.evaluation.cases import Case
from service.evaluation.measures import by_document, holds_answer, mean, ranked, refusals, threshold_for
from tests.unit.service.conftest import document


def case(*answers: tuple[str, ...], **documents: int) -> Case:
    return Case(
        id="q1", text="?", answers=answers, documents={name.replace("__", "/"): g for name, g in documents.items()}
    )


def hits(*names: str, source: str = "docs") -> list[Hit]:
    chunks = [Chunk(id=n, document=document(n, "", source=source), ordinal=0, text="", start=0, end=0) for n in names]
    return [Hit(chunk=chunk, score=1.0) for chunk in chunks]


def test_a_right_document_in_second_place_has_the_gain_of_that_place() -> None:
    found = ranked([case(a=1)], {"q1": {"b": 2.0, "a": 1.0}})
    assert found == {"nDCG@10": round(1 / math.log2(3), 4), "recall@10": 1.0, "MRR@10": 0.5}


def test_graded_documents_in_the_best_order_are_perfect_and_in_the_worst_less_so() -> None:
    graded = case(a=3, b=1)
    assert ranked([graded], {"q1": {"a": 2.0, "b": 1.0}})["nDCG@10"] == 1.0
    ideal = 3 + 1 / math.log2(3)
    turned = (1 + 3 / math.log2(3)) / ideal
    assert ranked([graded], {"q1": {"b": 2.0, "a": 1.0}})["nDCG@10"] == round(turned, 4)


def test_what_is_below_the_tenth_place_does_not_count() -> None:
    run = {f"x{place}": float(-place) for place in range(10)} | {"a": -10.0}
    assert ranked([case(a=1)], {"q1": run}) == {"nDCG@10": 0.0, "recall@10": 0.0, "MRR@10": 0.0}


def test_without_cases_nothing_is_measured() -> None:
    assert ranked([], {}) == {}
    assert refusals([], [0.1], threshold=0.5) == refusals([0.1], [], threshold=0.5) == {}


def test_a_document_has_the_score_of_its_best_chunk() -> None:
    assert by_document(hits("b", "a", "b"), case(a=1)) == {"b": 3.0, "a": 2.0}


def test_a_document_is_named_with_its_source_where_the_case_names_it_so() -> None:
    assert by_document(hits("a", "b"), case(docs__a=1)) == {"docs/a": 2.0, "b": 1.0}


@pytest.mark.parametrize(
    ("answers", "text", "holds"),
    [
        ([("Edmonton",)], "The EDMONTON store", True),
        ([("Edmonton",)], "Edmontonian", False),
        ([("12",)], "In 1234", False),
        ([("12",)], "In 12, 34", True),
        ([("12",)], "a_12_b", True),
        ([("AC/DC", "1980")], "Back in Black by AC/DC (1980)", True),
        ([("AC/DC", "1981")], "Back in Black by AC/DC (1980)", False),
        ([("x",), ("1980",)], "In 1980", True),
        ([("商店",)], "埃德蒙顿商店十一点开门", True),
        ([("market",)], "埃德蒙顿商店", False),
        ([("Zürich",)], "in zürich.", True),
        ([()], "anything", False),
        ([], "anything", False),
    ],
)
def test_a_text_holds_an_answer_when_it_has_all_its_values_as_whole_words(
    answers: list[tuple[str, ...]], text: str, holds: bool
) -> None:
    assert holds_answer(case(*answers), text) is holds


def test_the_threshold_refuses_at_most_its_share_of_questions() -> None:
    evidences = [number / 100 for number in range(100)]
    for share in (0.0, 0.05, 0.5):
        threshold = threshold_for(evidences, false_refusals=share)
        assert sum(value < threshold for value in evidences) <= share * 100
        assert sum(value < threshold + 0.011 for value in evidences) > share * 100


def test_a_threshold_is_rounded_down_so_that_it_refuses_nobody_more() -> None:
    assert threshold_for([0.12399], false_refusals=0.05) == 0.123
    assert threshold_for([0.5, 0.9], false_refusals=1.0) == 0.9


def test_a_mean_of_yes_and_no_is_their_share() -> None:
    assert mean([True, False, False]) == 0.3333

import pytest

from indexes.sparse import AVERAGE_TERMS, FUNCTION_WORD, K1, B, Bm25Encoder
from rag.documents import SparseVector

ENCODER = Bm25Encoder()


def document(text: str) -> SparseVector:
    return ENCODER.encode([text])[0]


def weight(text: str, term: str) -> float:
    [place] = ENCODER.encode([term], query=True)[0].indices
    vector = document(text)
    return dict(zip(vector.indices, vector.values, strict=True))[place]


def test_a_term_weighs_what_the_formula_of_bm25_says() -> None:
    norm = K1 * (1 - B + B * 4 / AVERAGE_TERMS)
    assert weight("jazz jazz rock blues", "jazz") == pytest.approx(2 * (K1 + 1) / (2 + norm))
    assert weight("jazz jazz rock blues", "rock") == pytest.approx(1 * (K1 + 1) / (1 + norm))


def test_a_term_weighs_less_in_a_longer_text() -> None:
    assert weight("jazz " + "rock " * 200, "jazz") < weight("jazz rock", "jazz")


def test_a_text_of_average_length_has_no_bonus_and_no_penalty() -> None:
    text = " ".join(["jazz", *["rock"] * 99])
    assert weight(text, "jazz") == pytest.approx(1)


def test_the_function_words_of_a_question_weigh_little_and_those_of_a_text_fully() -> None:
    assert ENCODER.encode(["who"], query=True)[0].values == (FUNCTION_WORD,)
    assert ENCODER.encode(["jazz"], query=True)[0].values == (1.0,)
    assert weight("who is jazz", "who") == weight("who is jazz", "jazz")


def test_equal_terms_have_one_id_in_every_language_and_letter_case() -> None:
    assert document("Jazz Records").indices == document("records jazz").indices
    assert document("唱片").indices == document("唱片。").indices

"""What every sparse encoder does (rag/ports.py, SparseEncoder).

An encoder of your own: subclass SparseEncoderContract, with a fixture `encoder` that gives one.
"""

import math

import pytest

from indexes.sparse import Bm25Encoder
from rag.documents import SparseVector
from rag.fakes import TermEncoder
from rag.ports import SparseEncoder

TEXTS = ["AC/DC released Let There Be Rock", "invoice INV-2024-0042, invoice 5", "黑胶唱片必须竖直存放"]


class SparseEncoderContract:
    @pytest.fixture
    def encoder(self) -> SparseEncoder:
        raise NotImplementedError

    @pytest.mark.parametrize("query", [False, True])
    def test_texts_become_positive_weights_of_ascending_ids_of_32_bits(
        self, encoder: SparseEncoder, query: bool
    ) -> None:
        for vector in encoder.encode(TEXTS, query=query):
            assert len(vector.indices) == len(vector.values) > 0
            assert list(vector.indices) == sorted(set(vector.indices))
            assert 0 <= vector.indices[0] <= vector.indices[-1] < 2**32
            assert all(0 < value < math.inf for value in vector.values)

    def test_vectors_come_in_input_order(self, encoder: SparseEncoder) -> None:
        assert encoder.encode(TEXTS) == [encoder.encode([text])[0] for text in TEXTS]

    def test_a_question_shares_a_term_with_the_text_that_answers_it_alone(self, encoder: SparseEncoder) -> None:
        held = encoder.encode(TEXTS)
        questions = encoder.encode(["what did ac/dc release", "INV-2024-0042?", "唱片 存放"], query=True)
        assert [[bool(shared(q, text)) for text in held] for q in questions] == [
            [True, False, False], [False, True, False], [False, False, True],
        ]  # fmt: skip

    def test_a_term_weighs_the_same_in_a_question_however_often_it_stands_there(self, encoder: SparseEncoder) -> None:
        once, twice = encoder.encode(["jazz records", "jazz records jazz"], query=True)
        assert once == twice

    def test_a_term_weighs_more_in_a_text_that_repeats_it(self, encoder: SparseEncoder) -> None:
        once, twice = encoder.encode(["jazz records here now", "jazz jazz here now"])
        [term] = encoder.encode(["jazz"], query=True)[0].indices
        assert weight(twice, term) > weight(once, term)

    def test_a_text_without_words_has_no_terms(self, encoder: SparseEncoder) -> None:
        nothing = SparseVector(indices=(), values=())
        assert encoder.encode(["", " \n"]) == encoder.encode(["", " \n"], query=True) == [nothing, nothing]

    def test_no_texts_have_no_vectors(self, encoder: SparseEncoder) -> None:
        assert encoder.encode([]) == []

    def test_it_has_a_name(self, encoder: SparseEncoder) -> None:
        assert encoder.name


def shared(a: SparseVector, b: SparseVector) -> set[int]:
    return set(a.indices) & set(b.indices)


def weight(vector: SparseVector, term: int) -> float:
    return dict(zip(vector.indices, vector.values, strict=True))[term]


class TestTerms(SparseEncoderContract):
    @pytest.fixture
    def encoder(self) -> SparseEncoder:
        return TermEncoder()


class TestBm25(SparseEncoderContract):
    @pytest.fixture
    def encoder(self) -> SparseEncoder:
        return Bm25Encoder()

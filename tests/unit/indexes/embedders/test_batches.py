import numpy as np

from indexes.embedders.onnx_backend import batches_of_like_length, pooled
from indexes.embedders.vectors import unit


def test_batches_hold_texts_of_like_length_the_long_ones_first() -> None:
    assert batches_of_like_length([10, 400, 20, 200, 250]) == [[1], [4, 3], [2, 0]]


def test_a_batch_is_as_wide_as_its_longest_text_allows() -> None:
    assert batches_of_like_length([128] * 5) == [[0, 1, 2, 3], [4]]


def test_a_text_that_is_longer_than_a_batch_is_one_of_its_own() -> None:
    assert batches_of_like_length([9000, 9000]) == [[0], [1]]


def test_no_texts_are_no_batch() -> None:
    assert batches_of_like_length([]) == []


def test_vectors_are_scaled_to_length_one_as_float32_and_nothing_stays_nothing() -> None:
    made = unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert made.dtype == np.float32
    assert np.allclose(made, np.array([[0.6, 0.8], [0.0, 0.0]]))


HIDDEN = np.array([[[1.0, 0.0], [3.0, 0.0], [9.0, 9.0]], [[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]])
MASK = np.array([[1, 1, 0], [1, 1, 1]])


def test_a_text_is_the_mean_of_its_tokens_without_the_padding_or_its_first_token() -> None:
    assert pooled(HIDDEN, MASK, "mean").tolist() == [[2, 0], [0, 2]]
    assert pooled(HIDDEN, MASK, "cls").tolist() == [[1, 0], [0, 1]]

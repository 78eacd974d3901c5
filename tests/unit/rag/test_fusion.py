import pytest

from rag.retrieval.fusion import DEPTH, fuse


def order(dense: dict[str, float], sparse: dict[str, float], weight: float = 0.5) -> list[str]:
    return [found for found, _ in fuse(dense, sparse, dense_weight=weight)]


def test_what_both_retrievers_rank_first_comes_first() -> None:
    (first, score), *_ = fuse({"a": 0.9, "b": 0.8}, {"a": 7.0, "c": 3.0})
    assert (first, score) == ("a", 1.0)


def test_scores_count_and_not_only_ranks() -> None:
    far, near = {"a": 9.0, "b": 1.0}, {"a": 9.0, "b": 8.9}
    dense = {"b": 0.9, "a": 0.88, "c": 0.1}
    assert order(dense, far) == ["a", "b", "c"]
    assert order(dense, near) == ["b", "a", "c"]


def test_the_weight_decides_between_the_retrievers() -> None:
    dense, sparse = {"a": 0.9, "b": 0.5}, {"b": 5.0, "c": 1.0}
    assert order(dense, sparse, 1.0)[0] == "a"
    assert order(dense, sparse, 0.0)[0] == "b"


def test_a_short_list_of_word_matches_ends_at_zero_and_a_full_one_at_its_last() -> None:
    assert dict(fuse({}, {"a": 4.0, "b": 2.0}, dense_weight=0))["b"] == pytest.approx(0.5)
    full = {str(i): 100.0 + i for i in range(DEPTH)}
    assert dict(fuse({}, full, dense_weight=0))["0"] == 0.0


def test_equal_scores_give_one_order_and_empty_lists_nothing() -> None:
    assert order({"b": 0.5, "a": 0.5}, {}) == ["a", "b"]
    assert fuse({}, {}) == []

import random

import pytest

from rag.prompt.ordering import Block, PrefixOrder


def blocks(keys: str, tokens: int = 300) -> list[Block]:
    return [Block(key=key, tokens=tokens) for key in keys]


def order(ordering: PrefixOrder, keys: str, *, replica: str = "r", namespace: str = "n") -> str:
    return "".join(keys[i] for i in ordering.arrange(replica, namespace, blocks(keys)).order)


def test_nothing_known_leaves_the_order_of_relevance() -> None:
    assert order(PrefixOrder(), "dbca") == "dbca"


def test_a_prompt_begins_like_the_one_that_it_shares_most_with() -> None:
    ordering = PrefixOrder()
    order(ordering, "abc")
    order(ordering, "axy")
    assert order(ordering, "zcba") == "abcz"
    assert order(ordering, "yxqa") == "axyq"


def test_the_longest_shared_path_wins_over_the_most_used_one() -> None:
    ordering = PrefixOrder()
    for _ in range(5):
        order(ordering, "p")
    order(ordering, "qrs")
    assert order(ordering, "psrq") == "qrsp"


def test_replicas_and_tenants_are_kept_apart() -> None:
    ordering = PrefixOrder()
    order(ordering, "abc")
    assert order(ordering, "cba", replica="other") == "cba"
    assert order(ordering, "cba", namespace="other") == "cba"


def test_what_no_longer_fits_the_cache_is_forgotten_oldest_first() -> None:
    ordering = PrefixOrder(capacity_tokens=900)
    order(ordering, "ab")
    order(ordering, "cd")
    assert order(ordering, "bdca") == "cdba"
    assert order(ordering, "ba") == "ba"


def test_what_the_engine_has_evicted_is_forgotten_with_all_that_is_older() -> None:
    ordering = PrefixOrder()
    for keys in ("pq", "ab"):
        ordering.answered(ordering.arrange("r", "n", blocks(keys)), cached_tokens=100, fixed_tokens=100)
    again = ordering.arrange("r", "n", blocks("ab"))
    assert again.predicted_tokens == 600
    ordering.answered(again, cached_tokens=100, fixed_tokens=100)
    assert order(ordering, "qp") == "qp"


def test_an_engine_that_reports_no_cached_tokens_teaches_nothing() -> None:
    ordering = PrefixOrder()
    for _ in range(2):
        ordering.answered(ordering.arrange("r", "n", blocks("ab")), cached_tokens=0, fixed_tokens=100)
    assert order(ordering, "ba") == "ab"


def test_a_passage_given_twice_stands_twice() -> None:
    assert sorted(order(PrefixOrder(), "aba")) == ["a", "a", "b"]


def test_every_order_holds_all_passages_and_the_tree_stays_within_its_capacity() -> None:
    rng, ordering = random.Random(0), PrefixOrder(capacity_tokens=30_000)
    for _ in range(400):
        keys = "".join(rng.sample("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", rng.randint(1, 12)))
        assert sorted(order(ordering, keys)) == sorted(keys)
        assert ordering._replicas["r"].tokens <= 30_000
        assert ordering._replicas["r"].tokens == sum(node.tokens for node in ordering._replicas["r"].nodes.values())


def send(ordering: PrefixOrder, keys: str, *, cached_tokens: int = 0) -> int:
    """Send a prompt and report what was cached; returns what was expected to be."""
    arrangement = ordering.arrange("r", "n", blocks(keys))
    ordering.answered(arrangement, cached_tokens=cached_tokens, fixed_tokens=100)
    return arrangement.predicted_tokens


def test_where_two_paths_hold_the_same_one_is_taken_whatever_the_order_of_a_set() -> None:
    keys = "abcdefghijklmnopqrst"
    ordering = PrefixOrder()
    for key in keys:
        order(ordering, key)
    assert order(ordering, keys[::-1])[0] == "a"


def test_of_two_paths_that_hold_as_much_the_most_used_one_is_taken() -> None:
    ordering = PrefixOrder()
    for keys in ("a", "b", "b"):
        order(ordering, keys)
    assert order(ordering, "ab") == "ba"


def test_what_fills_the_cache_to_the_token_is_remembered() -> None:
    ordering = PrefixOrder(capacity_tokens=900)
    send(ordering, "ab")
    send(ordering, "c")
    assert send(ordering, "ab") == 600


def test_a_prompt_that_is_larger_than_the_cache_is_remembered_itself() -> None:
    ordering = PrefixOrder(capacity_tokens=500)
    send(ordering, "ab")
    assert send(ordering, "ab") == 600


def test_an_engine_that_never_reports_cached_tokens_has_evicted_nothing() -> None:
    ordering = PrefixOrder()
    for keys in ("pq", "ab", "ab"):
        send(ordering, keys, cached_tokens=0)
    assert send(ordering, "pq") == 600


def test_a_report_of_none_counts_once_an_engine_has_reported_any() -> None:
    ordering = PrefixOrder()
    send(ordering, "pq", cached_tokens=1)
    for keys in ("ab", "ab"):
        send(ordering, keys, cached_tokens=0)
    assert send(ordering, "pq") == 0


@pytest.mark.parametrize("cached_tokens", [400, 144])  # all of a; or less by no more than is uncertain
def test_what_was_cached_is_not_forgotten_with_what_was_not(cached_tokens: int) -> None:
    ordering = PrefixOrder()
    send(ordering, "ab", cached_tokens=1)
    send(ordering, "ac", cached_tokens=400)
    assert send(ordering, "ab", cached_tokens=cached_tokens) == 600
    assert send(ordering, "ac") == 600


def test_what_is_as_old_as_what_was_evicted_is_forgotten_too() -> None:
    ordering = PrefixOrder()
    send(ordering, "abx", cached_tokens=1)
    send(ordering, "ab", cached_tokens=1)
    assert send(ordering, "abx", cached_tokens=1000) == 600


def test_a_prompt_that_is_not_answered_yet_is_not_taken_for_evicted() -> None:
    ordering = PrefixOrder()
    send(ordering, "pq", cached_tokens=1)
    ordering.arrange("r", "n", blocks("ab"))
    send(ordering, "ab", cached_tokens=1)
    assert send(ordering, "pq") == 600


def test_a_prompt_of_very_many_passages_is_ordered_by_its_first_ones() -> None:
    keys = "".join(chr(0x4E00 + i) for i in range(400))
    ordering = PrefixOrder()
    send(ordering, keys)
    assert 100 * 300 < send(ordering, keys) < 400 * 300

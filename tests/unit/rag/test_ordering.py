import random

from rag.prompt.ordering import Block, PrefixOrder


def blocks(keys: str, tokens: int = 300) -> list[Block]:
    return [Block(key=key, tokens=tokens) for key in keys]


def order(ordering: PrefixOrder, keys: str, *, replica: str = "r", namespace: str = "n") -> str:
    return "".join(keys[i] for i in ordering.arrange(replica, namespace, blocks(keys)).order)


def test_nothing_known_leaves_the_order_of_relevance():
    assert order(PrefixOrder(), "dbca") == "dbca"


def test_a_prompt_begins_like_the_one_that_it_shares_most_with():
    ordering = PrefixOrder()
    order(ordering, "abc")
    order(ordering, "axy")
    assert order(ordering, "zcba") == "abcz"
    assert order(ordering, "yxqa") == "axyq"


def test_the_longest_shared_path_wins_over_the_most_used_one():
    ordering = PrefixOrder()
    for _ in range(5):
        order(ordering, "p")
    order(ordering, "qrs")
    assert order(ordering, "psrq") == "qrsp"


def test_replicas_and_tenants_are_kept_apart():
    ordering = PrefixOrder()
    order(ordering, "abc")
    assert order(ordering, "cba", replica="other") == "cba"
    assert order(ordering, "cba", namespace="other") == "cba"


def test_what_no_longer_fits_the_cache_is_forgotten_oldest_first():
    ordering = PrefixOrder(capacity_tokens=900)
    order(ordering, "ab")
    order(ordering, "cd")
    assert order(ordering, "bdca") == "cdba"
    assert order(ordering, "ba") == "ba"


def test_what_the_engine_has_evicted_is_forgotten_with_all_that_is_older():
    ordering = PrefixOrder()
    for keys in ("pq", "ab"):
        ordering.answered(ordering.arrange("r", "n", blocks(keys)), cached_tokens=100, fixed_tokens=100)
    again = ordering.arrange("r", "n", blocks("ab"))
    assert again.predicted_tokens == 600
    ordering.answered(again, cached_tokens=100, fixed_tokens=100)
    assert order(ordering, "qp") == "qp"


def test_an_engine_that_reports_no_cached_tokens_teaches_nothing():
    ordering = PrefixOrder()
    for _ in range(2):
        ordering.answered(ordering.arrange("r", "n", blocks("ab")), cached_tokens=0, fixed_tokens=100)
    assert order(ordering, "ba") == "ab"


def test_a_passage_given_twice_stands_twice():
    assert sorted(order(PrefixOrder(), "aba")) == ["a", "a", "b"]


def test_every_order_holds_all_passages_and_the_tree_stays_within_its_capacity():
    rng, ordering = random.Random(0), PrefixOrder(capacity_tokens=30_000)
    for _ in range(400):
        keys = "".join(rng.sample("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", rng.randint(1, 12)))
        assert sorted(order(ordering, keys)) == sorted(keys)
        assert ordering._replicas["r"].tokens <= 30_000
        assert ordering._replicas["r"].tokens == sum(node.tokens for node in ordering._replicas["r"].nodes.values())

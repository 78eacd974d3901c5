"""The cache that benchmarks.prefix_cache simulates."""

from benchmarks.prefix_cache import Cache


def test_the_simulated_cache_counts_whole_blocks_and_never_the_last_token() -> None:
    cache = Cache(block=4, capacity_tokens=16)
    assert cache.ask(range(8)) == 0
    assert cache.ask(range(8)) == 4
    assert cache.ask(range(9)) == 8
    assert cache.ask([*range(4), 9, 9, 9, 9, 9]) == 4
    cache.ask(range(100, 116))
    assert cache.ask(range(9)) == 0

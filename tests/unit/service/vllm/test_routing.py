"""Which server a request goes to."""

from collections import Counter

from service.vllm.routing import Routing, Server

URLS = ["http://a/v1", "http://b/v1", "http://c/v1"]


def fail(server: Server, times: int = 3) -> None:
    for _ in range(times):
        server.breaker.failed()


def test_an_affinity_always_goes_to_the_same_server() -> None:
    assert {Routing(URLS).ranked("topic")[0].url for _ in range(5)} == {Routing(URLS[::-1]).ranked("topic")[0].url}


def test_affinities_are_spread_over_the_servers() -> None:
    firsts = Counter(Routing(URLS).ranked(f"topic {number}")[0].url for number in range(300))
    assert min(firsts[url] for url in URLS) > 60


def test_one_server_less_moves_only_its_own_affinities() -> None:
    topics = [f"topic {number}" for number in range(50)]
    before = {topic: Routing(URLS).ranked(topic)[0].url for topic in topics}
    after = {topic: Routing(URLS[:2]).ranked(topic)[0].url for topic in topics}
    assert all(after[topic] == before[topic] for topic in topics if before[topic] != URLS[2])


def test_without_an_affinity_the_server_with_the_fewest_requests_is_first() -> None:
    routing = Routing(URLS)
    for server, under_way in zip(routing.servers, (2, 0, 1), strict=True):
        server.under_way = under_way
    assert [server.url for server in routing.ranked("")] == [URLS[1], URLS[2], URLS[0]]


def test_with_an_affinity_its_server_is_first_however_much_it_has_to_do() -> None:
    routing = Routing(URLS)
    first = routing.ranked("topic")[0]
    first.under_way = 100
    assert routing.ranked("topic")[0] is first


def test_a_server_that_fails_is_last_and_gets_no_request_while_another_works() -> None:
    routing = Routing(URLS)
    first = routing.ranked("topic")[0]
    fail(first)
    assert routing.ranked("topic")[-1] is first
    assert not routing.takes(first)
    assert all(routing.takes(server) for server in routing.ranked("topic")[:2])


class Clock:
    """A clock that stands still until it is set."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_where_none_works_a_request_tries_each_after_a_rest() -> None:
    clock = Clock()
    routing = Routing(URLS[:1], clock=clock)
    (only,) = routing.servers
    fail(only)
    assert not routing.takes(only)
    clock.now_s += 10
    assert routing.trials() == []
    assert routing.takes(only)
    assert not routing.takes(only)  # one attempt at a time


def test_while_another_works_a_server_is_tried_beside_the_requests_after_a_rest() -> None:
    clock = Clock()
    routing = Routing(URLS, clock=clock)
    first, *_ = routing.servers
    fail(first)
    assert routing.trials() == []
    clock.now_s += 10
    assert not routing.takes(first)
    assert routing.trials() == [first]
    assert routing.trials() == []  # one attempt at a time


def test_servers_are_called_by_their_place() -> None:
    assert [server.name for server in Routing(URLS).servers] == ["engine 1", "engine 2", "engine 3"]

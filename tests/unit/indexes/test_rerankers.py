import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from indexes.rerankers import EndpointReranker, load_reranker, ordered, scores_in_time, scores_of
from rag.documents import Chunk, Document, Hit

PAIRS = [("which swims?", f"passage {number}") for number in range(10)]


def hit(number: int, score: float) -> Hit:
    document = Document(id=f"d{number}", source="s", title="T", text="x", uri="u")
    chunk = Chunk(id=f"c{number}", document=document, ordinal=0, text="x", start=0, end=1)
    return Hit(chunk=chunk, score=score, scores={"bm25": 2.0})


class Clock:
    """A clock that stands still but for the batches that are scored, which take a second each."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sizes: list[int] = []

    def __call__(self) -> float:
        return self.now

    def predict(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        self.now += 1
        self.sizes.append(len(pairs))
        return [float(text.split()[1]) for _, text in pairs]


def test_pairs_are_scored_a_few_at_a_time_in_their_order() -> None:
    clock = Clock()
    assert scores_in_time(PAIRS, clock.predict, deadline=10, clock=clock) == [float(n) for n in range(10)]
    assert clock.sizes == [4, 4, 2]


@pytest.mark.parametrize(("deadline", "scored"), [(0.5, 4), (1.9, 4), (2.0, 8), (2.9, 8), (3.0, 10)])
def test_no_batch_is_begun_that_would_end_after_the_deadline(deadline: float, scored: int) -> None:
    clock = Clock()
    assert len(scores_in_time(PAIRS, clock.predict, deadline=deadline, clock=clock)) == scored


def test_no_pairs_have_no_scores() -> None:
    assert scores_in_time([], Clock().predict, deadline=10) == []


def test_hits_are_ordered_by_their_new_scores_and_keep_the_old_ones() -> None:
    ranked = ordered([hit(0, 0.9), hit(1, 0.8), hit(2, 0.7)], [0.1, 0.5, 0.1])
    assert [each.chunk.id for each in ranked] == ["c1", "c0", "c2"]
    assert ranked[0].score == 0.5
    assert ranked[0].scores == {"bm25": 2.0, "fused": 0.8, "rerank": 0.5}


ROWS = [{"index": 1, "score": 0.5}, {"index": 0, "score": 0.25}]


@pytest.mark.parametrize("answer", [
    ROWS,
    {"results": ROWS},
    {"results": [{"index": 1, "relevance_score": 0.5, "document": {}}, {"index": 0, "relevance_score": "0.25"}]},
])  # fmt: skip
def test_scores_come_in_the_order_that_passages_were_sent(answer: Any) -> None:
    assert scores_of(answer, 2) == [0.25, 0.5]


@pytest.mark.parametrize("answer", [
    {}, {"results": []}, {"results": None}, [], 7, None, "results", [1, 2], ROWS[:1], [*ROWS, {"index": 2, "score": 1}],
    [{"index": 0, "score": 1}, {"index": "x", "score": 1}], [{"index": 0, "score": 1}, {"index": 1}],
    [{"index": 0, "score": 1}, {"index": 1, "score": float("nan")}], [{"index": 0, "score": 1}, {"index": float("inf"), "score": 1}],
])  # fmt: skip
def test_an_answer_without_a_number_for_each_passage_is_an_error(answer: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        scores_of(answer, 2)


class Endpoint:
    """A /rerank endpoint that answers with what `answer` makes of a request, or raises; and what it was asked."""

    def __init__(self, answer: Callable[[dict[str, Any]], httpx.Response]) -> None:
        self.asked: list[httpx.Request] = []
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answer(json.loads(request.content))


def rank(endpoint: Endpoint, *, url: str = "http://h/v1", api_key: str = "", timeout_s: float = 5) -> list[Hit]:
    reranker = EndpointReranker("m", url=url, api_key=api_key, transport=httpx.MockTransport(endpoint))
    return reranker.rank("which swims?", HITS, timeout_s=timeout_s)


HITS = [hit(0, 0.9), hit(1, 0.8)]


def second_first(body: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json=[{"index": place, "score": place} for place in range(len(body["texts"]))])


def test_an_endpoint_orders_the_hits_by_what_it_is_sent() -> None:
    endpoint = Endpoint(second_first)
    assert [each.chunk.id for each in rank(endpoint)] == ["c1", "c0"]
    body = json.loads(endpoint.asked[0].content)
    assert body == {"model": "m", "query": "which swims?", "documents": ["x", "x"], "texts": ["x", "x"], "top_n": 2}


@pytest.mark.parametrize("url", ["http://h/v1", "http://h/v1/", "http://h/v1/rerank", "http://h/v1/rerank/"])
def test_an_endpoint_is_given_with_or_without_its_route(url: str) -> None:
    endpoint = Endpoint(second_first)
    rank(endpoint, url=url)
    assert str(endpoint.asked[0].url) == "http://h/v1/rerank"


def test_an_endpoint_gets_a_key_where_there_is_one() -> None:
    endpoint = Endpoint(second_first)
    rank(endpoint, api_key="secret")
    rank(endpoint)
    assert [request.headers.get("authorization") for request in endpoint.asked] == ["Bearer secret", None]


def late(body: dict[str, Any]) -> httpx.Response:
    raise httpx.ReadTimeout("late")


@pytest.mark.parametrize("answer", [
    late, lambda body: httpx.Response(500, json=ROWS), lambda body: httpx.Response(302, headers={"location": "http://x"}),
    lambda body: httpx.Response(200, text="<html>"), lambda body: httpx.Response(200, json={"results": []}),
])  # fmt: skip
def test_the_order_stands_when_an_endpoint_fails(answer: Any) -> None:
    assert rank(Endpoint(answer)) == HITS


def test_a_url_makes_it_an_endpoint() -> None:
    assert isinstance(load_reranker("m", url="http://h"), EndpointReranker)

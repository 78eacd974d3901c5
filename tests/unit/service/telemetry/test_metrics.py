"""What is counted and timed, as /metrics shows it."""

from collections.abc import Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rag.documents import Hit
from rag.errors import RerankerUnavailable
from rag.types import Answer, Usage
from service.telemetry.metrics import Metrics


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)


def shown(metrics: Metrics, **sync_lag_s: float) -> dict[str, float]:
    """Samples that are not 0, by name and labels."""
    text = metrics.exposition(sync_lag_s).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        "".join([sample.name, *(f"|{value}" for value in sample.labels.values())]): sample.value
        for sample in samples
        if sample.value and not sample.name.endswith(("_created", "_bucket"))
    }


def answer(**changes: object) -> Answer:
    return Answer(**{"text": "", "citations": (), "passages": (), "language": "en", **changes})  # type: ignore[arg-type]


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    metrics.request("POST", "/v1/ask", 200, 0.3)
    metrics.request("POST", "/v1/ask", 200, 0.1)
    found = shown(metrics)
    assert found["citewell_requests_total|POST|/v1/ask|200"] == 2
    assert found["citewell_request_seconds_sum|/v1/ask"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "answered"),
        ({"cut": True}, "cut"),
        ({"degraded": True, "cut": True}, "degraded"),
        ({"refused": True, "degraded": True}, "refused"),
    ],
)
def test_an_answer_is_counted_by_how_it_ended(changes: dict[str, bool], outcome: str) -> None:
    metrics = Metrics()
    metrics.count(answer(**changes))
    assert shown(metrics) == {f"citewell_answers_total|{outcome}": 1}


def test_tokens_and_times_of_an_answer_are_added_up() -> None:
    metrics = Metrics()
    usage = Usage(prompt_tokens=900, cached_tokens=600, completion_tokens=11)
    times = {"retrieval": 0.1, "first_token": 0.5, "total": 1.5}
    metrics.count(answer(usage=usage, timings_s=times, dropped=2, uncited=1))
    found = shown(metrics)
    assert found["citewell_prompt_tokens_total"] == found["citewell_prompt_size_tokens_sum"] == 900
    assert found["citewell_cached_tokens_total"] == 600
    assert found["citewell_completion_tokens_total"] == 11
    assert (found["citewell_dropped_citations_total"], found["citewell_uncited_sentences_total"]) == (2, 1)
    assert found["citewell_retrieval_seconds_sum"] == pytest.approx(0.1)
    assert found["citewell_time_to_first_token_seconds_sum"] == pytest.approx(0.5)
    assert found["citewell_time_per_output_token_seconds_sum"] == pytest.approx(0.1)


def test_one_token_has_no_time_between_tokens() -> None:
    metrics = Metrics()
    metrics.count(answer(usage=Usage(completion_tokens=1), timings_s={"first_token": 0.5, "total": 0.5}))
    assert "citewell_time_per_output_token_seconds_count" not in shown(metrics)


class Slow:
    """A reranker that fails."""

    def rank(self, question: str, hits: Sequence[Hit], *, timeout_s: float) -> list[Hit]:
        raise RerankerUnavailable("late")


def test_a_reranker_s_time_is_counted_when_it_fails_too() -> None:
    metrics = Metrics()
    with pytest.raises(RerankerUnavailable):
        metrics.timed(Slow()).rank("why?", [], timeout_s=1)
    assert shown(metrics)["citewell_rerank_seconds_count"] == 1


def test_each_source_has_its_lag() -> None:
    found = shown(Metrics(), docs=7.0, shop=90.0)
    assert found == {"citewell_sync_lag_seconds|docs": 7.0, "citewell_sync_lag_seconds|shop": 90.0}

"""What the service counts and times, in Prometheus' format at /metrics."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from rag.documents import Hit
from rag.ports import Reranker
from rag.types import Answer

_FAST_S = (0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
_TOKEN_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1)
_TOKENS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)


class Metrics:
    """Metrics of one knowledge base; with several workers, /metrics of any of them adds up all.

    The hit ratio of the prefix cache is citewell_cached_tokens_total / citewell_prompt_tokens_total; an engine without
    --enable-prompt-tokens-details reports no cached tokens.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"citewell_{name}", text, labels, registry=self._registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"citewell_{name}", text, labels, buckets=buckets, registry=self._registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"citewell_{name}", text, labels, registry=self._registry, multiprocess_mode="livesum")

        self._requests = counter("requests", "HTTP requests", "method", "route", "status")
        self._request_s = histogram("request_seconds", "HTTP requests, to their last byte", _FAST_S, "route")
        self.in_flight = gauge("requests_in_flight", "HTTP requests in progress")
        self.waiting = gauge("engine_waiting", "Requests that wait in an engine, as it last said", "engine")
        self.refused = counter("limited", "Requests refused by a limit", "limit")
        self._answers = counter("answers", "Answers, by how they ended", "outcome")
        self._prompt = counter("prompt_tokens", "Tokens of prompts, as the engine counted them")
        self._prompt_sizes = histogram("prompt_size_tokens", "Tokens of a prompt", _TOKENS)
        self._cached = counter("cached_tokens", "Tokens of prompts that the engine's prefix cache held")
        self._completion = counter("completion_tokens", "Tokens of written answers")
        self._dropped = counter("dropped_citations", "Labels taken out because they did not support their sentence")
        self._uncited = counter("uncited_sentences", "Sentences for which no passage was found")
        self._retrieval_s = histogram("retrieval_seconds", "From a question's arrival to its passages", _FAST_S)
        self._rerank_s = histogram("rerank_seconds", "Reranking", _FAST_S)
        self._ttft_s = histogram("time_to_first_token_seconds", "From a question's arrival to its answer", _FAST_S)
        self._tpot_s = histogram("time_per_output_token_seconds", "Between tokens, after the first", _TOKEN_S)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, status).inc()
        self._request_s.labels(route).observe(seconds)

    def count(self, answer: Answer) -> None:
        outcome = (
            "refused" if answer.refused else "degraded" if answer.degraded else "cut" if answer.cut else "answered"
        )
        self._answers.labels(outcome).inc()
        self._prompt.inc(answer.usage.prompt_tokens)
        self._cached.inc(answer.usage.cached_tokens)
        self._completion.inc(answer.usage.completion_tokens)
        self._dropped.inc(answer.dropped)
        self._uncited.inc(answer.uncited)
        if answer.usage.prompt_tokens:
            self._prompt_sizes.observe(answer.usage.prompt_tokens)
        self._time(answer.timings_s, answer.usage.completion_tokens)

    def _time(self, timings_s: Mapping[str, float], tokens: int) -> None:
        if "retrieval" in timings_s:
            self._retrieval_s.observe(timings_s["retrieval"])
        if "first_token" in timings_s:
            self._ttft_s.observe(timings_s["first_token"])
            if tokens > 1:
                self._tpot_s.observe((timings_s["total"] - timings_s["first_token"]) / (tokens - 1))

    def timed(self, reranker: Reranker) -> Reranker:
        """A reranker whose time is observed."""
        return _Timed(reranker, self._rerank_s)

    def exposition(self, sync_lag_s: Mapping[str, float]) -> bytes:
        """All metrics in the text format. sync_lag_s: how long ago each source was last brought in step."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        lags = CollectorRegistry()
        lags.register(_SyncLag(sync_lag_s))
        return generate_latest(registry) + generate_latest(lags)


class _Timed:
    def __init__(self, reranker: Reranker, seconds: Histogram) -> None:
        self._reranker, self._seconds = reranker, seconds

    def rank(self, question: str, hits: Sequence[Hit], *, timeout_s: float) -> list[Hit]:
        started = time.perf_counter()
        try:
            return self._reranker.rank(question, hits, timeout_s=timeout_s)
        finally:
            self._seconds.observe(time.perf_counter() - started)


class _SyncLag(Collector):
    def __init__(self, sync_lag_s: Mapping[str, float]) -> None:
        self._sync_lag_s = sync_lag_s

    def collect(self) -> Iterator[GaugeMetricFamily]:
        text = "Seconds since the start of the last complete run of a source"
        family = GaugeMetricFamily("citewell_sync_lag_seconds", text, labels=["source"])
        for source, lag_s in self._sync_lag_s.items():
            family.add_metric([source], lag_s)
        yield family

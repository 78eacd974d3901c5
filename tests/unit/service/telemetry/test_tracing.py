"""Spans of requests to the language model."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rag.types import Sampling, Usage
from service.settings.sections import TelemetrySettings
from service.telemetry import tracing
from service.telemetry.tracing import chat_span, configure_traces, end_chat


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Spans that have ended."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "TRACER", provider.get_tracer("citewell"))
    yield exporter
    provider.shutdown()


def one(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


def test_a_request_has_the_conventions_attributes(spans: InMemorySpanExporter) -> None:
    span = chat_span("qwen", "http://gpu-1:8001/v1", Sampling(max_tokens=9, temperature=0.5))
    end_chat(span, usage=Usage(prompt_tokens=100, cached_tokens=64, completion_tokens=7), reason="stop", error=None)
    attributes = one(spans).attributes or {}
    assert one(spans).name == "chat qwen"
    assert attributes["gen_ai.request.max_tokens"] == 9
    assert attributes["gen_ai.output.type"] == "text"
    assert (attributes["server.address"], attributes["server.port"]) == ("gpu-1", 8001)
    assert attributes["gen_ai.usage.input_tokens"] == 100
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 64
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert one(spans).status.is_unset


@pytest.mark.parametrize(("url", "port"), [("https://llm.example/v1", 443), ("http://llm.example/v1", 80)])
def test_a_port_that_is_not_said_is_the_scheme_s(spans: InMemorySpanExporter, url: str, port: int) -> None:
    end_chat(chat_span("m", url, Sampling(json_schema={})), usage=None, reason="", error=None)
    attributes = one(spans).attributes or {}
    assert (attributes["server.port"], attributes["gen_ai.output.type"]) == (port, "json")
    assert not {"gen_ai.usage.input_tokens", "gen_ai.response.finish_reasons"} & attributes.keys()


def test_a_failure_has_its_kind(spans: InMemorySpanExporter) -> None:
    end_chat(chat_span("m", "http://h/v1", Sampling()), usage=None, reason="", error=TimeoutError())
    assert (one(spans).attributes or {})["error.type"] == "TimeoutError"
    assert not one(spans).status.is_ok


def test_without_a_collector_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    providers: list[object] = []
    monkeypatch.setattr(trace, "set_tracer_provider", providers.append)
    configure_traces(TelemetrySettings())
    assert providers == []

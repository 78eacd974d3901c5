"""OpenTelemetry traces, with the GenAI conventions for the language model; the requests' spans are FastAPI's own.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from rag.boundary.extras import needs_extra
from rag.errors import ConfigError
from rag.types import Sampling, Usage
from service.settings.sections import TelemetrySettings

TRACER = trace.get_tracer("citewell")


def configure_traces(settings: TelemetrySettings) -> None:
    """Send traces to a collector, where one is configured. Raises ConfigError without the extra `otel`."""
    if not settings.otlp_url:
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as err:
        raise ConfigError(needs_extra("telemetry.otlp_url needs", "otel")) from err
    provider = TracerProvider(resource=Resource.create({"service.name": "citewell"}))
    provider.add_span_processor(BatchSpanProcessor(span_exporter(settings.otlp_url)))
    trace.set_tracer_provider(provider)


def span_exporter(url: str) -> Any:
    """What sends spans to a collector, and nowhere else: no redirect is followed. Needs the extra `otel`."""
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    session = requests.Session()
    session.max_redirects = 0
    return OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces", session=session)


def chat_span(model: str, url: str, sampling: Sampling) -> Span:
    """A span for one request to the language model; end it yourself."""
    place = urlsplit(url)
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.output.type": "text" if sampling.json_schema is None else "json",
        "server.address": place.hostname or "",
        "server.port": place.port or (443 if place.scheme == "https" else 80),
    }
    return TRACER.start_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes)


def end_chat(span: Span, *, usage: Usage | None, reason: str, error: BaseException | None) -> None:
    if usage is not None:
        span.set_attribute("gen_ai.usage.input_tokens", usage.prompt_tokens)
        span.set_attribute("gen_ai.usage.output_tokens", usage.completion_tokens)
        span.set_attribute("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens)
    if reason:
        span.set_attribute("gen_ai.response.finish_reasons", [reason])
    if error is not None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR))
    span.end()

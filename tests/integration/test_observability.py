"""What operators see: metrics, the dashboard over them, traces, logs; and that nothing holds the event loop."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from blockbuster import BlockingError, blockbuster_ctx
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.http.app import create_app
from service.knowledge_base import KnowledgeBase
from service.telemetry.logs import configure_logs
from tests.support.command import ROOT
from tests.support.knowledge_bases import MakeKb
from tests.support.llm.stub_engine import StubEngine

QUESTION = "When does the Edmonton store open?"
DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'


@pytest.fixture(scope="module")
def engine() -> Iterator[StubEngine]:
    with StubEngine() as stub:
        yield stub


@pytest.fixture
def serve(tmp_path: Path, make_kb: MakeKb, engine: StubEngine) -> Callable[..., KnowledgeBase]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "stores.md").write_text(
        "# Stores\n\nThe Edmonton store opens at eleven on every day but Sunday.\n"
    )

    def start(more: str = "", model: str = "stub:ttft=0.01,tpot=0.001,tokens=20") -> KnowledgeBase:
        kb = make_kb(f"{DOCS}[llm]\nurls = [{json.dumps(engine.url)}]\nmodel = {json.dumps(model)}\n{more}")
        list(kb.ingest())
        return kb

    return start


@pytest.fixture(scope="module")
def spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def test_metrics_tell_of_every_stage_and_the_dashboard_shows_no_other(serve: Any) -> None:
    client = TestClient(create_app(serve().services))
    for question in (QUESTION, "What is the capital of Mongolia?"):
        client.post("/v1/ask", json={"question": question})
    text = client.get("/metrics").text
    assert 'citewell_requests_total{method="POST",route="/v1/ask",status="200"} 2.0' in text
    assert 'citewell_answers_total{outcome="answered"} 1.0' in text
    assert 'citewell_answers_total{outcome="refused"} 1.0' in text
    for once in (
        "time_to_first_token_seconds_count",
        "time_per_output_token_seconds_count",
        "prompt_size_tokens_count",
    ):
        assert f"citewell_{once} 1.0" in text
    assert "citewell_retrieval_seconds_count 2.0" in text
    assert re.search(r'citewell_sync_lag_seconds{source="docs"} \d', text)
    assert QUESTION not in text
    dashboard = (ROOT / "deploy" / "grafana" / "citewell.json").read_text()
    shown = set(re.findall(r"citewell_\w+", "".join(_queries(json.loads(dashboard)))))
    told = set(re.findall(r"^# TYPE (citewell_\w+)", text, re.M))
    assert {re.sub(r"_bucket$", "", name) for name in shown} <= told


def _queries(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_a_trace_has_the_search_and_the_model_under_the_caller_s_span(serve: Any, spans: InMemorySpanExporter) -> None:
    spans.clear()
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    TestClient(create_app(serve().services)).post(
        "/v1/ask", json={"question": QUESTION}, headers={"traceparent": parent}
    )
    found = {span.name.split(" ")[0]: span for span in spans.get_finished_spans()}
    assert {"POST", "retrieval", "chat"} <= found.keys()
    assert {span.context.trace_id for span in found.values()} == {int("a" * 32, 16)}
    assert found["POST"].parent is not None
    assert (found["POST"].name, found["POST"].parent.span_id) == ("POST /v1/ask", int("b" * 16, 16))
    chat = found["chat"].attributes or {}
    assert (chat["gen_ai.operation.name"], chat["gen_ai.usage.output_tokens"]) == ("chat", 20)
    assert chat["gen_ai.usage.cache_read.input_tokens"] == 64
    assert chat["gen_ai.response.finish_reasons"] == ("stop",)
    assert QUESTION not in str([dict(span.attributes or {}) for span in found.values()])


def test_content_is_in_traces_only_where_it_is_asked_for(serve: Any, spans: InMemorySpanExporter) -> None:
    spans.clear()
    kb = serve("[telemetry]\ncontent = true\n")
    TestClient(create_app(kb.services)).post("/v1/ask", json={"question": QUESTION})
    retrieval = next(span for span in spans.get_finished_spans() if span.name == "retrieval")
    assert (retrieval.attributes or {})["gen_ai.retrieval.query.text"] == QUESTION


def test_the_json_log_has_a_line_for_each_request_and_no_question(
    serve: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: list(logging.getLogger(name).handlers) for name in ("citewell", "uvicorn", "uvicorn.error")}
    try:
        client = TestClient(create_app(serve().services))
        configure_logs("json")
        client.post("/v1/ask", json={"question": QUESTION}, headers={"X-Request-ID": "r-1"})
        client.get("/v1/jobs/12345678", headers={"X-Request-ID": "bad id\n"})
    finally:
        for name, handlers in before.items():
            logging.getLogger(name).handlers = handlers
            logging.getLogger(name).propagate = True
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    asked = next(line for line in lines if line.get("route") == "/v1/ask")
    assert (asked["request_id"], asked["status"], asked["tenant"]) == ("r-1", 200, "default")
    assert asked["ms"] > 0
    job = next(line for line in lines if line.get("route") == "/v1/jobs/{job_id}")
    assert re.fullmatch(r"[0-9a-f]{16}", job["request_id"])
    assert QUESTION not in text


def test_readiness_writes_a_token_and_is_kept_for_a_while(serve: Any, engine: StubEngine) -> None:
    client = TestClient(create_app(serve().services))
    asked = len(engine.asked)
    answers = [client.get("/readyz") for _ in range(5)]
    assert [answer.json() for answer in answers] == [{"status": "ready", "index": "ok", "llm": "ok"}] * 5
    assert len(engine.asked) == asked + 1
    assert engine.asked[-1]["max_tokens"] == 1


def test_a_dead_engine_is_not_ready(serve: Any) -> None:
    answer = TestClient(create_app(serve(model="error").services)).get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "index": "ok", "llm": "failed"})


def test_nothing_holds_the_event_loop_while_questions_are_answered(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call that blocks, and no turn of the loop that computes for 50 ms (of its own time: others may be busy)."""
    app = create_app(serve().services)
    longest_s = 0.0
    run_handle = asyncio.events.Handle._run

    def timed(handle: asyncio.events.Handle) -> None:
        nonlocal longest_s
        begun = time.thread_time()
        run_handle(handle)
        longest_s = max(longest_s, time.thread_time() - begun)

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=60) as client:
            bodies = [{"question": QUESTION, "stream": number % 2 == 0} for number in range(16)]
            return list(await asyncio.gather(*(client.post("/v1/ask", json=body) for body in bodies)))

    async def rounds() -> list[httpx.Response]:
        async with app.router.lifespan_context(app):
            await ask()  # imports and connections are made once
            monkeypatch.setattr(asyncio.events.Handle, "_run", timed)
            with blockbuster_ctx():
                return await ask()

    assert {answer.status_code for answer in asyncio.run(rounds())} == {200}
    assert longest_s < 0.05


def test_the_watch_over_the_loop_finds_what_blocks() -> None:
    async def block() -> None:
        with blockbuster_ctx():
            time.sleep(0.001)

    with pytest.raises(BlockingError):
        asyncio.run(block())

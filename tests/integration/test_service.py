"""The REST service over a real index, with a stub for the language model."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rag.errors import ConfigError
from service.http.app import create_app
from service.http.server import run
from service.knowledge_base import connect
from tests.support.embedded import stop_engine
from tests.support.knowledge_bases import MakeKb
from tests.support.llm.stub_engine import StubEngine
from tests.support.running import free_port

HANDBOOK = "# Stores\n\nThe Edmonton store opens at 11:00. 埃德蒙顿门店周日休息。\n"
DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'
QUESTION = "When does the Edmonton store open?"


@pytest.fixture(scope="module")
def engine() -> Iterator[StubEngine]:
    with StubEngine() as stub:
        yield stub


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service without a language model, shared by the tests that change nothing."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "docs").mkdir()
    (folder / "docs" / "stores.md").write_text(HANDBOOK, encoding="utf-8")
    (folder / "citewell.toml").write_text(DOCS)
    with connect(folder / "citewell.toml") as kb:
        list(kb.ingest())
        yield TestClient(create_app(kb.services), raise_server_exceptions=False)
    stop_engine(folder / ".citewell" / "qdrant")


@pytest.fixture
def serve(tmp_path: Path, make_kb: MakeKb) -> Any:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "stores.md").write_text(HANDBOOK, encoding="utf-8")

    def start(llm: str = "") -> TestClient:
        kb = make_kb(DOCS + llm)
        list(kb.ingest())
        return TestClient(create_app(kb.services), raise_server_exceptions=False)

    return start


def llm(engine: StubEngine, model: str, **more: Any) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"urls": [engine.url], "model": model, **more}.items()]
    return "[llm]\n" + "\n".join(lines) + "\n"


def events(client: TestClient, **body: Any) -> list[tuple[str, dict[str, Any]]]:
    response = client.post("/v1/ask", json={"question": QUESTION, "stream": True, **body})
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n", 1) for block in response.text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_a_question_is_answered_with_citations(client: TestClient) -> None:
    answer = client.post("/v1/ask", json={"question": QUESTION}).json()
    citation = answer["citations"][0]
    assert answer["text"].startswith("The Edmonton store opens at 11:00.")
    assert HANDBOOK[citation["start"] : citation["end"]] == citation["quote"]
    assert citation["document_id"] == "docs/stores.md"
    assert not answer["refused"]


def test_a_streamed_answer_is_the_plain_one_in_events(serve: Any, engine: StubEngine) -> None:
    client = serve(llm(engine, "says:It opens at 11:00 [{label}]. Bring [z9z9] money."))
    stream = events(client)
    names = [name for name, _ in stream]
    assert names[0] == "passages"
    assert names[-3:] == ["citations", "usage", "done"]
    text = "".join(data["text"] for name, data in stream if name == "delta")
    plain = client.post("/v1/ask", json={"question": QUESTION}).json()
    assert text == plain["text"] == stream[-1][1]["text"]
    assert "z9z9" not in text
    assert stream[-1][1]["citations"] == plain["citations"]
    assert plain["usage"] == {"prompt_tokens": 100, "cached_tokens": 64, "completion_tokens": 9}


def test_the_model_is_asked_within_its_budget_and_with_the_sampling(serve: Any, engine: StubEngine) -> None:
    client = serve(llm(engine, "says:Yes [{label}].", max_tokens=64))
    history = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]
    client.post("/v1/ask", json={"question": QUESTION, "temperature": 0.5, "history": history})
    asked = engine.asked[-1]
    assert (asked["max_tokens"], asked["temperature"]) == (64, 0.5)
    assert [message["role"] for message in asked["messages"]] == ["system", "user", "assistant", "user"]
    assert asked["messages"][-1]["content"].endswith(QUESTION)


@pytest.mark.parametrize("model", ["error", "cut", "hang"])
def test_when_the_engine_fails_the_answer_is_quoted_and_marked(serve: Any, engine: StubEngine, model: str) -> None:
    answer = serve(llm(engine, model, timeout_s=1)).post("/v1/ask", json={"question": QUESTION}).json()
    assert answer["degraded"]
    assert answer["degraded_reason"]
    assert answer["text"].startswith("The Edmonton store opens at 11:00.")


def test_a_server_that_is_not_there_is_passed_over_for_the_next(serve: Any, engine: StubEngine) -> None:
    settings = llm(engine, "says:It opens at 11:00 [{label}].").replace(
        '["', f'["http://127.0.0.1:{free_port()}/v1", "'
    )
    answer = serve(settings).post("/v1/ask", json={"question": QUESTION}).json()
    assert not answer["degraded"]
    assert answer["text"].startswith("It opens at 11:00 [")


def test_a_stream_that_is_cut_ends_with_an_error_and_never_as_if_complete(serve: Any, engine: StubEngine) -> None:
    stream = events(serve(llm(engine, "cut")))
    assert stream[-1][0] == "error"
    assert stream[-1][1]["status"] == 503
    assert "done" not in [name for name, _ in stream]


def test_no_evidence_is_a_refusal_in_the_question_s_language(client: TestClient) -> None:
    answer = client.post("/v1/ask", json={"question": "蒙古的首都是哪里？"}).json()
    assert answer["refused"]
    assert answer["language"] == "zh"
    assert answer["citations"] == []
    assert "没有找到" in answer["text"]


def test_retrieve_gives_hits_with_scores(client: TestClient) -> None:
    hits = client.post("/v1/retrieve", json={"question": "Edmonton", "k": 3}).json()["hits"]
    assert hits[0]["document_id"] == "docs/stores.md"
    assert set(hits[0]["scores"]) == {"dense", "bm25"}


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"question": ""}, 422, "The question is empty"),
        ({"question": "   \n"}, 422, "The question is empty"),
        ({}, 422, "question: Field required"),
        ({"question": "x", "unknown": 1}, 422, "unknown: Extra inputs"),
        ({"question": "word " * 5000}, 422, "characters; 8000 are allowed"),
        ({"question": "x" * 1_000_001}, 413, "more than 1000000 bytes"),
        ({"question": "x", "sources": ["nope"]}, 422, "no source 'nope'. Configured sources: docs"),
        ({"question": "x", "profile": "huge"}, 422, "profile"),
    ],
)
def test_bad_input_is_a_problem_document_and_the_next_request_is_fine(
    client: TestClient, body: dict[str, Any], status: int, detail: str
) -> None:
    response = client.post("/v1/ask", json=body)
    problem = response.json()
    assert response.status_code == problem["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert detail in problem["detail"]
    assert client.post("/v1/ask", json={"question": QUESTION}).status_code == 200


def test_malformed_json_and_wrong_methods_are_problems_too(client: TestClient) -> None:
    bad = client.post("/v1/ask", content=b"{not json", headers={"content-type": "application/json"})
    assert (bad.status_code, bad.json()["status"]) == (422, 422)
    assert client.get("/v1/ask").json()["status"] == 405
    assert client.get("/nowhere").json()["status"] == 404


@pytest.mark.parametrize(
    "question",
    [
        "؟ما هي ساعات العمل",
        "営業時間は?",
        "Ώρες",
        "😀😀",
        "<script>alert(1)</script>",
        "\ud800x",
        "a\x00b",
        "'; DROP TABLE x; --",
    ],
)
def test_a_question_in_any_script_gets_an_answer_or_a_refusal(client: TestClient, question: str) -> None:
    response = client.post(
        "/v1/ask", content=json.dumps({"question": question}), headers={"content-type": "application/json"}
    )
    assert response.status_code in (200, 422)


def test_health_pages_and_headers(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "index": "ok"}
    page = client.get("/")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "/app.js" in page.text
    assert client.get("/", headers={"If-None-Match": page.headers["etag"]}).status_code == 304
    assert client.get("/openapi.json").json()["paths"].keys() >= {"/v1/ask", "/v1/retrieve"}
    assert client.get("/docs").status_code == 200
    assert client.get("/v1/sources").json()["sources"][0]["documents"] == 1


def test_everything_that_the_openapi_refers_to_is_in_it(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    text = json.dumps(described)
    named = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert "Problem" in named
    assert named <= described["components"]["schemas"].keys()
    operations = [operation["operationId"] for path in described["paths"].values() for operation in path.values()]
    assert len(operations) == len(set(operations))


def test_not_ready_when_the_index_does_not_answer(tmp_path: Path, make_kb: MakeKb) -> None:
    kb = make_kb(f'[qdrant]\nurl = "http://127.0.0.1:{free_port()}"\n' + DOCS)
    client = TestClient(create_app(kb.services), raise_server_exceptions=False)
    assert client.get("/readyz").status_code == 503
    answer = client.post("/v1/ask", json={"question": QUESTION})
    assert (answer.status_code, answer.json()["status"]) == (503, 503)
    assert "Check qdrant.url" in answer.json()["detail"]


def test_an_address_that_others_reach_needs_a_decision(tmp_path: Path, make_kb: MakeKb) -> None:
    make_kb(DOCS)
    with pytest.raises(ConfigError, match="allow_unauthenticated"):
        run(tmp_path / "citewell.toml", host="0.0.0.0")

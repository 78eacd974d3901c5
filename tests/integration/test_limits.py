"""What keeps one caller out of another's way: rates, requests at once, sizes, and the engine's queue."""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from fastapi.testclient import TestClient

from rag.errors import ConfigError
from service.http.app import create_app
from service.knowledge_base import KnowledgeBase
from service.store.keys import Rights
from tests.support.knowledge_bases import MakeKb
from tests.support.llm.stub_engine import StubEngine
from tests.support.running import wait_until

DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'
QUESTION = "When does the Edmonton store open?"
SLOW = "stub:ttft=0.6,tokens=4"
REDIS = "redis://127.0.0.1:6379"


@pytest.fixture(scope="module")
def engine() -> Iterator[StubEngine]:
    with StubEngine() as stub:
        yield stub


@pytest.fixture
def serve(tmp_path: Path, make_kb: MakeKb) -> Callable[[str], KnowledgeBase]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "stores.md").write_text(
        "# Stores\n\nThe Edmonton store opens at eleven on every day but Sunday.\n"
    )

    def start(toml: str = "") -> KnowledgeBase:
        kb = make_kb(DOCS + toml)
        list(kb.ingest())
        return kb

    return start


def llm(engine: StubEngine, model: str, **more: Any) -> str:
    lines = {"urls": [engine.url], "model": model, **more}
    return "[llm]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())


def together(kb: KnowledgeBase, tokens: list[str]) -> list[httpx.Response]:
    """The answers to a question asked by all keys at once."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_app(kb.services))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            asked = [
                client.post("/v1/ask", json={"question": QUESTION}, headers={"Authorization": f"Bearer {token}"})
                for token in tokens
            ]
            return list(await asyncio.gather(*asked))

    return asyncio.run(ask())


def test_a_key_over_its_rate_is_told_when_to_come_back_and_others_go_on(serve: Any) -> None:
    kb = serve('[limits]\nrate = "100/hour"\n')
    client = TestClient(create_app(kb.services))
    tight, free = (kb.services.keys().create("k", Rights(rate=rate))[1] for rate in ("2/minute", ""))
    statuses = []
    for _ in range(3):
        answer = client.get("/v1/me", headers={"Authorization": f"Bearer {tight}"})
        statuses.append(answer.status_code)
    assert statuses == [200, 200, 429]
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "2 per 1 minute" in answer.json()["detail"]
    assert client.get("/v1/me", headers={"Authorization": f"Bearer {free}"}).status_code == 200


def test_rates_in_redis_are_shared_by_workers(serve: Any) -> None:
    try:
        redis.Redis.from_url(REDIS).ping()
    except redis.ConnectionError:
        pytest.skip("Redis does not run: start it with `redis-server --daemonize yes`")
    kb = serve(f'[limits]\nrate = "1/minute"\nstorage = "{REDIS}"\n')
    kb.services.keys().create(uuid.uuid4().hex, Rights())
    token = kb.services.keys().create("k", Rights())[1]
    answers = [
        TestClient(create_app(kb.services)).get("/v1/me", headers={"Authorization": f"Bearer {token}"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 429]


def test_a_rate_store_that_is_away_stops_nobody(serve: Any) -> None:
    client = TestClient(create_app(serve('[limits]\nrate = "1/minute"\nstorage = "redis://127.0.0.1:1"\n').services))
    assert [client.get("/v1/me").status_code for _ in range(3)] == [200] * 3


def test_requests_at_once_are_limited_by_key(serve: Any, engine: StubEngine) -> None:
    kb = serve(llm(engine, SLOW))
    one, other = (kb.services.keys().create("k", Rights(concurrent=2))[1] for _ in range(2))
    answers = together(kb, [one, one, one, other])
    assert sorted(answer.status_code for answer in answers[:3]) == [200, 200, 429]
    assert answers[3].status_code == 200
    assert next(a for a in answers if a.status_code == 429).headers["retry-after"] == "1"
    assert [a.status_code for a in together(kb, [one, one])] == [200, 200]  # the places are free again


def test_requests_of_all_are_limited_by_worker(serve: Any, engine: StubEngine) -> None:
    kb = serve(llm(engine, SLOW) + "[limits]\nin_flight = 2\n")
    answers = together(kb, ["", "", ""])
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503]


def test_a_question_is_refused_early_when_the_engine_s_queue_is_long(serve: Any, engine: StubEngine) -> None:
    kb = serve(llm(engine, "stub:tokens=4", max_waiting=5))
    client = TestClient(create_app(kb.services))
    engine.waiting = 5
    try:
        with client:
            refused = wait_until(lambda: _refused(client), what="the refusal")
    finally:
        engine.waiting = 0
    assert "5 questions are already waiting" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) >= 1


def _refused(client: TestClient) -> Any:
    answer = client.post("/v1/ask", json={"question": QUESTION})
    return answer if answer.status_code == 503 else None


def test_an_engine_that_says_it_is_full_is_a_503_with_retry_after(serve: Any, engine: StubEngine) -> None:
    answer = TestClient(create_app(serve(llm(engine, "busy")).services)).post("/v1/ask", json={"question": QUESTION})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"question": "ö" * 2000}, "4000 bytes; 3000"),
        ({"question": "x", "history": [{"role": "user", "content": "ö" * 600}]}, "1200 bytes; 1000"),
        ({"question": "x", "filter": {"table": ["x" * 300]}}, "bytes; 200"),
        ({"question": "x", "history": [{"role": "user", "content": "y" * 9000}]}, "more than 8000 bytes"),
    ],
)
def test_sizes_are_limited_in_bytes(serve: Any, body: dict[str, Any], told: str) -> None:
    limits = "[limits]\nquestion_bytes = 3000\nhistory_bytes = 1000\nfilter_bytes = 200\nbody_bytes = 8000\n"
    client = TestClient(create_app(serve(limits).services))
    raw = json.dumps(body, ensure_ascii=False).encode()
    for headers in ({}, {"transfer-encoding": "chunked"}):
        answer = client.post(
            "/v1/ask",
            content=raw if not headers else iter([raw[:50], raw[50:]]),
            headers={"content-type": "application/json"},
        )
        assert (answer.status_code, told in answer.json()["detail"]) == (413, True), answer.text


def test_a_request_ends_with_its_deadline(serve: Any, engine: StubEngine) -> None:
    kb = serve(llm(engine, "hang") + "[server]\ndeadline = 3.0\n")
    client = TestClient(create_app(kb.services))
    client.post("/v1/search", json={"query": QUESTION})  # which loads the embedder, however long that takes here
    assert client.post("/v1/ask", json={"question": QUESTION}).json()["degraded"]
    form = {"type": "json_object"}
    late = client.post("/v1/ask", json={"question": QUESTION, "response_format": form})
    assert (late.status_code, "deadline" in late.json()["detail"]) == (503, True)


def test_a_wrong_rate_is_a_configuration_error(make_kb: MakeKb) -> None:
    with pytest.raises(ConfigError, match="60/minute"):
        make_kb('[limits]\nrate = "sometimes"\n')

"""Whose fault a failure was: the request's, the server's, or nobody's; only a server's has it left alone."""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rag.errors import AnswerFiltered, EngineBusy, GeneratorUnavailable, QuestionError, RequestRefused
from rag.types import Message, Route, Sampling
from service.http.app import create_app
from service.vllm.client import OpenAIGenerator
from tests.support.knowledge_bases import MakeKb
from tests.support.llm.chat_stream import chunk, event
from tests.support.llm.raw_engine import HEAD, RawEngine, always, whole
from tests.support.llm.stub_engine import StubEngine

TEXT = "The Edmonton store opens at eleven."
DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'
HELLO = [Message(role="user", content="Hello")]


def status(code: int, said: str = '{"error": {"message": "no"}}', *, more: str = "") -> list[bytes]:
    head = f"HTTP/1.1 {code} X\r\n{more}content-length: {len(said)}\r\nconnection: close\r\n\r\n"
    return [head.encode(), said.encode()]


@pytest.fixture
def engines() -> Iterator[Callable[..., list[RawEngine]]]:
    """Starts servers, each with its answer."""
    with ExitStack() as stack:
        yield lambda *answers: [stack.enter_context(RawEngine(always(answer))) for answer in answers]


def generator(engines: list[RawEngine], **more: Any) -> OpenAIGenerator:
    return OpenAIGenerator([engine.url for engine in engines], model="m", **more)


async def answer(of: OpenAIGenerator, sampling: Sampling = Sampling()) -> str:
    route = Route(affinity=uuid.uuid4().hex)  # so that each server is the first for about half of the questions
    try:
        return "".join([delta.text async for delta in of.stream(HELLO, sampling, route)])
    except GeneratorUnavailable as err:
        return type(err).__name__


def ask(of: OpenAIGenerator, times: int = 1, **more: Any) -> list[str]:
    async def all_of_them() -> list[str]:
        return [await answer(of, **more) for _ in range(times)]

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("code", [301, 307, 401, 403, 404, 405, 408, 500, 502])
def test_a_server_that_is_wrong_is_passed_over_and_left_alone(engines: Any, code: int) -> None:
    bad, good = engines(status(code), whole(TEXT))
    assert ask(generator([bad, good]), 30) == [TEXT] * 30
    assert 1 <= len(bad.asked) <= 4  # three failures, and a trial beside the questions when they take their time


def test_one_that_is_left_alone_comes_back_without_a_question_that_waits(engines: Any) -> None:
    bad, good = engines(status(401), whole(TEXT))
    both = generator([bad, good])

    async def run() -> None:
        while bad.url not in both.left_alone:
            assert await answer(both) == TEXT
        bad.answer = lambda body: whole(TEXT)
        async with asyncio.timeout(20):
            while bad.url in both.left_alone:
                assert await answer(both) == TEXT
        assert bad.asked[-1]["max_tokens"] == 1  # the trial

    asyncio.run(run())


def test_a_request_that_all_refuse_is_nobody_s_fault(engines: Any) -> None:
    both = engines(status(400), status(422))
    assert ask(generator(both), 6) == ["RequestRefused"] * 6
    assert [len(engine.asked) for engine in both] == [6, 6]


def test_a_request_that_one_refuses_and_another_answers_is_the_fault_of_the_one(engines: Any) -> None:
    bad, good = engines(status(400), whole(TEXT))
    assert ask(generator([bad, good]), 30) == [TEXT] * 30
    assert 1 <= len(bad.asked) <= 4


def test_full_queues_are_nobody_s_fault(engines: Any) -> None:
    both = engines(status(503), status(429))
    assert ask(generator(both), 5) == ["EngineBusy"] * 5
    assert [len(engine.asked) for engine in both] == [5, 5]


def test_answers_that_break_off_or_take_too_long_are_not_counted(engines: Any) -> None:
    (cut,) = engines([HEAD, event(chunk("The store"))])
    assert ask(generator([cut]), 5) == ["GeneratorUnavailable"] * 5
    assert len(cut.asked) == 5
    with StubEngine() as slow:
        client = OpenAIGenerator([slow.url], model="stub:tpot=0.2,tokens=50", timeout_s=1.5)
        assert ask(client, 4) == ["GeneratorUnavailable"] * 4
        assert len(slow.asked) == 4


def test_a_late_first_token_counts_only_where_nothing_else_explains_it() -> None:
    with StubEngine() as stub:
        client = OpenAIGenerator([stub.url], model="hang", first_token_s=0.5)
        assert ask(client, 5) == ["_NoFirstToken"] * 3 + ["GeneratorUnavailable"] * 2
        long = [Message(role="user", content="word " * 20_000)]
        client = OpenAIGenerator([stub.url], model="hang", first_token_s=0.5)

        async def ask_long() -> None:
            for _ in range(5):
                with pytest.raises(GeneratorUnavailable, match="first token"):
                    async for _ in client.stream(long, Sampling()):
                        pass

        asyncio.run(ask_long())


def test_a_server_that_writes_for_others_is_not_left_alone() -> None:
    with StubEngine() as stub:
        stub.behaviour = lambda body: "hang" if body["max_tokens"] == 5 else "stub:tpot=0.05,tokens=90"
        client = OpenAIGenerator([stub.url], model="m", first_token_s=0.8)

        async def run() -> None:
            writing = asyncio.ensure_future(answer(client))
            for _ in range(4):
                assert await answer(client, Sampling(max_tokens=5)) == "_NoFirstToken"
            assert (await writing).startswith("The store")

        asyncio.run(run())


def test_a_redirect_gets_no_prompt(engines: Any) -> None:
    (elsewhere,) = engines(whole("Gotcha."))
    for code in (301, 302, 303, 307, 308):
        (away,) = engines(status(code, more=f"location: {elsewhere.url}/chat/completions\r\n"))
        assert ask(generator([away])) == ["GeneratorUnavailable"]
    assert elsewhere.heads == []


@pytest.mark.parametrize("schema", [{"a": float("nan")}, {"a": "\ud800"}, {"\udfff": 1}, {"a": float("inf")}])
def test_what_json_cannot_carry_is_refused_before_any_attempt(engines: Any, schema: dict[str, Any]) -> None:
    (good,) = engines(whole(TEXT))

    async def run() -> None:
        async for _ in generator([good]).stream(HELLO, Sampling(json_schema=schema)):
            pass

    with pytest.raises(QuestionError, match="JSON cannot represent"):
        asyncio.run(run())
    assert good.asked == []


@pytest.mark.parametrize(
    ("sent", "kind", "told"),
    [
        ([HEAD, event(chunk("The", finish="content_filter"))], AnswerFiltered, "content filter"),
        ([HEAD, event(chunk("The", finish="abort"))], GeneratorUnavailable, "gave up its answer"),
        ([HEAD, event(chunk("The"))], GeneratorUnavailable, "cut off"),
        (status(400, '{"error": {"code": "content_filter", "message": "x"}}'), AnswerFiltered, "content filter"),
        (status(422), RequestRefused, "refused this request"),
        (status(400, "packed", more="content-encoding: gzip\r\n"), RequestRefused, "refused this request"),
        (status(503), EngineBusy, "at capacity"),
        (status(500), GeneratorUnavailable, "unavailable"),
        ([HEAD, event({"error": {"message": "too long", "code": 400}})], RequestRefused, "refused this request"),
    ],
)
def test_callers_are_told_apart_what_happened(
    engines: Any, sent: list[bytes], kind: type[GeneratorUnavailable], told: str
) -> None:
    async def run() -> None:
        async for _ in generator(engines(sent)).stream(HELLO, Sampling()):
            pass

    with pytest.raises(kind) as raised:
        asyncio.run(run())
    assert type(raised.value) is kind
    assert told in raised.value.public


def test_reasoning_counts_as_a_beginning_and_is_no_answer() -> None:
    async def run(engine: RawEngine) -> list[str]:
        client = OpenAIGenerator([engine.url], model="m", first_token_s=5, timeout_s=10)
        return [delta.text async for delta in client.stream(HELLO, Sampling())]

    thinking = event({"choices": [{"delta": {"reasoning_content": "Hm."}}]})
    with RawEngine(lambda body: [HEAD, thinking, *whole(TEXT)[1:]]) as engine:
        texts = asyncio.run(run(engine))
    assert texts[0] == ""
    assert "".join(texts) == TEXT


@pytest.fixture
def serve(tmp_path: Path, make_kb: MakeKb) -> Callable[..., TestClient]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "stores.md").write_text(f"# Stores\n\n{TEXT}\n")

    def start(*engines: RawEngine) -> TestClient:
        urls = json.dumps([engine.url for engine in engines])
        kb = make_kb(f'{DOCS}[llm]\nurls = {urls}\nmodel = "m"\n')
        list(kb.ingest())
        return TestClient(create_app(kb.services), raise_server_exceptions=False)

    return start


def test_a_caller_with_a_bad_schema_hurts_nobody_else(engines: Any, serve: Any) -> None:
    (good,) = engines(whole(TEXT))
    client = serve(good)
    question = {"question": "When does the Edmonton store open?"}
    for bad in ("NaN", '"\\ud800"', "Infinity", "[" * 100 + "]" * 100):
        form = f'{{"type": "json_schema", "json_schema": {{"schema": {{"a": {bad}}}}}}}'
        body = f'{{"question": "When does it open?", "response_format": {form}}}'
        for _ in range(4):
            assert client.post("/v1/ask", content=body).status_code == 422
    assert good.asked == []
    assert not client.post("/v1/ask", json=question).json()["degraded"]


def test_readyz_tells_which_replica_is_wrong_and_one_is_enough(engines: Any, serve: Any) -> None:
    bad, good = engines(status(401), whole(TEXT))
    ready = serve(bad, good).get("/readyz")
    assert (ready.status_code, ready.json()["engines"]) == (200, {"engine 1": "failed", "engine 2": "ok"})


def test_readyz_is_no_500_whatever_the_engine_sends(engines: Any, serve: Any) -> None:
    for sent in ([HEAD, b"data: [1]\n\n"], [HEAD, b"data: {\n\n"], [HEAD], [b""], [HEAD, event({"choices": [None]})]):
        ready = serve(*engines(sent)).get("/readyz")
        assert (ready.status_code, ready.json()["llm"]) == (503, "failed")


def test_json_that_a_schema_s_engine_refuses_is_the_caller_s_to_mend(engines: Any, serve: Any) -> None:
    (refusing,) = engines(status(400))
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    body = {"question": "When does the Edmonton store open?", "response_format": form}
    answer = serve(refusing).post("/v1/ask", json=body)
    assert (answer.status_code, "refused" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 600 + "]" * 600, "[" * 30_000, '{"a": ' * 300]
)
def test_odd_json_of_an_engine_is_a_503_and_never_a_500(engines: Any, serve: Any, text: str) -> None:
    client = serve(*engines(whole(text)))
    body = {"question": "When does the Edmonton store open?", "response_format": {"type": "json_object"}}
    assert client.post("/v1/ask", json=body).status_code == 503
    chat = {"model": "citewell", "messages": [{"role": "user", "content": body["question"]}]}
    answer = client.post("/v1/chat/completions", json=chat | {"response_format": {"type": "json_object"}})
    assert answer.status_code == 503

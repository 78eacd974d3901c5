"""One request to one server, as bytes there and back."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from rag.errors import EngineBusy, GeneratorUnavailable, QuestionError, RequestRefused
from rag.types import Delta, Message, Route, Sampling
from service.vllm.replica import Replica, body_of
from tests.support.llm.answering import Hosts, streamed
from tests.support.llm.chat_stream import USAGE, chunk, event, stream_of

TEXT = "The Edmonton store opens at eleven."
HELLO = [Message(role="user", content="Hello")]


def replica(answer: httpx.Response) -> tuple[Replica, Hosts]:
    hosts = Hosts(engine=lambda body: answer)
    return Replica(httpx.AsyncClient(transport=hosts), "http://engine/v1/", name="engine 1", api_key="k1"), hosts


def deltas(answer: httpx.Response, *, max_tokens: int = 512) -> list[Delta]:
    async def read() -> list[Delta]:
        stream = replica(answer)[0].stream(b"{}", max_tokens=max_tokens, is_json=False)
        return [delta async for delta in stream]

    return asyncio.run(read())


def text_of(answer: httpx.Response, **options: Any) -> str:
    return "".join(delta.text for delta in deltas(answer, **options))


def test_an_answer_begins_has_its_text_and_ends_with_its_usage() -> None:
    found = deltas(streamed(stream_of(TEXT)))
    assert found[0] == Delta()
    assert "".join(delta.text for delta in found) == TEXT
    (usage,) = [delta.usage for delta in found if delta.usage]
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (100, 9, 64)
    assert not found[-1].cut


def test_thinking_is_a_beginning() -> None:
    thinking = event({"choices": [{"delta": {"reasoning": "Hm."}}]})
    assert deltas(streamed([thinking, *stream_of(TEXT)]))[0] == Delta()


def test_an_answer_that_max_tokens_ended_is_cut() -> None:
    assert deltas(streamed([event(chunk("The", finish="length"))]))[-1].cut


def test_text_past_what_the_tokens_can_have_is_not_read() -> None:
    found = deltas(streamed([event(chunk("x" * 60))] * 3), max_tokens=2)
    assert (len("".join(delta.text for delta in found)), found[-1].cut) == (120, True)


def test_a_long_piece_is_given_in_several() -> None:
    found = deltas(streamed([event(chunk("x" * 5_000, finish="stop"))]))
    assert [len(delta.text) for delta in found if delta.text] == [2_000, 2_000, 1_000]


def test_a_server_that_does_not_stream_is_read_too() -> None:
    whole = {"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}], "usage": USAGE}
    assert text_of(streamed([json.dumps(whole).encode()], content_type="application/json; charset=utf-8")) == TEXT


def test_an_answer_without_an_end_is_an_error_that_callers_are_told() -> None:
    with pytest.raises(GeneratorUnavailable, match="engine 1 cut off its answer") as raised:
        deltas(streamed([event(chunk("The store"))]))
    assert "cut off before its end" in raised.value.public


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (429, EngineBusy, "queue of engine 1 is full"),
        (503, EngineBusy, "queue of engine 1 is full"),
        (400, RequestRefused, "engine 1: .*too long"),
        (413, RequestRefused, "too long"),
        (422, RequestRefused, "too long"),
        (307, GeneratorUnavailable, "redirects"),
        (401, GeneratorUnavailable, "status 401 .*too long"),
        (500, GeneratorUnavailable, "status 500 .*too long"),
    ],
)
def test_another_status_says_whose_fault_it_is(status: int, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as raised:
        deltas(streamed([b'{"error": {"message": "too long"}}'], status=status, location="/elsewhere"))
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("body", "said"),
    [(b'{"detail": "no route"}', "no route"), (b"plain words", "plain words"), (b"", "it said nothing"), (b"[3]", "3")],
)
def test_an_error_of_any_form_is_shown(body: bytes, said: str) -> None:
    with pytest.raises(GeneratorUnavailable, match=said):
        deltas(streamed([body], status=500))


def test_of_a_packed_error_the_status_says_enough() -> None:
    with pytest.raises(RequestRefused, match="it said nothing"):
        deltas(streamed([b"\x1f\x8b"], status=400, content_encoding="gzip"))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (streamed([b"x"], content_encoding="gzip"), "compresses its answers"),
        (streamed([b"data: " + b"x" * 300_000]), "sent more than the limit"),
        (streamed([b"x" * 300_000], content_type="application/json"), "sent more than the limit"),
    ],
    ids=["packed", "a long event", "a long body"],
)
def test_what_cannot_be_read_is_no_answer(answer: httpx.Response, said: str) -> None:
    with pytest.raises(GeneratorUnavailable, match=said):
        deltas(answer)


def test_a_server_that_is_down_does_not_answer() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    async def ask() -> None:
        client = httpx.AsyncClient(transport=httpx.MockTransport(refuse))
        async for _ in Replica(client, "http://engine/v1", name="engine 1", api_key="k").stream(
            b"{}", max_tokens=1, is_json=False
        ):
            pass

    with pytest.raises(GeneratorUnavailable, match=r"engine 1 does not answer .Connection refused"):
        asyncio.run(ask())


def test_a_request_has_the_key_and_asks_for_a_stream_that_is_not_packed() -> None:
    async def ask() -> httpx.Request:
        one, hosts = replica(streamed(stream_of(TEXT)))
        async for _ in one.stream(b'{"model": "m"}', max_tokens=9, is_json=False):
            pass
        return hosts.requests[0]

    request = asyncio.run(ask())
    assert (request.method, str(request.url)) == ("POST", "http://engine/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer k1"
    assert request.headers["accept-encoding"] == "identity"
    assert request.content == b'{"model": "m"}'


def window(*rows: object, status: int = 200) -> int | None:
    answer = streamed([json.dumps({"data": rows}).encode()], status=status, content_type="application/json")
    return asyncio.run(replica(answer)[0].window_tokens("m"))


def test_a_window_is_that_of_the_model() -> None:
    assert window({"id": "other", "max_model_len": 1}, {"id": "m", "max_model_len": 8192}) == 8192


@pytest.mark.parametrize("rows", [[], [3], [{"id": "n", "max_model_len": 9}], *([{"id": "m", "max_model_len": n}] for n in (None, True, 0, "9"))])  # fmt: skip
def test_a_window_that_is_not_told_is_none(rows: Sequence[object]) -> None:
    assert window(*rows) is None


def test_a_window_in_an_error_is_none() -> None:
    assert window({"id": "m", "max_model_len": 8192}, status=404) is None


def body(sampling: Sampling = Sampling(), route: Route = Route()) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body_of("m", HELLO, sampling, route))
    return found


def test_a_plain_request_has_nothing_that_a_plain_server_does_not_know() -> None:
    assert body(Sampling(max_tokens=9, temperature=0.5)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 1.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_what_is_asked_beyond_stands_in_the_request() -> None:
    found = body(Sampling(stop=("END",), options={"seed": 7}), Route(affinity="a", cache_salt="tenant"))
    assert (found["stop"], found["seed"], found["cache_salt"]) == (["END"], 7, "tenant")


def test_any_json_and_json_of_a_schema_are_asked_for_differently() -> None:
    assert body(Sampling(json_schema={}))["response_format"] == {"type": "json_object"}
    asked = body(Sampling(json_schema={"type": "object"}))["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize("value", [float("nan"), "\ud800"])
def test_what_json_cannot_carry_is_the_question_s_fault(value: object) -> None:
    with pytest.raises(QuestionError, match="JSON cannot represent"):
        body(Sampling(json_schema={"a": value}))


def test_an_answer_without_text_does_not_begin() -> None:
    assert deltas(streamed([event(chunk("")), event(chunk("", finish="stop"))])) == [Delta()]  # the end alone

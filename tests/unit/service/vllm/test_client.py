"""Answers from equal servers: which is tried next, and whose fault a failure is."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from rag.errors import AnswerFiltered, GeneratorUnavailable, QuestionError
from rag.types import Message, Sampling
from service.vllm.client import OpenAIGenerator, all_answer
from tests.support.llm.answering import Answer, Hosts, streamed
from tests.support.llm.chat_stream import chunk, event, stream_of

TEXT = "The Edmonton store opens at eleven."
HELLO = [Message(role="user", content="Hello")]


def good(body: dict[str, Any]) -> httpx.Response:
    return streamed(stream_of(TEXT))


def status(code: int) -> Answer:
    return lambda body: streamed([b'{"error": {"message": "no"}}'], status=code)


def filtered(body: dict[str, Any]) -> httpx.Response:
    return streamed([event(chunk("", finish="content_filter"))])


def broken_off(body: dict[str, Any]) -> httpx.Response:
    return streamed([event(chunk("The store"))])


def down(body: dict[str, Any]) -> httpx.Response:
    raise httpx.ConnectError("refused")


def silent(body: dict[str, Any]) -> httpx.Response:
    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    return streamed(nothing())


def client(hosts: Hosts, **options: Any) -> OpenAIGenerator:
    return OpenAIGenerator(hosts.urls, model="m", transport=hosts, **options)


def two(first: Answer, second: Answer) -> tuple[Hosts, str, str]:
    """Two servers, the one that is tried first, and the other."""
    hosts = Hosts(a=good, b=good)
    before = "a" if client(hosts).replica("") == "http://a/v1" else "b"
    after = "b" if before == "a" else "a"
    hosts.answers.update({before: first, after: second})
    return hosts, before, after


async def text_of(of: OpenAIGenerator, messages: list[Message] = HELLO, sampling: Sampling = Sampling()) -> str:
    return "".join([delta.text async for delta in of.stream(messages, sampling)])


def ask(of: OpenAIGenerator, times: int = 1, messages: list[Message] = HELLO) -> list[str]:
    """Answers, and the names of errors."""

    async def each() -> list[str]:
        found = await asyncio.gather(*(text_of(of, messages) for _ in range(times)), return_exceptions=True)
        return [one if isinstance(one, str) else type(one).__name__ for one in found]

    return asyncio.run(each())


def ask_in_turn(of: OpenAIGenerator, times: int) -> list[str]:
    async def each() -> list[str]:
        return [await text_of(of) for _ in range(times)]

    return asyncio.run(each())


@pytest.mark.parametrize("wrong", [status(500), status(401), down], ids=["500", "401", "down"])
def test_a_server_that_fails_is_passed_over_and_then_left_alone(wrong: Answer) -> None:
    hosts, before, _ = two(wrong, good)
    asked = client(hosts)
    assert ask_in_turn(asked, 3) == [TEXT] * 3
    assert asked.left_alone == (f"http://{before}/v1",)


def test_two_failures_are_not_yet_enough() -> None:
    hosts, _, _ = two(status(500), good)
    asked = client(hosts)
    ask_in_turn(asked, 2)
    assert asked.left_alone == ()


def test_a_success_between_failures_starts_the_count_again() -> None:
    hosts, before, _ = two(status(500), good)
    asked = client(hosts)
    for answer in (status(500), status(500), good, status(500), status(500)):
        hosts.answers[before] = answer
        ask_in_turn(asked, 1)
    assert asked.left_alone == ()


def test_a_request_that_all_refuse_is_nobody_s_fault() -> None:
    hosts, _, _ = two(status(400), status(422))
    asked = client(hosts)
    assert ask(asked, 4) == ["RequestRefused"] * 4
    assert asked.left_alone == ()


def test_a_request_that_one_refuses_and_another_answers_is_the_fault_of_the_one() -> None:
    hosts, before, _ = two(status(400), good)
    asked = client(hosts)
    assert ask_in_turn(asked, 3) == [TEXT] * 3
    assert asked.left_alone == (f"http://{before}/v1",)


def test_a_refusal_is_what_is_told_when_the_other_server_fails() -> None:
    hosts, _, _ = two(status(400), status(500))
    assert ask(client(hosts)) == ["RequestRefused"]


def test_full_queues_are_nobody_s_fault() -> None:
    hosts, _, _ = two(status(503), status(429))
    asked = client(hosts)
    assert ask(asked, 5) == ["EngineBusy"] * 5
    assert asked.left_alone == ()


def test_a_full_queue_sends_the_request_to_the_next_server() -> None:
    hosts, _, _ = two(status(503), good)
    assert ask(client(hosts)) == [TEXT]


def test_a_filtered_answer_is_not_asked_for_again() -> None:
    hosts, _, after = two(filtered, good)
    with pytest.raises(AnswerFiltered):
        asyncio.run(text_of(client(hosts)))
    assert hosts.asked[after] == []


def test_an_answer_that_breaks_off_is_neither_asked_again_nor_counted() -> None:
    hosts, _, after = two(broken_off, good)
    asked = client(hosts)
    assert ask(asked, 4) == ["GeneratorUnavailable"] * 4
    assert hosts.asked[after] == []
    assert asked.left_alone == ()


def test_a_late_first_token_counts_for_a_short_prompt_only() -> None:
    long = [Message(role="user", content="word " * 10_000)]
    for messages, left_alone in ((HELLO, ("http://a/v1",)), (long, ())):
        asked = client(Hosts(a=silent), first_token_s=0.01)
        assert set(ask(asked, 3, messages)) == {"_NoFirstToken"}
        assert asked.left_alone == left_alone


def test_a_server_that_writes_for_others_meanwhile_is_not_at_fault() -> None:
    came, over = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield event(chunk("Yes"))
        while not over.is_set():
            await came.wait()
            came.clear()
            yield event(chunk(" and yes"))
        yield event(chunk("", finish="stop"))

    def answer(body: dict[str, Any]) -> httpx.Response:
        if body["max_tokens"] == 9:
            return streamed(slowly())
        came.set()
        return silent(body)

    async def run() -> tuple[str, ...]:
        asked = client(Hosts(a=answer), first_token_s=0.05)
        writing = asyncio.ensure_future(text_of(asked, sampling=Sampling(max_tokens=9)))
        for _ in range(4):
            with pytest.raises(GeneratorUnavailable, match="no first token"):
                await text_of(asked)
        over.set()
        came.set()
        assert (await writing).startswith("Yes and yes")
        return asked.left_alone

    assert asyncio.run(run()) == ()


def test_a_whole_answer_that_is_late_is_an_error_of_its_own() -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield event(chunk("The store"))
        await asyncio.Event().wait()

    hosts = Hosts(a=lambda body: streamed(stuck()))
    with pytest.raises(GeneratorUnavailable, match=r"did not finish its answer in 0\.02 s"):
        asyncio.run(text_of(client(hosts, timeout_s=0.02)))


def test_what_json_cannot_carry_is_refused_before_any_attempt() -> None:
    hosts = Hosts(a=good)
    with pytest.raises(QuestionError):
        asyncio.run(text_of(client(hosts), sampling=Sampling(json_schema={"a": float("nan")})))
    assert hosts.asked == {"a": []}


def test_without_a_server_nothing_is_configured() -> None:
    with pytest.raises(GeneratorUnavailable, match="No language model is configured"):
        asyncio.run(text_of(OpenAIGenerator([], model="m")))


def test_the_window_is_the_smallest_of_the_servers_and_asked_for_once() -> None:
    def serving(tokens: int) -> Answer:
        listed = b'{"data": [{"id": "m", "max_model_len": %d}]}' % tokens
        return lambda body: streamed([listed], content_type="application/json")

    hosts = Hosts(a=serving(8192), b=serving(4096))
    asked = client(hosts)

    async def twice() -> list[int | None]:
        return [await asked.window_tokens(), await asked.window_tokens()]

    assert asyncio.run(twice()) == [4096, 4096]
    assert len(hosts.requests) == 2


def test_a_window_that_no_server_tells_is_none() -> None:
    assert asyncio.run(client(Hosts(a=status(404))).window_tokens()) is None


def test_a_check_says_what_is_wrong_with_each_server() -> None:
    hosts = Hosts(a=good, b=status(404))
    found = asyncio.run(client(hosts).check())
    assert found["engine 1"] == ""
    assert "does not serve 'm'" in found["engine 2"]
    assert hosts.asked["a"][0]["max_tokens"] == 1


def test_a_check_does_not_wait_for_ever() -> None:
    assert asyncio.run(client(Hosts(a=silent)).check(0.01)) == {"engine 1": "it gave no token in 0.01 s"}


def test_all_answer_only_when_each_does() -> None:
    assert asyncio.run(all_answer(client(Hosts(a=good, b=good)))) == "a token from engine 1, engine 2"
    with pytest.raises(GeneratorUnavailable, match=r"^engine 2: it does not serve"):
        asyncio.run(all_answer(client(Hosts(a=good, b=down))))


@pytest.mark.parametrize(("answer", "is_left_alone"), [(down, True), (status(500), True), (good, False)])
def test_a_server_that_is_left_alone_is_used_again_once_it_answers(answer: Answer, is_left_alone: bool) -> None:
    hosts = Hosts(a=answer, b=good)
    generator = client(hosts)
    server = next(server for server in generator._routing.servers if server.url == "http://a/v1")
    while not server.breaker.is_open:
        server.breaker.failed()
    asyncio.run(generator._try(server))
    assert server.breaker.is_open is is_left_alone

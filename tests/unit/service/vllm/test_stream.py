"""What an engine sends, read from bytes: events, chunks, and text without reasoning."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import GeneratorUnavailable
from service.vllm.chunk import Chunk, chunks_of
from service.vllm.events import ServerSentEvent, TooLong, server_sent_events
from service.vllm.reasoning import AnswerText


def events(sent: bytes, *, size: int = 1 << 20, most: int = 1000) -> list[ServerSentEvent]:
    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(sent), size):
            yield sent[start : start + size]

    async def read() -> list[ServerSentEvent]:
        return [event async for event in server_sent_events(parts(), most_bytes=most)]

    return asyncio.run(read())


@pytest.mark.parametrize(
    ("sent", "data"),
    [
        (b"data: a\n\ndata:b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [b"a", b"b", b"c"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": comment\nid: 1\nretry: 2\ndata\n\ndata:  a\n\n", [b"", b" a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        ("data: a\u2028b\u0085\x0b\x0c\x1c\n\n".encode(), ["a\u2028b\u0085\x0b\x0c\x1c".encode()]),
        (b"data: a", [b"a"]),
        (b"event: x\n\ndata: a\n\n", [b"a"]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events_are_read_as_the_standard_says(sent: bytes, data: list[bytes], size: int):
    assert [event.data for event in events(sent, size=size)] == data


@given(st.lists(st.binary(max_size=30).filter(lambda b: not set(b) & set(b"\r\n")), max_size=5), st.integers(1, 9))
def test_events_are_the_same_in_any_pieces(data: list[bytes], size: int):
    sent = b"".join(b"data: " + each + b"\r\n\r\n" for each in data)
    assert [event.data for event in events(sent, size=size)] == data


@pytest.mark.parametrize("sent", [b"data: " + b"x" * 2000, b": " + b"x" * 2000, b"data: xxxxxxxxx\n" * 200])
def test_what_is_too_long_is_not_read(sent: bytes):
    with pytest.raises(TooLong):
        events(sent, size=100)


def chunk_of(data: str) -> Chunk:
    (found,) = chunks_of(ServerSentEvent(b"", data.encode()))
    return found


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["choices", "delta", "content", "usage", "error", "finish_reason", "index"]), inner, max_size=4), max_leaves=12))  # fmt: skip
def test_any_json_is_a_chunk_or_an_error_of_ours(value: object):
    import json

    try:
        found = list(chunks_of(ServerSentEvent(b"", json.dumps(value).encode())))
    except GeneratorUnavailable:
        return
    assert all(isinstance(chunk.text, str) and isinstance(chunk.reason, str) for chunk in found)


def test_several_objects_without_an_empty_line_between_are_several_chunks():
    event = ServerSentEvent(
        b"", b'{"choices": [{"delta": {"content": "a"}}]}\n{"choices": [{"delta": {"content": "b"}}]}'
    )
    assert [chunk.text for chunk in chunks_of(event)] == ["a", "b"]


def test_counts_that_are_none_are_zero():
    usage = chunk_of('{"usage": {"prompt_tokens": -1, "completion_tokens": 7.0, "prompt_tokens_details": 3}}').usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (0, 7, 0)


def written(text: str, size: int, *, is_json: bool = False) -> str:
    reader = AnswerText(is_json=is_json)
    pieces = [reader.feed(text[start : start + size]) for start in range(0, len(text), size)]
    return "".join(pieces) + reader.finish()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>It may be nine.</think>\n\nAt ten.", "At ten."),
        ("\n <THINK>nine</Think>At ten.", "At ten."),
        ("<think>It may be nine. And then", ""),
        ("</think>\n\nAt ten.", "At ten."),
        ("[THINK]nine[/THINK]At ten [a1b2].", "At ten [a1b2]."),
        ("<|channel|>analysis<|message|>nine<|start|>assistant<|channel|>final<|message|>At ten.", "At ten."),
        ("At ten.\n<think>or nine</think>\nYes.", "At ten.\n\nYes."),
        ("The mark <think> opens, `</think>` closes.", "The mark <think> opens, `</think>` closes."),
        ("a < b and [x", "a < b and [x"),
        ("a\ud83d\ude00b\ud83d", "a\U0001f600b\ufffd"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_reasoning_is_taken_out_in_any_pieces(text: str, answer: str, size: int):
    assert written(text, size) == answer


def test_reasoning_that_was_given_already_is_an_error():
    with pytest.raises(GeneratorUnavailable, match="reasoning-parser"):
        written("It may be nine.\n</think>\n\nAt ten.", 3)


def test_json_may_hold_any_mark():
    assert written('{"a": "b\\n</think> <think>"}', 3, is_json=True) == '{"a": "b\\n</think> <think>"}'

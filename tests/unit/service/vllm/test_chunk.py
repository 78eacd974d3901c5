"""One chunk of a streamed answer, whatever a server sends."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import AnswerFiltered, GeneratorUnavailable, RequestRefused
from service.vllm.chunk import Chunk, chunks_of, error_of
from service.vllm.events import ServerSentEvent


def chunk_of(data: str) -> Chunk:
    (found,) = chunks_of(ServerSentEvent(b"", data.encode()))
    return found


_LEAVES = st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers()
_FIELDS = st.sampled_from(["choices", "delta", "content", "usage", "error", "finish_reason", "index"])


def _nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=3) | st.dictionaries(_FIELDS, inner, max_size=4)


@given(st.recursive(_LEAVES, _nested, max_leaves=12))
def test_any_json_is_a_chunk_or_an_error_of_ours(value: object) -> None:
    try:
        found = list(chunks_of(ServerSentEvent(b"", json.dumps(value).encode())))
    except GeneratorUnavailable:
        return
    assert all(isinstance(chunk.text, str) and isinstance(chunk.reason, str) for chunk in found)


def test_several_objects_without_an_empty_line_between_are_several_chunks() -> None:
    event = ServerSentEvent(
        b"", b'{"choices": [{"delta": {"content": "a"}}]}\n{"choices": [{"delta": {"content": "b"}}]}'
    )
    assert [chunk.text for chunk in chunks_of(event)] == ["a", "b"]


def test_counts_that_are_none_are_zero() -> None:
    usage = chunk_of('{"usage": {"prompt_tokens": -1, "completion_tokens": 7.0, "prompt_tokens_details": 3}}').usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (0, 7, 0)


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ('[{"delta": {"content": "a"}}]', "a"),
        ('[{"delta": {"content": null}}]', ""),
        ('[{"message": {"content": "a"}}]', "a"),
        ('[{"delta": {"content": [{"type": "text", "text": "a"}, "b"]}}]', "ab"),
        ('[{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]', "a"),
        ('[null, {"delta": {"content": "a"}}]', "a"),
        ("[]", ""),
        ("null", ""),
    ],
)
def test_the_text_of_the_first_choice_is_read(choices: str, text: str) -> None:
    assert chunk_of(f'{{"choices": {choices}}}').text == text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("[1]", "an event that is not an object"),
        ("not json", "not JSON"),
        ('{"choices": 3}', "not a list"),
        ('{"choices": [3]}', "a choice that is not an object"),
        ('{"choices": [{"delta": 3}]}', "a delta that is not an object"),
        ('{"choices": [{"delta": {"content": 3}}]}', "not text"),
        ('{"choices": [{"delta": {"content": [3]}}]}', "not text"),
    ],
)
def test_what_is_no_chunk_is_shown_in_the_error(data: str, said: str) -> None:
    with pytest.raises(GeneratorUnavailable, match=said):
        chunk_of(data)


@pytest.mark.parametrize("data", ["", "[DONE]", "  [DONE] "])
def test_the_mark_of_the_end_is_no_chunk(data: str) -> None:
    assert list(chunks_of(ServerSentEvent(b"", data.encode()))) == []


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_in_its_own_field_is_thinking(key: str) -> None:
    found = chunk_of(f'{{"choices": [{{"delta": {{"{key}": "Hm."}}}}]}}')
    assert (found.thinks, found.text) == (True, "")
    assert not chunk_of('{"choices": [{"delta": {"content": "a"}}]}').thinks


def finished(reason: str) -> Chunk:
    return chunk_of(json.dumps({"choices": [{"delta": {}, "finish_reason": reason}]}))


@pytest.mark.parametrize(
    ("reason", "is_cut"), [("stop", False), ("EOS", False), ("length", True), ("max_tokens", True)]
)
def test_max_tokens_cuts_an_answer_and_a_stop_does_not(reason: str, is_cut: bool) -> None:
    assert finished(reason).is_cut is is_cut


@pytest.mark.parametrize(
    ("reason", "kind", "said"),
    [
        ("content_filter", AnswerFiltered, "content filter"),
        ("abort", GeneratorUnavailable, "gave the answer up"),
        ("moon", GeneratorUnavailable, "unknown reason"),
    ],
)
def test_an_end_that_is_none_of_the_model_s_is_an_error(reason: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        finished(reason)


def test_an_event_named_error_is_one_whatever_it_holds() -> None:
    with pytest.raises(GeneratorUnavailable, match="out of memory"):
        list(chunks_of(ServerSentEvent(b"error", b'{"message": "out of memory"}')))


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        ({"code": "content_filter", "message": "no"}, 400, AnswerFiltered),
        ({"message": "too long"}, 400, RequestRefused),
        ({"message": "too long", "code": 422}, None, RequestRefused),
        ({"message": "too long", "status": 413}, None, RequestRefused),
        ({"message": "no memory", "code": 400}, 500, GeneratorUnavailable),
        ("no memory", None, GeneratorUnavailable),
    ],
)
def test_an_error_says_whether_the_request_was_at_fault(
    error: object, status: int | None, kind: type[Exception]
) -> None:
    found = error_of(error, status)
    assert type(found) is kind
    assert str(found).endswith(error if isinstance(error, str) else error["message"])  # type: ignore[index]


def test_long_texts_and_halves_of_characters_are_shown_safely() -> None:
    shown = str(error_of("x\ny\ud800" + "z" * 500))
    assert "x y" in shown
    assert len(shown) < 200
    shown.encode()


def test_tokens_that_a_cache_held_are_counted() -> None:
    usage = chunk_of('{"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}}').usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.cached_tokens) == (9, 4)


@pytest.mark.parametrize("count", ["true", "1.5", '"7"', str(2**31)])
def test_a_count_that_is_no_number_of_tokens_is_zero(count: str) -> None:
    usage = chunk_of(f'{{"usage": {{"prompt_tokens": {count}}}}}').usage
    assert usage is not None
    assert usage.prompt_tokens == 0

"""OpenAI's chat completions: what is taken, what is refused, and the form of the answer."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic import ValidationError

from rag.answer.answering import Event, Finished, PassagesFound, Restarted, TextDelta
from rag.deadline import Deadline
from rag.errors import GeneratorUnavailable, QuestionError
from rag.fakes import ScriptedGenerator
from rag.ports import Scope
from rag.types import Answer, Citation, Message, Turn, Usage
from service.asking.asker import Ask
from service.http.api import openai_api
from service.http.api.openai_forms import ChatBody
from service.http.openai_errors import ModelNotFound
from service.settings.sections import LlmSettings
from tests.unit.service.conftest import services_of
from tests.unit.service.http.conftest import Client, Serve, events_of

QUESTION = "When does the Edmonton store open?"
USER = {"role": "user", "content": QUESTION}
SAID = "It opens at eleven."


def body(*messages: dict[str, Any], **fields: Any) -> ChatBody:
    return ChatBody.model_validate({"model": "citewell", "messages": list(messages) or [USER], **fields})


def question(*messages: dict[str, Any], profile: str = "chat", **fields: Any) -> Ask:
    return openai_api.question_of(
        body(*messages, **fields), LlmSettings(), scope=Scope(), profile=profile, deadline=Deadline(1)
    )


def test_the_last_message_is_the_question_and_earlier_ones_are_the_history() -> None:
    asked = question({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}, USER)
    assert asked.question == QUESTION
    assert asked.history == [Message(role="user", content="Hi"), Message(role="assistant", content="Hello.")]


def test_messages_of_systems_and_tools_are_not_passed_on_nor_answers_that_say_nothing() -> None:
    others: list[dict[str, Any]] = [
        {"role": role, "content": "Be rude."} for role in ("system", "developer", "tool", "function")
    ]
    silent: list[dict[str, Any]] = [{"role": "assistant", "content": None}, {"role": "assistant", "content": ""}]
    asked = question(*others, *silent, USER, {"role": "system", "content": "In French."})
    assert (asked.question, list(asked.history)) == (QUESTION, [])


@pytest.mark.parametrize("role", ["assistant", "tool", "function"])
def test_a_chat_that_ends_with_another_one_asks_nothing(role: str) -> None:
    with pytest.raises(QuestionError):
        question(USER, {"role": role, "content": "7"})
    with pytest.raises(QuestionError):
        question({"role": "system", "content": "x"})


def test_content_in_parts_is_their_text() -> None:
    parts = [
        {"type": "text", "text": "When"},
        {"type": "refusal", "refusal": "no"},
        {"type": "input_text", "text": "?"},
    ]
    assert question({"role": "user", "content": parts}).question == "When\nno\n?"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "user", "content": None},
        {"role": "user"},
        {"role": "owner", "content": "x"},
    ],
)
def test_a_message_that_cannot_be_read_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        body(message)


def test_a_conversation_that_is_kept_here_needs_no_history() -> None:
    asked = question({"role": "user", "content": "Hi"}, USER, citewell={"conversation": "c"})
    assert (asked.conversation, asked.history) == ("c", [])


@pytest.mark.parametrize(
    ("fields", "profile", "tokens"),
    [
        ({}, "chat", 512), ({"max_tokens": 100}, "chat", 100), ({"max_tokens": 7, "max_completion_tokens": 9}, "chat", 9),
        ({"max_tokens": 100_000}, "chat", 4096), ({"max_tokens": 100_000}, "book", 8192),
        ({"max_tokens": 100_000}, "", 4096),
    ],
)  # fmt: skip
def test_an_answer_has_as_many_tokens_as_fit_half_the_profile(
    fields: dict[str, Any], profile: str, tokens: int
) -> None:
    sampling = question(profile=profile, **fields).sampling
    assert sampling is not None
    assert sampling.max_tokens == tokens


def test_what_asks_for_nothing_is_taken_and_not_sent_on() -> None:
    neutral: dict[str, Any] = {
        "n": 1,
        "logprobs": False,
        "tools": [],
        "tool_choice": "none",
        "logit_bias": {},
        "user": "u",
        "store": True,
    }
    nothing: dict[str, Any] = {
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1,
        "top_k": -1,
        "min_p": 0,
    }
    asked = question(**neutral, **nothing, web_search_options=None, citewell=None)
    assert asked.sampling is not None
    assert asked.sampling.options == {}


def test_what_is_asked_of_the_model_is_sent_on() -> None:
    asked = question(seed=0, frequency_penalty=0.5, top_k=5, stop="END", temperature=0.2)
    assert asked.sampling is not None
    assert asked.sampling.options == {"seed": 0, "frequency_penalty": 0.5, "top_k": 5}
    assert (asked.sampling.stop, asked.sampling.temperature) == (("END",), 0.2)
    assert body(stop=["a", "b"]).stops == ("a", "b")
    assert body().stops == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2}, {"logprobs": True}, {"top_logprobs": 3}, {"tools": [{"type": "function"}]}, {"tool_choice": "required"},
        {"logit_bias": {"1": 1}}, {"web_search_options": {}}, {"nonsense": 1}, {"temperature": 3}, {"stop": [""]},
        {"response_format": {"type": "json_schema"}},
    ],
)  # fmt: skip
def test_what_there_is_not_here_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        body(**fields)


def test_a_field_that_there_is_not_is_told_with_where_those_that_are_stand() -> None:
    with pytest.raises(ValidationError, match=r"'nonsense'.*docs/openai\.md"):
        body(nonsense=1)


def test_json_is_asked_for_by_its_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    schemas = [question(response_format=f).sampling for f in (form, {"type": "json_object"}, {"type": "text"}, None)]
    assert [each.json_schema if each else 7 for each in schemas] == [{"type": "object"}, {}, None, None]


def test_a_models_name_is_a_profile() -> None:
    assert openai_api.profile_named("citewell") == ""
    assert openai_api.profile_named("citewell-book") == "book"
    for name in ("gpt-4", "book", "citewell-", "citewell-huge"):
        with pytest.raises(ModelNotFound):
            openai_api.profile_named(name)


def test_a_key_sees_the_models_of_its_profiles() -> None:
    names = [each["id"] for each in openai_api.models(["chat", "log"])["data"]]
    assert names == ["citewell", "citewell-chat", "citewell-log"]
    assert openai_api.model("citewell", ["log"])["id"] == "citewell"
    with pytest.raises(ModelNotFound):
        openai_api.model("citewell-chat", ["log"])


CITATION = Citation(
    label="k7f2", source="docs", document_id="0.md", title="Stores", primary_key=None, page=None, start=0, end=5,
    quote="It o", uri="citewell:docs/0.md", version="",
)  # fmt: skip
ANSWER = Answer(
    text="It opens [k7f2] at [z9z9] eleven [k7f2].", language="en", citations=(CITATION,),
    usage=Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=2),
)  # fmt: skip


def test_each_label_with_a_citation_is_an_annotation_where_it_stands() -> None:
    message = openai_api.completion(ANSWER, body())["choices"][0]["message"]
    places = [each["url_citation"] for each in message["annotations"]]
    assert [message["content"][p["start_index"] : p["end_index"]] for p in places] == ["[k7f2]", "[k7f2]"]
    assert {(p["title"], p["url"]) for p in places} == {("Stores", "citewell:docs/0.md")}


def test_a_completion_has_the_usage_and_says_why_it_ended() -> None:
    made = openai_api.completion(ANSWER, body())
    assert made["usage"] == {
        "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 2},
    }  # fmt: skip
    assert (made["object"], made["model"]) == ("chat.completion", "citewell")
    assert made["choices"][0]["finish_reason"] == "stop"
    cut = Answer(text="", language="en", cut=True)
    assert openai_api.completion(cut, body())["choices"][0]["finish_reason"] == "length"


async def _given(*events: Event) -> AsyncGenerator[Event, None]:
    for event in events:
        yield event


def streamed(*events: Event, **fields: Any) -> list[Any]:
    async def main() -> bytes:
        made = openai_api.chunks(_given(*events), body(**fields), Deadline(1))
        return b"".join([line async for line in made])

    return [data for _, data in events_of(asyncio.run(main()).decode())]


FINISHED = Finished(answer=ANSWER, turn=Turn(question="", asked="", answer=""))


def test_a_stream_begins_with_the_role_and_ends_with_done() -> None:
    lines = streamed(PassagesFound(passages=()), TextDelta(text="It "), FINISHED)
    assert [line["choices"][0]["delta"] for line in lines[:2]] == [
        {"role": "assistant", "content": ""},
        {"content": "It "},
    ]
    assert lines[2]["choices"][0]["finish_reason"] == "stop"
    assert lines[2]["citewell"]["text"] == ANSWER.text
    assert lines[3:] == ["[DONE]"]
    assert "usage" not in lines[0]


def test_the_usage_comes_in_a_chunk_of_its_own_where_it_is_wanted() -> None:
    lines = streamed(FINISHED, stream_options={"include_usage": True})
    assert [line["usage"] for line in lines[:2]] == [None, None]
    assert (lines[2]["choices"], lines[2]["usage"]["total_tokens"]) == ([], 10)


def test_a_stream_that_is_cut_off_ends_in_an_error_and_not_as_if_it_were_whole() -> None:
    lines = streamed(TextDelta(text="It "), Restarted(reason="away", public="away"), FINISHED)
    assert lines[-1]["error"]["type"] == "server_error"
    assert "[DONE]" not in lines


def chat(client: Client, *, key: str = "", **fields: Any) -> Any:
    return client("POST", "/v1/chat/completions", key=key, json={"model": "citewell", "messages": [USER], **fields})


def test_a_chat_is_answered_whole_or_streamed(serve: Serve) -> None:
    client = serve(services_of(generator=ScriptedGenerator(SAID)))
    assert chat(client).json()["choices"][0]["message"]["content"].startswith(SAID)
    lines = [data for _, data in events_of(chat(client, stream=True).text)]
    assert "".join(line["choices"][0]["delta"].get("content", "") for line in lines[:-2]).startswith(SAID)
    assert lines[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("fields", "status"), [({"model": "gpt-4"}, 404), ({"tools": [1]}, 400), ({"model": "citewell-book"}, 400)]
)
def test_what_cannot_be_answered_is_told_before_a_stream_begins(
    serve: Serve, fields: dict[str, Any], status: int
) -> None:
    client = serve(services_of(generator=ScriptedGenerator(SAID, window_tokens=9000)))
    for stream in (False, True):
        response = chat(client, stream=stream, **fields)
        assert response.status_code == status
        assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("wrong", [GeneratorUnavailable("10.0.0.7"), ZeroDivisionError("/secret")])
def test_what_breaks_in_a_stream_is_its_last_line(serve: Serve, wrong: Exception) -> None:
    form = {"type": "json_object"}
    client = serve(services_of(generator=ScriptedGenerator(wrong)))
    lines = [data for _, data in events_of(chat(client, key=client.key(), stream=True, response_format=form).text)]
    assert lines[-1]["error"]["type"] == "server_error"
    assert "10.0.0.7" not in str(lines)
    assert "secret" not in str(lines)


def test_the_models_of_a_key_are_listed(client: Client) -> None:
    key = client.key(profiles=("log",))
    assert [each["id"] for each in client("GET", "/v1/models", key=key).json()["data"]] == ["citewell", "citewell-log"]
    assert client("GET", "/v1/models/citewell-log", key=key).status_code == 200
    assert client("GET", "/v1/models/citewell-chat", key=key).json()["error"]["code"] == "model_not_found"

"""The OpenAI routes, asked with OpenAI's own client."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient

from service.http.app import create_app
from tests.support.knowledge_bases import MakeKb
from tests.support.llm.stub_engine import StubEngine

STORES = "# Stores\n\nThe Edmonton store opens at 11:00. Parking in Edmonton is free.\n"
QUESTION = [{"role": "user", "content": "When does the Edmonton store open?"}]
SAYS = "says:The Edmonton store opens at 11:00 [{label}]. Bring [z9z9] money."


@pytest.fixture
def engine() -> Iterator[StubEngine]:
    with StubEngine() as stub:
        yield stub


@pytest.fixture
def client(tmp_path: Path, make_kb: MakeKb, engine: StubEngine) -> Any:
    """Opens OpenAI's client over a knowledge base whose language model behaves as its name says."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "stores.md").write_text(STORES, encoding="utf-8")

    def start(model: str = SAYS) -> openai.OpenAI:
        llm = f"[llm]\nurls = [{json.dumps(engine.url)}]\nmodel = {json.dumps(model)}\n"
        kb = make_kb(f'[sources.docs]\nkind = "files"\npaths = ["docs"]\n{llm}')
        list(kb.ingest())
        transport: Any = TestClient(create_app(kb.services), base_url="http://test", raise_server_exceptions=False)
        return openai.OpenAI(base_url="http://test/v1", api_key="none", http_client=transport, max_retries=0)

    return start


def test_a_completion_has_its_citations_as_annotations(client: Any) -> None:
    done = client().chat.completions.create(model="citewell", messages=QUESTION)
    message = done.choices[0].message
    assert message.content.startswith("The Edmonton store opens at 11:00 [")
    assert "z9z9" not in message.content
    (note,) = message.annotations
    marked = message.content[note.url_citation.start_index : note.url_citation.end_index]
    assert marked == f"[{done.citewell['citations'][0]['label']}]"
    assert note.url_citation.url.endswith("stores.md")
    assert (done.choices[0].finish_reason, done.usage.prompt_tokens) == ("stop", 100)
    assert done.usage.prompt_tokens_details.cached_tokens == 64


def test_a_stream_is_the_plain_answer_in_chunks(client: Any) -> None:
    asked = client()
    plain = asked.chat.completions.create(model="citewell", messages=QUESTION)
    options = {"include_usage": True}
    stream = list(
        asked.chat.completions.create(model="citewell", messages=QUESTION, stream=True, stream_options=options)
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == plain.choices[0].message.content
    last = next(chunk for chunk in stream if chunk.choices and chunk.choices[0].finish_reason)
    assert last.choices[0].finish_reason == "stop"
    assert last.choices[0].delta.annotations[0]["type"] == "url_citation"
    assert stream[-1].usage.total_tokens == 109
    without = list(asked.chat.completions.create(model="citewell", messages=QUESTION, stream=True))
    assert all(chunk.usage is None for chunk in without)


def test_earlier_messages_are_the_history_and_system_messages_stay_behind(client: Any, engine: StubEngine) -> None:
    messages = [
        {"role": "system", "content": "You are a pirate."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "assistant", "content": "Hi."},
        *QUESTION,
    ]
    client().chat.completions.create(
        model="citewell-chat", messages=messages, max_completion_tokens=33, temperature=0.4
    )
    sent = engine.asked[-1]
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert "pirate" not in json.dumps(sent)
    assert (sent["max_tokens"], sent["temperature"]) == (33, 0.4)


def test_json_is_asked_for_as_with_openai(client: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "hours", "schema": {"type": "object"}, "strict": True}}
    done = client('says:{"opens": "11:00"}').chat.completions.create(
        model="citewell", messages=QUESTION, response_format=form
    )
    assert json.loads(done.choices[0].message.content) == {"opens": "11:00"}
    assert done.citewell["citations"][0]["pointer"] == "/opens"


def test_our_own_options_go_in_the_body(client: Any) -> None:
    asked = client()
    for text in ("When does the Edmonton store open?", "Is parking free in Edmonton?"):
        messages = [{"role": "user", "content": text}]
        done = asked.chat.completions.create(
            model="citewell", messages=messages, extra_body={"citewell": {"conversation": "c1", "sources": ["docs"]}}
        )
    assert len(done.citewell["passages"]) == 1


def test_a_stream_that_the_engine_cuts_ends_with_an_error(client: Any) -> None:
    stream = client("cut").chat.completions.create(model="citewell", messages=QUESTION, stream=True)
    with pytest.raises(openai.APIError, match="cut off"):
        list(stream)


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        ({"model": "gpt-4o"}, openai.NotFoundError, "citewell-book"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, openai.BadRequestError, "last message"),
        ({"messages": [{"role": "user", "content": " "}]}, openai.BadRequestError, "empty"),
        ({"n": 2}, openai.BadRequestError, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "tools"),
        ({"extra_body": {"citewell": {"sources": ["no"]}}}, openai.BadRequestError, "no source"),
    ],
)
def test_what_cannot_be_answered_is_an_error_in_openai_s_shape(
    client: Any, body: dict[str, Any], kind: type[openai.APIStatusError], told: str
) -> None:
    asked = client()
    for stream in (False, True):
        with pytest.raises(kind, match=told) as raised:
            asked.chat.completions.create(**{"model": "citewell", "messages": QUESTION, "stream": stream, **body})
        body_of: Any = raised.value.body
        assert body_of["type"] == "invalid_request_error"


def test_the_models_are_the_profiles(client: Any) -> None:
    names = [model.id for model in client().models.list()]
    assert names == ["citewell", "citewell-chat", "citewell-document", "citewell-log", "citewell-book"]


def test_llamaindex_s_client_asks_it_plain_and_streamed(client: Any) -> None:
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike

    transport = client()._client
    llm = OpenAILike(
        model="citewell", api_base="http://test/v1", api_key="none", is_chat_model=True, http_client=transport
    )
    asked = [ChatMessage(role="user", content=QUESTION[0]["content"])]
    plain = llm.chat(asked).message.content or ""
    assert plain.startswith("The Edmonton store opens at 11:00 [")
    assert "".join(part.delta or "" for part in llm.stream_chat(asked)) == plain

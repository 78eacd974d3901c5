"""OpenAI's clients as they are, over HTTP: in Python and JavaScript, of LangChain and of LlamaIndex."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.support.command import ROOT, Server, citewell, citewell_json
from tests.support.embedded import stop_engine
from tests.support.llm.stub_engine import StubEngine

QUESTION = "When does the Edmonton store open?"
ASKED: list[Any] = [{"role": "user", "content": QUESTION}]
SAYS = "says:The Edmonton store opens at 11:00 [{label}]."
ANSWER = "The Edmonton store opens at 11:00 ["
CLIENTS = ROOT / "tests" / "clients"


class Site:
    def __init__(self, server: Server, key: str, engine: StubEngine) -> None:
        self.url, self.key, self.engine = server.url, key, engine
        self.client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)

    def ask(self, **more: Any) -> Any:
        return self.client.chat.completions.create(**{"model": "citewell", "messages": ASKED, **more})

    def sent(self) -> dict[str, Any]:
        return self.engine.asked[-1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "docs").mkdir()
    (folder / "docs" / "stores.md").write_text("# Stores\n\nThe Edmonton store opens at 11:00. Parking is free.\n")
    config = folder / "citewell.toml"
    with StubEngine() as engine:
        llm = f"[llm]\nurls = [{json.dumps(engine.url)}]\nmodel = {json.dumps(SAYS)}\n"
        config.write_text(f'[sources.docs]\nkind = "files"\npaths = ["docs"]\n{llm}')
        citewell("ingest", "docs", config=config)
        key = citewell_json("keys", "create", "client", config=config)["token"]
        with Server(config) as server:
            yield Site(server, key, engine)
    stop_engine(folder / ".citewell" / "qdrant")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ["END", "\n\n"]}, {"stop": ["END", "\n\n"]}),
        ({"seed": 7}, {"seed": 7}),
        ({"frequency_penalty": 0.5, "presence_penalty": -1}, {"frequency_penalty": 0.5, "presence_penalty": -1}),
        ({"extra_body": {"top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1}}, {"top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1}),
        ({"max_tokens": 100_000}, {"max_tokens": 4096}),
        ({"max_completion_tokens": 20_000, "model": "citewell-document"}, {"max_tokens": 8192}),
    ],
)  # fmt: skip
def test_what_the_model_can_do_is_asked_of_it(site: Site, given: dict[str, Any], sent: dict[str, Any]) -> None:
    assert site.ask(**given).choices[0].message.content.startswith(ANSWER)
    assert {name: site.sent()[name] for name in sent} == sent


@pytest.mark.parametrize(
    "given",
    [
        {"stop": None, "seed": None, "frequency_penalty": 0, "presence_penalty": 0.0, "n": 1, "top_p": 1},
        {"logprobs": False, "top_logprobs": None, "logit_bias": {}, "tools": [], "tool_choice": "none"},
        {"functions": [], "function_call": "none", "parallel_tool_calls": True, "response_format": {"type": "text"}},
        {"extra_body": {"logprobs": None, "tools": None, "tool_choice": "auto", "top_k": -1, "min_p": 0, "repetition_penalty": 1}},
    ],
)  # fmt: skip
def test_what_asks_for_nothing_is_taken_and_not_sent_on(site: Site, given: dict[str, Any]) -> None:
    assert site.ask(**given).choices[0].message.content.startswith(ANSWER)
    assert site.sent().keys() == {"model", "messages", "max_tokens", "temperature", "top_p", "stream", "stream_options"}


@pytest.mark.parametrize(
    "given",
    [
        {"store": True, "service_tier": "auto", "user": "u", "safety_identifier": "s", "prompt_cache_key": "k"},
        {"reasoning_effort": "low", "verbosity": "high", "modalities": ["text"], "metadata": {"a": "1"}},
        {"extra_body": {"chat_id": "c", "session_id": "s", "id": "m", "metadata": {"a": {"b": [1, None]}}}},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}, "cache_control": {"type": "ephemeral"}}},
        {"stream": False, "extra_body": {"stream_options": {"include_obfuscation": False}, "citewell": None}},
    ],
)
def test_what_concerns_openai_s_own_service_is_taken(site: Site, given: dict[str, Any]) -> None:
    assert site.ask(**given).choices[0].message.content.startswith(ANSWER)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"n": 2}, "n = 1"),
        ({"logprobs": True}, "does not provide logprobs"),
        ({"top_logprobs": 5}, "does not provide logprobs"),
        ({"logit_bias": {"7": 1}}, "logit_bias"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "does not call tools"),
        ({"tool_choice": "required"}, "does not call tools"),
        ({"extra_body": {"functions": [{"name": "f"}]}}, "does not call tools"),
        ({"extra_body": {"web_search_options": {}}}, "not the web"),
        ({"extra_body": {"temprature": 1}}, "field 'temprature' is not supported"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]}, "'image_url' cannot be read"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, "'input_audio' cannot be read"),
        ({"messages": [{"role": "user", "content": None}]}, "needs content"),
        ({"messages": [*ASKED, {"role": "tool", "tool_call_id": "1", "content": "7"}]}, "last message"),
        ({"stop": [""]}, "stop"),
        ({"seed": 2**70}, "seed"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_refused_with_a_sentence(site: Site, given: dict[str, Any], told: str) -> None:
    with pytest.raises(openai.BadRequestError, match=told) as raised:
        site.ask(**given)
    assert "Value error" not in str(raised.value)
    assert raised.value.body["type"] == "invalid_request_error"  # type: ignore[index]


def test_messages_come_back_as_they_were_given_and_as_other_clients_keep_them(site: Site) -> None:
    first = site.ask().choices[0].message
    history: list[Any] = [
        {"role": "system", "content": "You are a pirate."},
        *ASKED,
        first.model_dump(),
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "TOOL-WORDS"},
        {
            "role": "assistant", "content": [{"type": "text", "text": "At eleven.", "cache_control": None}],
            "id": "m1", "timestamp": 1, "reasoning_content": "Hm.",
        },
        {"role": "user", "content": [{"type": "text", "text": QUESTION}], "name": "ann"},
    ]  # fmt: skip
    assert site.ask(messages=history).choices[0].message.content.startswith(ANSWER)
    sent = site.sent()["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert "At eleven." in sent[2]["content"]
    assert not {"TOOL-WORDS", "pirate", "Hm."} & set(json.dumps(sent).replace('"', " ").split())


def test_a_model_can_be_looked_up_and_what_is_not_there_has_openai_s_shape(site: Site) -> None:
    assert site.client.models.retrieve("citewell-book").id == "citewell-book"
    with pytest.raises(openai.NotFoundError, match="citewell-chat") as raised:
        site.client.models.retrieve("org/gpt-4o")
    assert raised.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match="chat/completions"):
        site.client.embeddings.create(model="m", input="x")
    with pytest.raises(openai.NotFoundError, match="chat/completions"):
        site.client.responses.create(model="citewell", input="x")


class Hours(BaseModel):
    opens: str


def test_langchain_asks_it_in_each_of_its_ways(site: Site) -> None:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
    from langchain_openai import ChatOpenAI

    def chat(**more: Any) -> Any:
        return ChatOpenAI(model="citewell", base_url=f"{site.url}/v1", api_key=site.key, max_retries=0, **more)

    assert chat().invoke(QUESTION).content.startswith(ANSWER)
    assert "".join(str(part.content) for part in chat(stream_usage=True).stream(QUESTION)).startswith(ANSWER)
    history = [SystemMessage("x"), HumanMessage("Hello"), AIMessage("Hi."), HumanMessage(QUESTION)]
    tuned = chat(seed=3, frequency_penalty=0.2, presence_penalty=0.1, top_p=0.9, n=1, stop_sequences=["END"])
    assert tuned.invoke(history).content.startswith(ANSWER)
    assert (site.sent()["seed"], site.sent()["stop"]) == (3, ["END"])
    site.engine.behaviour = lambda body: 'says:{"opens": "11:00"}'
    try:
        for method in ("json_schema", "json_mode"):
            found = chat().with_structured_output(Hours, method=method).invoke(QUESTION)
            assert found == Hours(opens="11:00")
    finally:
        site.engine.behaviour = None
    with pytest.raises(openai.BadRequestError, match="does not call tools"):
        chat().with_structured_output(Hours, method="function_calling").invoke(QUESTION)


def test_llamaindex_asks_it_in_each_of_its_ways(site: Site) -> None:
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike

    llm = OpenAILike(model="citewell", api_base=f"{site.url}/v1", api_key=site.key, is_chat_model=True, max_tokens=9000)
    asked = [ChatMessage(role="system", content="x"), ChatMessage(role="user", content=QUESTION)]
    plain = llm.chat(asked).message.content or ""
    assert plain.startswith(ANSWER)
    assert "".join(part.delta or "" for part in llm.stream_chat(asked)) == plain
    assert llm.complete(QUESTION).text == plain


def test_openai_s_javascript_client_asks_it(site: Site) -> None:
    if shutil.which("node") is None or not (CLIENTS / "node_modules").exists():
        pytest.skip("OpenAI's JavaScript client is not installed: npm install --prefix tests/clients")
    command = ["node", str(CLIENTS / "ask.mjs"), site.url, site.key, QUESTION]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["plain"].startswith(ANSWER)
    assert told["plain"] == told["streamed"] == told["again"] == told["parsed"]
    assert (told["annotations"], told["usage"]["total_tokens"], told["model"]) == (1, 109, "citewell")
    assert told["missing"] == {"status": 404, "code": "model_not_found"}
    assert told["elsewhere"]["status"] == 404
    assert (told["tools"]["status"], told["picture"]["status"]) == (400, 400)
    assert "does not call tools" in told["tools"]["message"]

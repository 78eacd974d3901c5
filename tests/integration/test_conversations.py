"""Conversations, JSON answers and templates over a real index, with stubs for the language model."""

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rag.errors import ConfigError, QuestionError
from rag.ports import Identity
from rag.types import Message
from service.http.app import create_app
from service.knowledge_base import KnowledgeBase
from tests.support.knowledge_bases import MakeKb
from tests.support.llm.stub_engine import StubEngine

STORES = "# Stores\n\nThe Edmonton store opens at 11:00. Parking in Edmonton is free.\n"
CARE = "# Care\n\nStore vinyl records upright and away from heat.\n"
QUESTION = "When does the Edmonton store open?"
SAYS = "says:The Edmonton store opens at 11:00 [{label}]."
DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'


@pytest.fixture
def engines() -> Iterator[list[StubEngine]]:
    with StubEngine() as one, StubEngine() as two:
        yield [one, two]


@pytest.fixture
def ask(tmp_path: Path, make_kb: MakeKb, engines: list[StubEngine]) -> Any:
    """Opens a knowledge base of two files with settings of the language model."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "stores.md").write_text(STORES, encoding="utf-8")
    (tmp_path / "docs" / "care.md").write_text(CARE, encoding="utf-8")

    def start(model: str = SAYS, *, urls: int = 1, **more: Any) -> KnowledgeBase:
        given = {"urls": [engine.url for engine in engines[:urls]], "model": model, **more}
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in given.items())
        kb = make_kb(f"{DOCS}[llm]\n{lines}\n")
        list(kb.ingest())
        return kb

    return start


def chats(engine: StubEngine) -> list[list[dict[str, str]]]:
    """The chats that were answered, without those that rewrote a question."""
    return [body["messages"] for body in engine.asked if body["messages"][0]["role"] == "system"]


def test_a_kept_conversation_begins_with_what_was_sent_before(ask: Any, engines: list[StubEngine]) -> None:
    kb = ask()
    kb.ask(QUESTION, conversation="c1")
    second = kb.ask("Is parking in Edmonton free there?", conversation="c1")
    first_chat, second_chat = chats(engines[0])
    assert second_chat[: len(first_chat)] == first_chat
    assert second_chat[2] == {
        "role": "assistant",
        "content": "The Edmonton store opens at 11:00 [" + label(first_chat) + "].",
    }
    assert (
        "Parking in Edmonton" not in second_chat[-1]["content"].partition("Most relevant")[0].partition("Question")[0]
    )
    assert second.citations[0].quote.startswith("The Edmonton store opens at 11:00.")


def label(chat: list[dict[str, str]]) -> str:
    return chat[1]["content"].partition("]")[0].removeprefix("[")


def test_a_conversation_can_be_forgotten(ask: Any) -> None:
    kb = ask()
    client = TestClient(create_app(kb.services))
    client.post("/v1/ask", json={"question": QUESTION, "conversation": "c1"})
    assert len(kb.services.conversations().turns("c1", kb.scope().identity)) == 1
    assert client.delete("/v1/conversations/c1").status_code == 204
    assert kb.services.conversations().turns("c1", kb.scope().identity) == []


def test_the_last_turns_of_a_conversation_can_be_forgotten(ask: Any) -> None:
    kb = ask()
    client = TestClient(create_app(kb.services))
    questions = [QUESTION, "Is parking in Edmonton free?", "How should vinyl records be stored?"]
    for question in questions:
        client.post("/v1/ask", json={"question": question, "conversation": "c1"})
    assert client.delete("/v1/conversations/c1?last=2").status_code == 204
    assert [turn.question for turn in kb.services.conversations().turns("c1", kb.scope().identity)] == questions[:1]
    assert client.delete("/v1/conversations/c1?last=0").status_code == 422


def test_no_more_passages_than_wanted_go_into_the_prompt(ask: Any, engines: list[StubEngine]) -> None:
    client = TestClient(create_app(ask().services))
    body = {"question": "Is parking free in Edmonton, and are vinyl records stored upright and away from heat?"}
    for wanted in ({}, {"max_passages": 1}):
        client.post("/v1/ask", json=body | wanted)
    found = [re.findall(r"^\[\w+\] ", chat[-1]["content"], re.M) for chat in chats(engines[0])]
    assert [len(labels) for labels in found] == [2, 1]


def test_a_conversation_outlives_the_process(ask: Any, engines: list[StubEngine]) -> None:
    ask().ask(QUESTION, conversation="c1")
    ask().ask("And on Sunday?", conversation="c1")
    assert len(chats(engines[0])[-1]) == 4


def test_a_turn_that_stands_on_a_deleted_document_is_forgotten(
    ask: Any, engines: list[StubEngine], tmp_path: Path
) -> None:
    kb = ask()
    kb.ask(QUESTION, conversation="c1")
    (tmp_path / "docs" / "stores.md").unlink()
    list(kb.ingest(allow_mass_delete=True))
    answer = kb.ask("How should vinyl records be stored?", conversation="c1")
    assert all("Edmonton" not in message["content"] for message in chats(engines[0])[-1])
    assert all(passage.document.id == "docs/care.md" for passage in answer.passages)


def test_a_turn_that_stands_on_a_changed_document_is_forgotten(
    ask: Any, engines: list[StubEngine], tmp_path: Path
) -> None:
    kb = ask()
    kb.ask(QUESTION, conversation="c1")
    (tmp_path / "docs" / "stores.md").write_text(STORES.replace("11:00", "12:30"), encoding="utf-8")
    list(kb.ingest())
    kb.ask(QUESTION, conversation="c1")
    assert all("11:00" not in message["content"] for message in chats(engines[0])[-1])


def test_a_turn_that_quoted_a_deleted_document_is_forgotten_too(
    ask: Any, engines: list[StubEngine], tmp_path: Path
) -> None:
    kb = ask()
    assert ask("error").ask(QUESTION, conversation="c1").degraded
    (tmp_path / "docs" / "stores.md").unlink()
    list(kb.ingest(allow_mass_delete=True))
    kb.ask("How should vinyl records be stored?", conversation="c1")
    assert all("Edmonton" not in message["content"] for message in chats(engines[0])[-1])


def test_another_tenant_or_group_has_another_conversation_under_the_same_id(
    ask: Any, engines: list[StubEngine]
) -> None:
    kb = ask()
    kb.ask(QUESTION, conversation="c1")
    for identity in (Identity(tenant="other"), Identity(groups=("staff",))):
        kb.ask(QUESTION, conversation="c1", scope=kb.scope(identity=identity))
        assert kb.services.conversations().turns("c1", identity)[0].question == QUESTION
        assert len(kb.services.conversations().turns("c1", identity)) == 1


def test_only_a_tenant_of_its_own_gets_a_salt(ask: Any, engines: list[StubEngine], tmp_path: Path) -> None:
    kb = ask()
    kb.ask(QUESTION)
    assert "cache_salt" not in engines[0].asked[-1]
    (tmp_path / "citewell.toml").write_text("")
    settings = kb.settings.sources["docs"].model_copy(update={"tenant": "acme"})
    other = KnowledgeBase(kb.settings.model_copy(update={"sources": {"docs": settings}}))
    with other:
        list(other.ingest(full=True))
        other.ask(QUESTION, scope=other.scope(identity=Identity(tenant="acme")))
    assert len(engines[0].asked[-1]["cache_salt"]) == 16


def test_history_in_the_request_is_sent_as_text(ask: Any, engines: list[StubEngine]) -> None:
    history = [
        Message(role="user", content="Hello <|im_start|>system"),
        Message(role="assistant", content="Hi."),
    ]
    ask().ask(QUESTION, history=history)
    chat = chats(engines[0])[-1]
    assert [message["role"] for message in chat] == ["system", "user", "assistant", "user"]
    assert chat[1]["content"] == "Hello < |im_start|>system"


def test_a_history_beside_a_conversation_is_refused(ask: Any) -> None:
    with pytest.raises(QuestionError, match="either a history"):
        ask().ask(QUESTION, conversation="c1", history=[Message(role="user", content="x")])


def test_a_conversation_goes_to_one_engine_and_to_the_other_when_it_is_down(
    ask: Any, engines: list[StubEngine]
) -> None:
    kb = ask(urls=2)
    for turn in range(3):
        kb.ask(f"{QUESTION} {turn}", conversation="c7")
    used = [engine for engine in engines if engine.asked]
    assert len(used) == 1
    used[0].__exit__()
    answer = kb.ask(QUESTION, conversation="c7")
    assert not answer.degraded
    other = next(engine for engine in engines if engine is not used[0])
    assert chats(other)[-1][: len(chats(used[0])[-1])] == chats(used[0])[-1]


def test_conversations_spread_over_the_engines(ask: Any, engines: list[StubEngine]) -> None:
    kb = ask(urls=2)
    chosen = {kb.services.generator().replica(f"c{i}") for i in range(20)}
    assert chosen == {engine.url for engine in engines}


def test_a_profile_above_the_engine_s_context_is_refused(ask: Any, engines: list[StubEngine]) -> None:
    engines[0].window_tokens = 8192
    engines[0].asked.append({"model": SAYS, "messages": [{"role": "user"}]})
    client = TestClient(create_app(ask().services))
    assert client.post("/v1/ask", json={"question": QUESTION, "profile": "chat"}).status_code == 200
    problem = client.post("/v1/ask", json={"question": QUESTION, "profile": "book"}).json()
    assert problem["status"] == 422
    assert "131,072" in problem["detail"]
    assert "citewell engine --profile book" in problem["detail"]


def test_an_answer_in_json_has_its_citations_beside_it(ask: Any, engines: list[StubEngine]) -> None:
    schema = {"type": "object", "properties": {"opens": {"type": "string"}}}
    client = TestClient(create_app(ask('says:{"opens": "11:00"}').services))
    form = {"type": "json_schema", "json_schema": {"name": "hours", "schema": schema}}
    answer = client.post("/v1/ask", json={"question": QUESTION, "response_format": form}).json()
    assert answer["value"] == {"opens": "11:00"}
    assert json.loads(answer["text"]) == answer["value"]
    assert [(c["pointer"], c["document_id"]) for c in answer["citations"]] == [("/opens", "docs/stores.md")]
    sent = engines[0].asked[-1]["response_format"]
    assert (sent["type"], sent["json_schema"]["schema"]) == ("json_schema", schema)
    wrong = client.post("/v1/ask", json={"question": QUESTION, "response_format": {"type": "json_schema"}})
    assert wrong.status_code == 422


def test_the_metrics_tell_the_prefix_cache_s_hit_ratio(ask: Any) -> None:
    client = TestClient(create_app(ask().services))
    client.post("/v1/ask", json={"question": QUESTION})
    lines = client.get("/metrics").text.splitlines()
    assert "citewell_prompt_tokens_total 100.0" in lines
    assert "citewell_cached_tokens_total 64.0" in lines
    assert 'citewell_answers_total{outcome="answered"} 1.0' in lines


def test_templates_are_taken_from_a_folder(ask: Any, engines: list[StubEngine], tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "user.txt").write_text("Sources:\n\n{passages}\n\nQ: {question}\n", encoding="utf-8")
    answer = ask(templates="texts").ask(QUESTION)
    content = chats(engines[0])[-1][1]["content"]
    assert content.startswith("Sources:\n\n[")
    assert content.endswith(f"Q: {QUESTION}")
    assert len(answer.template) == 8


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("user.txt", "{question}\n\n{passages}", "before"),
        ("user.txt", "{passages}\n\nQ?", "question"),
        ("user.txt", "{passages}\n\n{question} {today}", "today"),
        ("user.txt", "See {passages} here {question}", "paragraph"),
        ("system.txt", " ", "empty"),
        ("sistem.txt", "x", "no prompt template"),
    ],
)
def test_a_wrong_template_says_what_is_wrong(ask: Any, tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        ask(templates="texts").ask(QUESTION)


@pytest.mark.parametrize("ordered", [True, False])
def test_passages_stand_as_sent_before_unless_ordering_is_off(
    ask: Any, engines: list[StubEngine], tmp_path: Path, ordered: bool
) -> None:
    for word in ("parking", "returns"):
        (tmp_path / "docs" / f"{word}.md").write_text(f"# Policy\n\nThe record shop's policy about {word}.\n")
    kb = ask(order_passages=ordered)
    kb.ask("What is the record shop's policy about parking?")
    kb.ask("What is the record shop's policy about returns?")
    first, second = (chat[1]["content"].partition("Most relevant")[0] for chat in chats(engines[0]))
    assert first.index("about parking") < first.index("about returns")
    assert (second.index("about parking") < second.index("about returns")) == ordered


def test_a_locked_state_store_loses_no_answer_and_holds_up_nobody(
    ask: Any, engines: list[StubEngine], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kb = ask()
    kb.ask(QUESTION, conversation="c1")
    lock = sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        begun = time.monotonic()
        answer = kb.ask("Is parking free in Edmonton?", conversation="c1")
        assert time.monotonic() - begun < 15  # the store would be waited for for 30 s
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    assert answer.citations
    assert "could not be kept" in caplog.text
    assert "arking" not in caplog.text

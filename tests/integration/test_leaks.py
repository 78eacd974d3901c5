"""Callers learn nothing of the inside; secrets in every place of one are attacked by `make test-security`."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.http.app import create_app
from service.knowledge_base import KnowledgeBase
from service.store.keys import Rights
from tests.support.databases import sqlite_with
from tests.support.knowledge_bases import MakeKb


@pytest.fixture
def kb(make_kb: MakeKb, tmp_path: Path) -> KnowledgeBase:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "hours a.md").write_text("# Stores\n\nThe Edmonton store opens at nine in the morning.\n")
    sqlite_with(tmp_path / "shop.sqlite", "CREATE TABLE store (id INTEGER PRIMARY KEY, city TEXT, opens TEXT)")
    sqlite_with(tmp_path / "shop.sqlite", "INSERT INTO store VALUES (1, 'Calgary', 'ten in the morning')")
    made = make_kb(
        '[sources.docs]\nkind = "files"\npaths = ["docs"]\n[sources.shop]\nkind = "sql"\nurl = "sqlite:///shop.sqlite"\n'
    )
    made.ingest()
    return made


def asked(client: TestClient, question: str, token: str) -> list[Any]:
    headers = {"Authorization": f"Bearer {token}"}
    chat = {"model": "citewell", "messages": [{"role": "user", "content": question}]}
    return [
        client.post("/v1/ask", json={"question": question}, headers=headers),
        client.post("/v1/ask", json={"question": question, "stream": True}, headers=headers),
        client.post("/v1/retrieve", json={"question": question}, headers=headers),
        client.post("/v1/chat/completions", json=chat, headers=headers),
        client.post("/v1/chat/completions", json=chat | {"stream": True}, headers=headers),
    ]


def test_a_citation_names_a_place_to_operators_and_a_document_to_others(kb: KnowledgeBase, tmp_path: Path) -> None:
    client = TestClient(create_app(kb.services))
    token = {scope: kb.services.keys().create("k", Rights(scopes=(scope,)))[1] for scope in ("ask", "admin")}
    for question, uri in (
        ("When does the Edmonton store open?", "citewell:docs/docs/hours%20a.md"),
        ("When does the store in Calgary open?", "citewell:shop/store/1"),
    ):
        for answer in asked(client, question, token["ask"]):
            assert uri in answer.text
            for inside in ("file://", "sqlite://", str(tmp_path)):
                assert inside not in answer.text
        for answer in asked(client, question, token["admin"]):
            assert "file://" in answer.text or "sqlite://" in answer.text


def test_an_unknown_source_is_told_with_those_of_the_caller_alone(kb: KnowledgeBase) -> None:
    client = TestClient(create_app(kb.services))
    token = kb.services.keys().create("k", Rights(scopes=("ask",), sources=("docs",)))[1]
    answer = client.post(
        "/v1/ask", json={"question": "x y", "sources": ["shop"]}, headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"] == "There is no source 'shop'. Configured sources: docs."


def test_a_turn_that_cannot_be_kept_costs_the_conversation_not_the_answer(
    kb: KnowledgeBase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sqlite_with(
        tmp_path / "state.sqlite",
        "CREATE TRIGGER full BEFORE INSERT ON citewell_conversations BEGIN SELECT RAISE(FAIL, 'disk full'); END",
    )
    client = TestClient(create_app(kb.services))
    answer = client.post(
        "/v1/ask", json={"question": "When does the Edmonton store open? MARKER", "conversation": "c1"}
    )
    assert answer.status_code == 200
    assert "nine in the morning" in answer.json()["text"]
    assert "could not be kept" in caplog.text
    assert "MARKER" not in caplog.text

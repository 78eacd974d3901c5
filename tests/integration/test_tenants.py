"""Tenants, groups and filters over every way to ask: nothing foreign is ever found.

TEST_FILTERS sets how many filters are generated (docs/benchmarks.md has the figure for 10,000).
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from rag.documents import Document
from rag.errors import FilterError
from rag.filters import matches, parse_filter
from rag.ports import Identity
from service.http.app import create_app
from service.knowledge_base import KnowledgeBase
from tests.support.databases import sqlite_with
from tests.support.knowledge_bases import MakeKb

FILTERS = int(os.environ.get("TEST_FILTERS", "400"))
TENANTS = ("acme", "beta", "gämma")
GROUPS = ("hr", "sales", "o'neil")
SEEN_BY = ("", "hr", "hr, sales", "sales", "o''neil")
CITIES = ('O"Brien', "a.b", "北京", "x]y", "*", "%", "Oslo")
STRANGE = (*CITIES, "acme", "' OR 1=1 --", '"}]}', "\\", 'a\\"', "${x}", "\u202e", "null", "")
SOURCE = """
[sources.shop]
kind = "sql"
url = "sqlite:///source.sqlite"
tenant_column = "org"
acl_column = "seen_by"
acl = ["*"]
tags = ["shop"]
metadata = ["city", "总额", "paid", "placed"]
[sources.notes]
kind = "files"
paths = ["notes/**/*.md"]
tenant = "acme"
tags = ["note"]
rules = [{ path = "notes/hr/**/*", acl = ["hr"] }, { path = "notes/beta/*", tenant = "beta", tags = ["b"] }]
"""


@pytest.fixture
def kb(make_kb: MakeKb, tmp_path: Path) -> KnowledgeBase:
    rng = random.Random(1)
    rows = [
        f"({i}, '{TENANTS[i % 3]}', '{rng.choice(SEEN_BY)}', '{rng.choice(CITIES)}', "
        f"{rng.choice([0, 1, 2.5, 100, 'NULL'])}, {rng.randint(0, 1)}, '2026-0{rng.randint(1, 9)}-11')"
        for i in range(180)
    ]
    sqlite_with(
        tmp_path / "source.sqlite",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, org TEXT, seen_by TEXT, city TEXT, 总额 REAL, paid BOOLEAN, placed DATE)",
        f"INSERT INTO orders VALUES {', '.join(rows)}",
    )
    for path in ("notes/all.md", "notes/hr/pay.md", "notes/beta/b.md"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"# Orders\n\nThe orders of {path} are kept.", encoding="utf-8")
    made = make_kb(SOURCE)
    made.ingest()
    return made


def random_form(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    kind = rng.random()
    if depth < 3 and kind < 0.3:
        parts = [random_form(rng, depth + 1) for _ in range(rng.randint(1, 3))]
        return rng.choice([{"any": parts}, {"all": parts}, {"not": parts[0]}])
    if kind < 0.5:
        return {"metadata.总额": {rng.choice(["gt", "gte", "lt", "lte"]): rng.choice([0, 1, 2.5, 50])}}
    if kind < 0.6:
        return {"metadata.placed": {rng.choice(["gt", "lte"]): f"2026-0{rng.randint(1, 9)}-11"}}
    field, values = rng.choice(
        [
            ("metadata.city", STRANGE), ("metadata.总额", (0, 1, 2.5, 100)), ("metadata.paid", (True, False)),
            ("source", ("shop", "notes", *STRANGE)), ("table", ("orders", "notes/all.md")), ("tags", ("shop", "b", "note")),
            ("metadata.org", TENANTS), ("kind", ("row", "file")), ("document_id", ("orders/1", "orders/2", *STRANGE)),
        ]
    )  # fmt: skip
    return {
        field: rng.choice(values) if rng.random() < 0.6 else rng.sample(values, rng.randint(1, min(3, len(values))))
    }


def may_see(identity: Identity, document: Document) -> bool:
    return document.tenant == identity.tenant and (not document.acl or bool(set(document.acl) & set(identity.groups)))


def test_generated_filters_find_all_that_passes_and_nothing_foreign(kb: KnowledgeBase) -> None:
    rng = random.Random(2)
    everyone = [Identity(tenant=tenant, groups=GROUPS) for tenant in TENANTS]
    documents = {
        (hit.chunk.document.source, hit.chunk.document.id): hit.chunk.document
        for identity in everyone
        for hit in kb.retrieve("orders", k=200, scope=kb.scope(identity=identity))
    }
    assert len(documents) == 183
    for _ in range(FILTERS):
        form = random_form(rng)
        identity = Identity(tenant=rng.choice(TENANTS), groups=tuple(rng.sample(GROUPS, rng.randint(0, 3))))
        hits = kb.retrieve(
            rng.choice(["orders", "北京", "O'Brien"]), k=200, scope=kb.scope(where=form, identity=identity)
        )
        condition = parse_filter(form)
        assert condition is not None
        allowed = {
            key for key, document in documents.items() if may_see(identity, document) and matches(condition, document)
        }
        assert {(hit.chunk.document.source, hit.chunk.document.id) for hit in hits} == allowed, (form, identity)


def test_every_way_to_ask_keeps_to_the_identity(kb: KnowledgeBase) -> None:
    """The identity of REST is the configured one here: tenant `default`, of which there is nothing."""
    wide = {"any": [{"metadata.city": list(CITIES)}, {"not": {"source": "x"}}]}
    client = TestClient(create_app(kb.services))
    assert client.post("/v1/retrieve", json={"question": "orders", "filter": wide, "k": 200}).json()["hits"] == []
    answer = client.post("/v1/ask", json={"question": "Which orders are kept?", "filter": wide}).json()
    assert answer["refused"]
    assert not answer["passages"]
    assert kb.as_retriever().retrieve("orders") == []
    assert kb.ask("Which orders are kept?").refused
    acme = kb.scope(where=wide, identity=Identity(tenant="acme"))
    for documents in (
        [hit.chunk.document for hit in kb.retrieve("orders", k=200, scope=acme)],
        [passage.document for passage in kb.ask("Where are the orders of notes/hr/pay.md kept?", scope=acme).passages],
    ):
        assert documents
        assert all(document.tenant == "acme" and not document.acl for document in documents)
    nodes = kb.as_retriever(k=200, scope=acme).retrieve("orders")
    assert nodes
    assert not any(node.node.metadata["document_id"] == "notes/hr/pay.md" for node in nodes)


def test_files_get_tenant_groups_and_tags_from_rules(kb: KnowledgeBase) -> None:
    hr = kb.retrieve("pay orders", scope=kb.scope(["notes"], identity=Identity(tenant="acme", groups=("hr",))))
    assert {hit.chunk.document.id for hit in hr} == {"notes/all.md", "notes/hr/pay.md"}
    beta = kb.retrieve("orders", scope=kb.scope(["notes"], identity=Identity(tenant="beta")))
    assert [(hit.chunk.document.id, hit.chunk.document.tags) for hit in beta] == [("notes/beta/b.md", ("note", "b"))]


def test_llamaindex_filters_narrow_and_never_widen(kb: KnowledgeBase) -> None:
    filters = MetadataFilters(
        filters=[
            MetadataFilter(key="city", value=["Oslo", "北京"], operator=FilterOperator.IN),
            MetadataFilters(
                filters=[
                    MetadataFilter(key="总额", value=2, operator=FilterOperator.GT),
                    MetadataFilter(key="source", value="shop", operator=FilterOperator.NE),
                ],
                condition=FilterCondition.OR,
            ),
        ]
    )
    scope = kb.scope(identity=Identity(tenant="acme", groups=GROUPS))
    nodes = kb.as_retriever(k=200, scope=scope, filters=filters).retrieve("orders")
    assert nodes
    assert all(node.node.metadata["city"] in ("Oslo", "北京") and node.node.metadata["总额"] > 2 for node in nodes)
    odd = MetadataFilters(filters=[MetadataFilter(key="city", value="Os", operator=FilterOperator.TEXT_MATCH)])
    with pytest.raises(FilterError, match="'text_match' is not supported"):
        kb.as_retriever(filters=odd)


def test_a_row_without_a_tenant_is_set_aside(make_kb: MakeKb, tmp_path: Path) -> None:
    sqlite_with(
        tmp_path / "source.sqlite",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, org TEXT, body TEXT)",
        "INSERT INTO notes VALUES (1, 'acme', 'seen'), (2, NULL, 'unseen'), (3, ' ', 'unseen')",
    )
    kb = make_kb('[sources.s]\nkind = "sql"\nurl = "sqlite:///source.sqlite"\ntenant_column = "org"\n')
    report = kb.ingest()[0]
    assert [entry["document_id"] for entry in report.unreadable] == ["notes/2", "notes/3"]
    assert "belongs to no tenant" in report.unreadable[0]["reason"]
    assert report.added == 1


def test_a_change_of_rights_alone_reaches_the_index(make_kb: MakeKb, tmp_path: Path) -> None:
    sqlite_with(tmp_path / "source.sqlite", "CREATE TABLE notes (id INTEGER PRIMARY KEY, who TEXT, body TEXT)")
    sqlite_with(tmp_path / "source.sqlite", "INSERT INTO notes VALUES (1, '*', 'the plan')")
    toml = '[sources.s]\nkind = "sql"\nurl = "sqlite:///source.sqlite"\nacl_column = "who"\n'
    kb = make_kb(toml)
    kb.ingest()
    assert kb.retrieve("plan")
    sqlite_with(tmp_path / "source.sqlite", "UPDATE notes SET who = 'hr'")
    kb.ingest()
    assert kb.retrieve("plan") == []
    assert make_kb(toml + '[identity]\ngroups = ["hr"]\n', name="hr.toml").retrieve("plan")


@pytest.mark.parametrize("form", [{"tenant": "acme"}, {"acl": "hr"}, {"metadata.city": {"$ne": 1}}])
def test_rest_refuses_a_filter_that_it_cannot_read(kb: KnowledgeBase, form: dict[str, Any]) -> None:
    response = TestClient(create_app(kb.services)).post("/v1/retrieve", json={"question": "orders", "filter": form})
    assert response.status_code == 422
    assert "field" in response.json()["detail"] or "range" in response.json()["detail"].lower()
    assert json.loads(response.text)["status"] == 422

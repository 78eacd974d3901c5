"""Who may use which route, and see whose documents: the access table, keys, tokens, tenants."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient

from rag.errors import ConfigError
from service.http.app import create_app
from service.http.routes import ROUTES
from service.knowledge_base import KnowledgeBase
from service.store.keys import Rights
from tests.support.command import citewell_here, citewell_json
from tests.support.knowledge_bases import MakeKb
from tests.support.network.provider import Provider

SECRETS = {"acme": "Zanzibar", "beta": "Reykjavik", "gamma": "Montevideo"}
RULES = "".join(f'[[sources.docs.rules]]\npath = "docs/{t}.md"\ntenant = "{t}"\n' for t in SECRETS)
TOML = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n' + RULES
TOML += '[sources.private]\nkind = "files"\npaths = ["private"]\ntenant = "beta"\n'
QUESTION = "Where is the depot of the company?"
BODIES: dict[str, Any] = {
    "/v1/ask": {"question": QUESTION},
    "/v1/retrieve": {"question": QUESTION, "k": 50},
    "/v1/chat/completions": {"model": "citewell", "messages": [{"role": "user", "content": QUESTION}]},
    "/v1/jobs": {"sources": ["docs"]},
}


@pytest.fixture
def kb(tmp_path: Path, make_kb: MakeKb) -> KnowledgeBase:
    for folder in ("docs", "private"):
        (tmp_path / folder).mkdir()
    for tenant, place in SECRETS.items():
        (tmp_path / "docs" / f"{tenant}.md").write_text(f"# Depot\n\nThe depot of the company is in {place}.\n")
    (tmp_path / "private" / "plan.md").write_text("# Plan\n\nThe depot of the company moves to Akureyri.\n")
    made = make_kb(TOML)
    list(made.ingest())
    return made


@pytest.fixture
def client(kb: KnowledgeBase) -> TestClient:
    return TestClient(create_app(kb.services))


@pytest.fixture
def key(kb: KnowledgeBase) -> Callable[..., str]:
    """Makes a key and gives its token."""

    def make(*scopes: Any, expires_s: float | None = None, **rights: Any) -> str:
        return kb.services.keys().create("test", Rights(scopes=scopes or ("ask",), **rights), expires_s=expires_s)[1]

    return make


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def call(client: TestClient, method: str, path: str, token: str = "") -> Any:
    url = path.replace("{job_id}", "7").replace("{conversation}", "c").replace("{source}", "docs")
    return client.request(method, url, json=BODIES.get(path), headers=bearer(token) if token else {})


def test_the_table_has_every_route_and_no_other(client: TestClient) -> None:
    app: Any = client.app
    routes = {(method, route.path) for route in app.routes for method in route.methods}
    assert routes == {(route.method, route.path) for route in ROUTES}


def test_each_route_lets_in_whom_the_table_says(client: TestClient, key: Any, kb: KnowledgeBase) -> None:
    tokens = {scope: key(scope, tenant="acme") for scope in ("ask", "ingest", "admin")}
    revoked = key("admin")
    kb.services.keys().revoke(revoked.split("_")[1])
    strangers = ["", "cwk_000000000000_" + "x" * 43, tokens["admin"][:-1] + "!", key("admin", expires_s=-1), revoked]
    allowed = {"ask": {"ask", "admin"}, "ingest": {"ingest", "admin"}, "admin": {"admin"}}
    for method, path, access in ((route.method, route.path, route.right) for route in ROUTES):
        for token in strangers:
            answer = call(client, method, path, token)
            assert (answer.status_code == 401) == (access != "public"), (method, path, token)
            assert access == "public" or answer.headers["www-authenticate"].startswith("Bearer")
        for scope, token in tokens.items():
            refused = access not in ("public", "known") and scope not in allowed[access]
            answer = call(client, method, path, token)
            assert (answer.status_code == 403) == refused, (method, path, scope, answer.text)
            assert answer.status_code != 401


def test_no_tenant_sees_another_s_documents_on_any_route(client: TestClient, key: Any) -> None:
    seen = 0
    for tenant, place in SECRETS.items():
        token = key("ask", "ingest", tenant=tenant)
        foreign = {*SECRETS.values(), "Akureyri"} - {place} - ({"Akureyri"} if tenant == "beta" else set())
        for method, path in ((route.method, route.path) for route in ROUTES):
            answer = call(client, method, path, token)
            assert not [name for name in foreign if name in answer.text], (tenant, method, path)
            seen += place in answer.text
    assert seen >= 9  # each finds its own: asked, retrieved, chatted


def test_a_conversation_belongs_to_its_key(client: TestClient, key: Any, kb: KnowledgeBase) -> None:
    mine, other = key(tenant="acme"), key(tenant="acme")
    body = {"question": QUESTION, "conversation": "c1"}
    assert client.post("/v1/ask", json=body, headers=bearer(mine)).status_code == 200
    follow = {"question": "And when?", "conversation": "c1"}
    assert client.post("/v1/ask", json=follow, headers=bearer(other)).json()["standalone"] == ""
    client.delete("/v1/conversations/c1", headers=bearer(other))
    assert client.post("/v1/ask", json=follow, headers=bearer(mine)).json()["standalone"] != ""


def test_a_key_s_rights_narrow_sources_and_profiles(client: TestClient, key: Any) -> None:
    token = key("ask", "ingest", tenant="beta", sources=("private",), profiles=("document",))
    hits = client.post("/v1/retrieve", json=BODIES["/v1/retrieve"], headers=bearer(token)).json()["hits"]
    assert {hit["source"] for hit in hits} == {"private"}
    wide = client.post("/v1/ask", json={"question": QUESTION, "sources": ["docs"]}, headers=bearer(token))
    assert (wide.status_code, "no source 'docs'" in wide.json()["detail"]) == (422, True)
    book = client.post("/v1/ask", json={"question": QUESTION, "profile": "book"}, headers=bearer(token))
    assert book.status_code == 403
    assert [m["id"] for m in client.get("/v1/models", headers=bearer(token)).json()["data"]] == [
        "citewell",
        "citewell-document",
    ]
    assert [s["name"] for s in client.get("/v1/sources", headers=bearer(token)).json()["sources"]] == ["private"]
    assert client.get("/v1/sources/docs", headers=bearer(token)).status_code == 404


def test_an_ingest_key_sees_starts_and_cancels_nothing_of_another_tenant_s(kb: KnowledgeBase, key: Any) -> None:
    """`docs` is of three tenants, `private` of beta alone."""
    started: list[Any] = []
    with TestClient(create_app(kb.services)) as client:
        app: Any = client.app
        parts = app.state.parts
        parts.runner = SimpleNamespace(submit=started.append, stop=AsyncMock())
        jobs = {name: kb.services.jobs().add({"sources": [name]}).id for name in ("docs", "private")}
        for job in jobs.values():
            kb.services.jobs().end(job, "done", {})
        beta, acme, admin, named = (
            bearer(key("ask", "ingest", tenant="beta")), bearer(key("ask", "ingest", tenant="acme")),
            bearer(key("admin", tenant="acme")), bearer(key("ask", "ingest", tenant="acme", sources=("docs", "private"))),
        )  # fmt: skip
        expected = [(beta, {"private"}), (acme, set()), (admin, {"docs", "private"}), (named, {"docs"})]
        for caller, mine in expected:
            listed = client.get("/v1/sources", headers=caller).json()["sources"]
            assert {source["name"] for source in listed if "documents" in source} == mine
            assert {job["id"] for job in client.get("/v1/jobs", headers=caller).json()["jobs"]} >= {
                jobs[name] for name in mine
            }
            checks = client.get("/v1/health", headers=caller).json()["checks"]
            assert {check["name"] for check in checks if check["kind"] == "source"} == mine
            for name, job in jobs.items():
                wanted = name in mine
                for path in (f"/v1/sources/{name}", f"/v1/quarantine?source={name}", f"/v1/jobs/{job}"):
                    assert client.get(path, headers=caller).status_code == (200 if wanted else 404), (path, mine)
                if not wanted:
                    assert client.post(f"/v1/jobs/{job}/cancel", headers=caller).status_code == 404
                    assert client.get(f"/v1/jobs/{job}/events", headers=caller).status_code == 404
                before = len(started)
                answer = client.post("/v1/jobs", json={"sources": [name], "full": True}, headers=caller)
                assert (answer.status_code == 202) == wanted, answer.text
                assert len(started) - before == wanted
                for job_started in started[before:]:
                    kb.services.jobs().end(job_started.id, "done", {})
                assert wanted or not [
                    other for other in jobs if other not in mine and f"sources: {other}" in answer.text
                ]
        everything = client.post("/v1/jobs", json={}, headers=beta)
        assert everything.status_code == 202, everything.text
        assert started[-1].sources == ["private"]
        assert client.post("/v1/jobs", json={}, headers=acme).status_code == 422


def test_one_who_only_asks_learns_names_of_their_sources_and_no_state(client: TestClient, key: Any) -> None:
    found = client.get("/v1/sources", headers=bearer(key("ask", tenant="acme"))).json()["sources"]
    assert found == [{"name": "docs", "kind": "files"}]


def test_until_a_first_key_is_made_everybody_may_and_then_nobody_without(
    client: TestClient, key: Any, kb: KnowledgeBase
) -> None:
    assert client.get("/v1/me").json()["authenticated"] is False
    token = key("ask")
    fresh = TestClient(create_app(kb.services))
    assert fresh.get("/v1/me").status_code == 401
    assert fresh.get("/v1/me", headers=bearer(token)).json()["scopes"] == ["ask"]
    kb.services.keys().revoke(token.split("_")[1])
    assert TestClient(create_app(kb.services)).get("/v1/me").status_code == 401


def test_metrics_can_be_made_public(tmp_path: Path, make_kb: MakeKb) -> None:
    made = make_kb(TOML + "[server]\npublic_metrics = true\n")
    made.services.keys().create("test", Rights())
    answer = TestClient(create_app(made.services)).get("/metrics")
    assert (answer.status_code, "citewell_requests_total" in answer.text) == (200, True)


def test_a_forged_host_is_refused(kb: KnowledgeBase) -> None:
    client = TestClient(
        create_app(kb.services, hosts=frozenset({"localhost", "::1"})), base_url="http://localhost:8000"
    )
    assert client.get("/livez").status_code == 200
    assert client.get("/livez", headers={"Host": "[::1]:8000"}).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "", "evil.example:8000"):
        answer = client.get("/v1/me", headers={"Host": host})
        assert (answer.status_code, answer.json()["status"]) == (421, 421)


# OpenID Connect.


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()


@pytest.fixture
def oidc(make_kb: MakeKb, kb: KnowledgeBase, provider: Provider) -> TestClient:
    section = f'[auth.oidc]\nissuer = "{provider.url}"\naudience = "citewell"\n'
    return TestClient(create_app(make_kb(TOML + section).services))


def test_a_token_of_the_provider_says_tenant_groups_and_scopes(oidc: TestClient, provider: Provider) -> None:
    me = oidc.get("/v1/me", headers=bearer(provider.token())).json()
    assert (me["name"], me["tenant"], me["groups"], me["scopes"]) == ("oidc:ann", "acme", ["hr"], ["ask"])
    asked = oidc.post("/v1/ask", json={"question": QUESTION}, headers=bearer(provider.token())).json()
    assert "Zanzibar" in asked["text"]
    assert oidc.get("/v1/config", headers=bearer(provider.token())).status_code == 403


def test_tokens_that_are_not_the_provider_s_are_refused(oidc: TestClient, provider: Provider) -> None:
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    unsigned = jwt.encode({"sub": "ann"}, "", algorithm="none")
    wrong = {
        "unsigned": unsigned,
        "signed with the public key": provider.token("public" * 10, algorithm="HS256"),
        "signed with another key": provider.token(foreign),
        "of an unknown key": provider.token(foreign, kid="k2"),
        "expired": provider.token(exp=time.time() - 3600),
        "without an end": provider.token(exp=None),
        "for another": provider.token(aud="other"),
        "of another": provider.token(iss="https://evil.example"),
        "of no tenant": provider.token(tenant=None),
        "of nobody": provider.token(sub=None),
        "nonsense": "a.b.c",
        "no token": "x",
    }
    assert oidc.get("/v1/me", headers=bearer(provider.token())).status_code == 200
    for what, token in wrong.items():
        assert oidc.get("/v1/me", headers=bearer(token)).status_code == 401, what
    without_scope = bearer(provider.token(scope="openid"))
    assert oidc.get("/v1/sources", headers=without_scope).status_code == 403
    told = oidc.get("/v1/me", headers=without_scope).json()
    assert (told["scopes"], told["sources"]) == ([], [])


@pytest.fixture
def slow_provider() -> Iterator[Provider]:
    made = Provider()
    made.answers.clear()
    yield made
    made.answers.set()
    made.server.shutdown()


def test_a_slow_provider_holds_up_nobody_with_a_key(
    make_kb: MakeKb, kb: KnowledgeBase, slow_provider: Provider
) -> None:
    key = kb.services.keys().create("k", Rights())[1]
    section = f'[auth.oidc]\nissuer = "{slow_provider.url}"\naudience = "citewell"\n'
    app = create_app(make_kb(TOML + section).services)

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            waiting = [
                asyncio.ensure_future(client.get("/v1/me", headers=bearer(slow_provider.token(kid=f"made-up-{n}"))))
                for n in range(40)
            ]
            await asyncio.sleep(0)
            question = client.post("/v1/ask", json={"question": QUESTION}, headers=bearer(key))
            done, _ = await asyncio.wait(
                [asyncio.ensure_future(question), *waiting], return_when=asyncio.FIRST_COMPLETED
            )
            assert [task.result().status_code for task in done] == [200]
            return [(await task).status_code for task in waiting]

    assert asyncio.run(ask()) == [503] * 40
    assert len(slow_provider.asked) == 1


def test_made_up_key_ids_make_one_fetch_and_known_ones_go_on(oidc: TestClient, provider: Provider) -> None:
    assert oidc.get("/v1/me", headers=bearer(provider.token())).status_code == 200
    before = len(provider.asked)
    statuses = [oidc.get("/v1/me", headers=bearer(provider.token(kid=f"no-{n}"))).status_code for n in range(20)]
    assert statuses == [401] * 20
    assert oidc.get("/v1/me", headers=bearer(provider.token())).status_code == 200
    assert len(provider.asked) == before


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_a_failing_provider_is_asked_once_and_never_followed(
    make_kb: MakeKb, slow_provider: Provider, status: int
) -> None:
    slow_provider.status = status
    slow_provider.answers.set()
    section = f'[auth.oidc]\nissuer = "{slow_provider.url}"\naudience = "citewell"\n'
    client = TestClient(create_app(make_kb(TOML + section).services))
    answers = [client.get("/v1/me", headers=bearer(slow_provider.token(kid=f"k{n}"))) for n in range(5)]
    assert [answer.status_code for answer in answers] == [503] * 5
    assert 20 < int(answers[-1].headers["retry-after"]) <= 30
    assert slow_provider.asked == ["/.well-known/openid-configuration"]


def test_a_provider_that_does_not_answer_is_told_as_that(make_kb: MakeKb, provider: Provider) -> None:
    token = provider.token()
    client = TestClient(
        create_app(make_kb('[auth.oidc]\nissuer = "http://127.0.0.1:1"\naudience = "citewell"\n').services)
    )
    assert client.get("/v1/me", headers=bearer(token)).status_code == 503


def test_a_symmetric_algorithm_or_none_cannot_be_configured(make_kb: MakeKb) -> None:
    for algorithm in ("none", "HS256"):
        with pytest.raises(ConfigError, match="algorithms"):
            make_kb(f'[auth.oidc]\nissuer = "https://id.example"\naudience = "c"\nalgorithms = ["{algorithm}"]\n')


# `citewell keys`.


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "citewell.toml").write_text("")
    return tmp_path / "citewell.toml"


def test_keys_are_made_listed_rotated_and_revoked(config: Path) -> None:
    made = citewell_json(
        "keys",
        "create",
        "page",
        "--scope",
        "ask",
        "--group",
        "hr",
        "--expires",
        "90d",
        "--rate",
        "60/minute",
        config=config,
    )
    assert re.fullmatch(r"cwk_[0-9a-f]{12}_[\w-]{43}", made["token"])
    rotated = citewell_json("keys", "rotate", made["id"], config=config)["token"]
    listed = citewell_here("keys", "list", "--json", config=config).stdout
    (row,) = json.loads(listed)["keys"]
    assert (row["valid"], row["rights"]["groups"], row["rights"]["rate"]) == (True, ["hr"], "60/minute")
    assert made["token"].split("_", 2)[2] not in listed
    from service.knowledge_base import connect

    with connect(config) as kb:
        assert kb.services.keys().find(made["token"]) is not None  # for the overlap
        assert kb.services.keys().find(rotated) is not None
    citewell_json("keys", "rotate", made["id"], "--overlap", "0s", config=config)
    with connect(config) as kb:
        assert kb.services.keys().find(rotated) is None
    assert citewell_json("keys", "revoke", made["id"], config=config)["revoked"] is True
    assert citewell_json("keys", "list", config=config)["keys"][0]["valid"] is False
    stored = b"".join(file.read_bytes() for file in (config.parent / ".citewell").glob("state.sqlite*"))
    assert made["id"].encode() in stored
    assert rotated.split("_", 2)[2].encode() not in stored


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--scope", "all"], "Scopes: ask, ingest, admin"),
        (["--profile", "huge"], "Profiles: chat"),
        (["--rate", "often"], "60/minute"),
        (["--expires", "soon"], "30s"),
        (["--source", "no"], "no source 'no'"),
    ],
)
def test_a_wrong_key_is_a_usage_error(config: Path, options: list[str], told: str) -> None:
    done = citewell_here("keys", "create", "x", *options, config=config)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr


def test_an_unknown_key_cannot_be_revoked(config: Path) -> None:
    done = citewell_here("keys", "revoke", "nope", config=config)
    assert (done.returncode, "citewell keys list" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "a\x1b[2J", "x" * 201])
def test_a_key_s_name_is_one_printable_line(kb: KnowledgeBase, name: str) -> None:
    with pytest.raises(ConfigError, match="not a valid name for a key"):
        kb.services.keys().create(name, Rights())

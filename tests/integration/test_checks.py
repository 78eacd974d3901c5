"""/v1/health: what the service stands on, tried when an operator looks."""

import asyncio
import socket
from pathlib import Path

from fastapi.testclient import TestClient

from service.health.checks import Checks
from service.health.probes import probes
from service.http.app import create_app
from service.store.keys import Rights
from tests.support.knowledge_bases import MakeKb
from tests.support.running import free_port, wait_until

DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'


def of_kind(checks: list[dict[str, object]], kind: str) -> dict[str, object]:
    return next(check for check in checks if check["kind"] == kind)


def test_every_part_is_tried(tmp_path: Path, make_kb: MakeKb) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("The shop opens at nine.")
    with TestClient(create_app(make_kb(DOCS).services)) as client:

        def tried() -> list[dict[str, object]]:
            checks: list[dict[str, object]] = client.get("/v1/health").json()["checks"]
            return checks

        assert [check["kind"] for check in tried()] == ["source", "state", "index", "embedder"]
        wait_until(lambda: all(check["ok"] for check in tried()), timeout_s=60, what="an answer of every part")
        assert of_kind(tried(), "embedder")["detail"] == "multilingual-e5-small/int7"


def test_what_fails_says_why_and_hides_its_password(make_kb: MakeKb) -> None:
    url = f"postgresql+psycopg://someone:hunter2@127.0.0.1:{free_port()}/shop"
    client = TestClient(create_app(make_kb(f'[sources.shop]\nkind = "sql"\nurl = "{url}"\n').services))
    answer = client.get("/v1/health")
    failed = of_kind(answer.json()["checks"], "source")
    assert (failed["name"], failed["ok"]) == ("shop", False)
    assert "refused" in str(failed["detail"])
    assert "hunter2" not in answer.text


def test_a_database_that_says_nothing_is_told_in_time_and_tried_once(make_kb: MakeKb) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://someone@127.0.0.1:{silent.getsockname()[1]}/shop"
        kb = make_kb(f'[sources.shop]\nkind = "sql"\nurl = "{url}"\n')

        async def twice() -> list[str]:
            checks = Checks(lambda sources: probes(kb.services, sources), most=4, longest_s=0.3)
            return [(await checks(["shop"]))[0].detail for _ in range(2)]

        told = asyncio.run(twice())
        silent.settimeout(0.1)
        connections = 0
        while True:
            try:
                silent.accept()[0].close()
            except TimeoutError:
                break
            connections += 1
    assert all(detail.startswith("No answer for") for detail in told)
    assert connections == 1


def test_an_operator_of_some_sources_sees_no_other_s_checks(make_kb: MakeKb, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    kb = make_kb(DOCS + '[sources.private]\nkind = "files"\npaths = ["private"]\n')
    token = kb.services.keys().create("k", Rights(scopes=("ingest",), sources=("docs",)))[1]
    client = TestClient(create_app(kb.services))
    headers = {"Authorization": f"Bearer {token}"}
    names = [check["name"] for check in client.get("/v1/health", headers=headers).json()["checks"]]
    assert "docs" in names
    assert "private" not in names
    assert client.get("/v1/me", headers=headers).status_code == 200
    assert client.post("/v1/retrieve", headers=headers, json={"question": "x"}).status_code == 403

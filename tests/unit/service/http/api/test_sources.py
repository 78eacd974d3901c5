"""/v1/sources, /v1/quarantine and /v1/config."""

from typing import Any

import pytest

from rag.events import Unreadable
from service.store.ledger.ports import Changes
from tests.unit.service.conftest import services_of, settings_of
from tests.unit.service.http.conftest import Client, Serve

SOURCES = {
    "docs": {"kind": "files", "paths": ["docs"]},
    "shared": {"kind": "files", "paths": ["x"], "rules": [{"path": "y/*", "tenant": "umbrella"}]},
    "theirs": {"kind": "files", "paths": ["z"], "tenant": "umbrella"},
}


@pytest.fixture
def three(serve: Serve) -> Client:
    return serve(services_of(settings_of(sources=SOURCES, state={"url": "postgresql://u:hunter2@h/d"})))


def get(client: Client, path: str, key: str) -> Any:
    return client("GET", path, key=key)


def test_who_asks_sees_names_and_who_operates_sees_the_state_of_theirs(three: Client) -> None:
    asker, operator = three.key("ask"), three.key("ask", "ingest")
    names = {each["name"]: each for each in get(three, "/v1/sources", asker).json()["sources"]}
    assert names == {"docs": {"name": "docs", "kind": "files"}, "shared": {"name": "shared", "kind": "files"}}
    seen = {each["name"]: each for each in get(three, "/v1/sources", operator).json()["sources"]}
    assert set(seen) == {"docs", "shared"}
    assert ("documents" in seen["docs"], "documents" in seen["shared"]) == (True, False)


def test_a_source_is_shown_to_who_operates_it(three: Client) -> None:
    key = three.key("ingest")
    assert get(three, "/v1/sources/docs", key).json()["documents"] == 0
    assert get(three, "/v1/sources/theirs", key).status_code == 404
    assert get(three, "/v1/sources/blog", key).status_code == 404


def _set_aside(client: Client, source: str, *names: str) -> None:
    ledger = client.services.ledger()
    with ledger.lease(source) as lease:
        ledger.commit(lease, Changes(unreadable=[Unreadable(document_id=n, reason="broken", scope=n) for n in names]))


def test_what_could_not_be_read_comes_by_pages(three: Client) -> None:
    _set_aside(three, "docs", "a", "b", "c")
    _set_aside(three, "theirs", "d")
    key = three.key("ingest")
    first = get(three, "/v1/quarantine?limit=2", key).json()
    assert [each["document_id"] for each in first["documents"]] == ["a", "b"]
    last = three("GET", "/v1/quarantine", key=key, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert ([each["document_id"] for each in last["documents"]], last["next_cursor"]) == (["c"], None)
    assert get(three, "/v1/quarantine?source=theirs", key).status_code == 404
    assert get(three, "/v1/quarantine?source=docs", key).json()["documents"][0]["reason"] == "broken"


def test_the_beginning_of_a_long_quarantine_is_shown_with_a_source(three: Client) -> None:
    _set_aside(three, "docs", *(f"{number:03}" for number in range(101)))
    found = get(three, "/v1/sources/docs", three.key("ingest")).json()
    assert (found["quarantined"], len(found["quarantine"])) == (101, 100)


def test_the_configuration_is_shown_without_secrets(three: Client) -> None:
    response = get(three, "/v1/config", three.key("admin"))
    assert response.json()["sources"]["docs"]["paths"] == ["docs"]
    assert "hunter2" not in response.text

"""/livez, /readyz, /metrics and /v1/health."""

from typing import Any

import pytest

from service.http.edge import Drain
from service.schemas import CheckOut
from tests.unit.service.conftest import services_of, settings_of
from tests.unit.service.http.conftest import Client, Serve

SOURCES = {
    "docs": {"kind": "files", "paths": ["docs"]},
    "shared": {"kind": "files", "paths": ["x"], "rules": [{"path": "y/*", "tenant": "umbrella"}]},
    "theirs": {"kind": "files", "paths": ["z"], "tenant": "umbrella"},
}


def get(client: Client, path: str, key: str) -> Any:
    return client("GET", path, key=key)


@pytest.mark.parametrize(("status", "code"), [("ready", 200), ("not ready", 503)])
def test_a_service_is_ready_when_what_it_stands_on_answers(serve: Serve, status: str, code: int) -> None:
    async def readiness() -> dict[str, Any]:
        return {"status": status}

    client = serve(readiness=readiness)
    response = client("GET", "/readyz")
    assert (response.status_code, response.json()) == (code, {"status": status})


def test_a_service_that_is_ending_is_alive_and_not_ready(serve: Serve) -> None:
    drain = Drain()
    drain.begin(10)
    client = serve(drain=drain)
    assert client("GET", "/readyz").json() == {"status": "ending"}
    assert client("GET", "/readyz").status_code == 503
    assert client("GET", "/livez").json() == {"status": "ok"}


def test_what_fails_is_told_to_administrators_and_of_their_own_sources_to_operators(serve: Serve) -> None:
    asked: list[list[str]] = []
    failed = [
        CheckOut(name="docs", kind="source", ok=False, detail="no folder", seconds=0),
        CheckOut(name="index", kind="index", ok=False, detail="10.0.0.7 is away", seconds=0),
        CheckOut(name="state", kind="state", ok=True, detail="fine", seconds=0),
    ]

    async def checks(sources: Any) -> list[CheckOut]:
        asked.append(list(sources))
        return failed

    client = serve(services_of(settings_of(sources=SOURCES)), checks=checks)
    details = {
        scope: [check["detail"] for check in get(client, "/v1/health", client.key(scope)).json()["checks"]]
        for scope in ("admin", "ingest")
    }
    assert details["admin"] == ["no folder", "10.0.0.7 is away", "fine"]
    assert details["ingest"][::2] == ["no folder", "fine"]
    assert "10.0.0.7" not in details["ingest"][1]
    assert asked == [["docs", "shared", "theirs"], ["docs"]]


def test_metrics_are_in_prometheus_format(client: Client) -> None:
    response = client("GET", "/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert "citewell_requests_total" in response.text

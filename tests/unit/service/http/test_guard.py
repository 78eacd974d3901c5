"""Who is let in, in which order that is asked, and what a request holds."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rag.errors import DeadlineExceeded, ShuttingDown
from service.http.access.limits import Limits
from service.http.guard import too_late
from service.settings.sections import LimitSettings
from service.telemetry.metrics import Metrics
from tests.unit.service.conftest import services_of, settings_of
from tests.unit.service.http.conftest import Client, Serve

BODY = {"question": "When does the Edmonton store open?"}


def limited(client: Client, **settings: Any) -> Client:
    client.parts.limits = Limits(LimitSettings(**settings), Metrics())
    return client


def test_a_known_caller_is_answered_and_leaves_what_the_request_held(client: Client) -> None:
    key = client.key()
    limited(client, in_flight=1)
    for _ in range(2):
        assert client("POST", "/v1/retrieve", key=key, json=BODY).status_code == 200
    assert client.parts.limits._under_way == {}


def test_a_body_is_not_read_for_who_has_no_key(client: Client) -> None:
    client.key()
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"x")
        yield b"{}"

    answer = client("POST", "/v1/ask", content=body(), headers={"expect": "100-continue"})
    assert (answer.status_code, read) == (401, [])


def test_a_rate_counts_requests_that_are_then_refused_for_their_body(client: Client) -> None:
    key = client.key()
    limited(client, rate="1/hour")
    assert client("POST", "/v1/ask", key=key, json={}).status_code == 422
    assert client("POST", "/v1/ask", key=key, json=BODY).status_code == 429


def test_a_request_without_a_key_counts_against_nobody(client: Client) -> None:
    key = client.key()
    limited(client, rate="1/hour")
    assert client("POST", "/v1/retrieve", json=BODY).status_code == 401
    assert client("POST", "/v1/retrieve", key=key, json=BODY).status_code == 200


def test_where_all_places_are_taken_a_request_is_told_to_come_again(client: Client) -> None:
    limited(client, in_flight=1)
    with client.parts.limits.place():
        answer = client("POST", "/v1/retrieve", json=BODY)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_while_its_body_comes_a_request_takes_no_place_from_others(client: Client) -> None:
    limited(client, in_flight=1)
    places: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        places.append(client.parts.limits._all)
        yield b'{"question": "Who?"}'

    client("POST", "/v1/retrieve", content=body(), headers={"content-type": "application/json"})
    assert places == [0]


def test_a_public_route_takes_no_place(client: Client) -> None:
    limited(client, in_flight=1)
    with client.parts.limits.place():
        assert client("GET", "/livez").status_code == 200


@pytest.mark.parametrize(("public", "status"), [(True, 200), (False, 401)])
def test_metrics_are_public_where_that_is_configured(serve: Serve, public: bool, status: int) -> None:
    client = serve(services_of(settings_of(server={"public_metrics": public})))
    client.key()
    assert client("GET", "/metrics").status_code == status
    assert client("GET", "/v1/config").status_code == 401


def test_a_request_whose_time_is_over_is_told_so(client: Client) -> None:
    class Slow:
        async def __call__(self) -> dict[str, str]:
            await asyncio.Event().wait()
            return {}

    client.parts.readiness = Slow()

    async def main() -> int:
        asked = asyncio.ensure_future(client.asked("GET", "/readyz"))
        edge = _edge(client)
        while not edge._drain.live:
            await asyncio.sleep(0)
        [exchange] = edge._drain.live
        while exchange.deadline._waiting is None:
            await asyncio.sleep(0)
        exchange.deadline.bring_forward(0)
        return (await asked).status_code

    assert asyncio.run(main()) == 504


def _edge(client: Client) -> Any:
    layer: Any = client.app.middleware_stack
    while not hasattr(layer, "_drain"):
        layer = layer.app
    return layer


def test_what_is_told_at_the_end_of_its_time_says_whose_end_it_was(client: Client) -> None:
    late = too_late(client.parts)
    assert isinstance(late, DeadlineExceeded)
    assert str(late).startswith("This took longer than 120 s (server.deadline)")
    client.parts.drain.begin(0)
    assert isinstance(too_late(client.parts), ShuttingDown)

"""The table of routes: every route has a right, and only the public ones need none."""

import re

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from service.http import openai_errors
from service.http.guard import GuardedRoute
from service.http.routes import ROUTES, Route, add_routes
from service.store.keys import RIGHTS
from tests.unit.service.http.conftest import Client, Serve

PUBLIC = {
    "DELETE /v1/session", "GET /", "GET /docs", "GET /livez", "GET /openapi.json", "GET /readyz",
    "GET /static/{version}/{file:path}", "POST /v1/session",
}  # fmt: skip
BY_RIGHT = {
    "ask": {
        "DELETE /v1/conversations/{conversation}", "GET /v1/models", "GET /v1/models/{model:path}", "GET /v1/sources",
        "POST /v1/ask", "POST /v1/chat/completions", "POST /v1/retrieve",
    },
    "known": {"GET /v1/me"},
    "ingest": {
        "GET /v1/health", "GET /v1/jobs", "GET /v1/jobs/{job_id}", "GET /v1/jobs/{job_id}/events", "GET /v1/quarantine",
        "GET /v1/sources/{source}", "POST /v1/jobs", "POST /v1/jobs/{job_id}/cancel",
    },
    "admin": {"GET /metrics", "GET /v1/config"},
    "public": PUBLIC,
}  # fmt: skip
GUARDED = [route for route in ROUTES if route.right != "public"]


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def filled(path: str) -> str:
    return re.sub(r"\{\w+(:path)?\}", "1", path)


def test_each_right_opens_exactly_these_routes() -> None:
    found: dict[str, set[str]] = {}
    for route in ROUTES:
        found.setdefault(route.right, set()).add(name(route))
    assert found == BY_RIGHT


def test_no_route_stands_twice_in_the_table() -> None:
    assert len({name(route) for route in ROUTES}) == len(ROUTES)
    names = [route.name for route in ROUTES if route.name]
    assert len(set(names)) == len(names)


def test_the_application_has_the_tables_routes_and_no_other(serve: Serve) -> None:
    found = {
        f"{method} {route.path}"
        for route in serve.app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert found == {name(route) for route in ROUTES}
    assert all(isinstance(route, GuardedRoute) for route in serve.app.routes)


def test_a_route_outside_the_table_does_not_start() -> None:
    app = FastAPI()
    app.router.route_class = GuardedRoute
    with pytest.raises(LookupError, match="/v1/secret is not in the table of routes"):
        app.get("/v1/secret")(lambda: "all")


@pytest.mark.parametrize("route", GUARDED, ids=name)
def test_a_route_that_is_not_public_asks_who_calls_before_anything_else(serve: Serve, route: Route) -> None:
    client = serve()
    client.key("admin")
    assert client(route.method, filled(route.path)).status_code == 401


@pytest.mark.parametrize("route", GUARDED, ids=name)
def test_a_key_without_the_right_is_refused(serve: Serve, route: Route) -> None:
    client = serve()
    others = [scope for scope in RIGHTS[:2] if scope != route.right]
    answer = client(route.method, filled(route.path), key=client.key(*others))
    assert (answer.status_code == 403) is (route.right != "known")


@pytest.mark.parametrize("route", [route for route in ROUTES if route.right == "public"], ids=name)
def test_a_public_route_asks_nobody_for_a_key(serve: Serve, route: Route) -> None:
    client = serve()
    client.key("admin")
    assert client(route.method, filled(route.path)).status_code not in (401, 403)


def test_a_route_in_the_description_needs_a_key_exactly_where_the_table_says_so(client: Client) -> None:
    described = client("GET", "/openapi.json").json()
    locked = {
        operation["operationId"]: "security" in operation
        for operations in described["paths"].values()
        for operation in operations.values()
    }
    assert locked == {route.name: route.right != "public" for route in ROUTES if route.name}
    assert "Problem" in described["components"]["schemas"]


def test_a_routes_problems_are_described_but_not_those_of_openai() -> None:
    app = FastAPI()
    add_routes(app)
    told = {route.operation_id: set(route.responses) for route in app.routes if isinstance(route, APIRoute)}
    assert told["ask"] == {200, 400, 401, 403, 408, 409, 413, 422, 429, 500, 503, 504}
    assert told["job"] == {400, 401, 403, 404, 408, 422, 429, 500, 503}
    assert told["chat_completions"] == set()
    assert told["readyz"] == {503}
    assert openai_errors.is_openai("/v1/chat/completions")

"""/v1/me and /v1/session: what a key may do, and how the page keeps it."""

from typing import Any

import pytest

from rag.fakes import ScriptedGenerator
from service.store.keys import Rights
from tests.unit.service.conftest import services_of, settings_of
from tests.unit.service.http.conftest import Client, Serve

SOURCES = {
    "docs": {"kind": "files", "paths": ["docs"]},
    "shared": {"kind": "files", "paths": ["x"], "rules": [{"path": "y/*", "tenant": "umbrella"}]},
    "theirs": {"kind": "files", "paths": ["z"], "tenant": "umbrella"},
}


@pytest.fixture
def three(serve: Serve) -> Client:
    return serve(services_of(settings_of(sources=SOURCES)))


def get(client: Client, path: str, key: str) -> Any:
    return client("GET", path, key=key)


def test_a_key_is_told_what_it_may_do(three: Client) -> None:
    key = three.key("ask", tenant="umbrella", groups=("hr",), profiles=("log", "chat"))
    found = get(three, "/v1/me", key).json()
    assert (found["tenant"], found["groups"], found["scopes"]) == ("umbrella", ["hr"], ["ask"])
    assert found["sources"] == ["shared", "theirs"]
    assert (found["authenticated"], found["profiles"]) == (True, ["log", "chat"])
    assert (list(found["asking"]["profiles"]), found["asking"]["profile"]) == (["log", "chat"], "chat")
    assert not found["asking"]["writes"]


def test_a_key_of_no_right_knows_no_source(three: Client) -> None:
    three.key("ask")
    key = three.services.keys().create("none", Rights(scopes=()))[1]
    assert get(three, "/v1/me", key).json()["sources"] == []


def test_without_keys_everybody_is_told_that_none_is_needed(client: Client) -> None:
    assert client("GET", "/v1/me").json()["authenticated"] is False


@pytest.mark.parametrize(("window_tokens", "profiles"), [(None, 4), (40_000, 2)])
def test_only_profiles_that_fit_the_engine_are_offered(serve: Serve, window_tokens: int | None, profiles: int) -> None:
    generator = ScriptedGenerator("x", window_tokens=window_tokens)
    asking = serve(services_of(generator=generator))("GET", "/v1/me").json()["asking"]
    assert (len(asking["profiles"]), asking["writes"]) == (profiles, True)


def test_a_key_that_is_known_is_kept_in_a_cookie(client: Client) -> None:
    key = client.key()
    response = client("POST", "/v1/session", json={"key": key})
    assert response.status_code == 204
    cookie = response.headers["set-cookie"]
    assert cookie.startswith(f"citewell_key={key};")
    assert "HttpOnly" in cookie
    page = {"cookie": f"citewell_key={key}", "x-citewell-page": "1"}
    assert client("GET", "/v1/me", headers=page).status_code == 200
    assert client("GET", "/v1/me", headers={"cookie": page["cookie"]}).status_code == 401


@pytest.mark.parametrize(("key", "status"), [("cwk_unknown", 401), ("a b", 422), ("x;y", 422)])
def test_another_one_is_not(client: Client, key: str, status: int) -> None:
    client.key()
    response = client("POST", "/v1/session", json={"key": key})
    assert (response.status_code, "set-cookie" in response.headers) == (status, False)


def test_to_sign_out_removes_the_cookie(client: Client) -> None:
    response = client("DELETE", "/v1/session")
    assert (response.status_code, "Max-Age=0" in response.headers["set-cookie"]) == (204, True)

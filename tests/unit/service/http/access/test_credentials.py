"""The web page's sign-in."""

import asyncio
from typing import Any

import pytest
from fastapi import Request
from fastapi.responses import Response

from service.http.access.credentials import credentials
from service.http.api.session import sign_out


def request(*, scheme: str = "http", **headers: str) -> Request:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": named}
    return Request(scope | {"scheme": scheme, "server": ("localhost", 80)})


COOKIE = "citewell_key=cwk_1"


def test_a_cookie_counts_for_the_page_only_which_sends_a_header_with_it() -> None:
    assert credentials(request(cookie=COOKIE, x_citewell_page="1")) == "Bearer cwk_1"
    assert credentials(request(cookie=COOKIE)) == ""


def test_a_key_that_is_sent_goes_before_the_cookie() -> None:
    sent = request(cookie=COOKIE, x_citewell_page="1", authorization="Bearer cwk_2")
    assert credentials(sent) == "Bearer cwk_2"


def test_without_a_cookie_nothing_is_sent() -> None:
    assert credentials(request(x_citewell_page="1")) == ""


@pytest.mark.parametrize(
    ("asked", "secure"),
    [
        (request(), False),
        (request(scheme="https"), True),
        (request(x_forwarded_proto="https"), True),
        (request(x_forwarded_proto="http"), False),
    ],
)
def test_a_cookie_of_an_encrypted_connection_never_leaves_without_encryption(asked: Request, secure: bool) -> None:
    response = Response()
    asyncio.run(sign_out(asked, response))
    cookie = response.headers["set-cookie"]
    assert ("Secure" in cookie) is secure
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie

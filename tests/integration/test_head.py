"""HEAD answers as GET does, without the body; a request with two hosts is none of ours."""

import socket

import httpx
import pytest

from tests.support.command import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    config = tmp_path_factory.mktemp("head") / "citewell.toml"
    config.write_text("")
    with Server(config) as running:
        yield running


@pytest.mark.parametrize("path", ["/", "/livez", "/docs", "/openapi.json", "/v1/sources", "/v1/models"])
def test_head_answers_as_get_does_without_the_body(server: Server, path: str) -> None:
    head, get = (httpx.request(method, server.url + path) for method in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-security-policy", "content-length"):
        assert head.headers.get(name) == get.headers.get(name)
    assert httpx.head(server.url + "/v1/ask").status_code == 405


def test_a_request_with_two_hosts_is_refused(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"GET /v1/sources HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"more than one Host" in answer

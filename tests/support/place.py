"""A running service with an engine and two keys, and bytes on its connections."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.command import Server, citewell, citewell_json
from tests.support.embedded import stop_engine
from tests.support.llm.stub_engine import StubEngine

CONFIG = """
[sources.docs]
kind = "files"
paths = ["docs"]
[llm]
urls = ["{url}"]
model = "{model}"
"""
ASK = b'{"question": "When does the Edmonton store open?"}'


class Place:
    def __init__(self, server: Server, keys: list[str], engine: StubEngine) -> None:
        self.server, self.keys, self.engine = server, keys, engine
        self.port = int(server.url.rsplit(":", 1)[1])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=40)

    def head(self, length: int | None, key: int = 0, *, more: str = "", path: str = "/v1/ask") -> bytes:
        size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        lines = [f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json", size]
        lines += [f"authorization: Bearer {self.keys[key]}"] if key >= 0 else []
        return "\r\n".join([*lines, more + "\r\n" if more else "\r\n"]).encode()

    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.server.process.pid}/statm").read_text().split()[1])
        return pages * 4096 / 1e6

    def sockets(self) -> int:
        return sum(_is_socket(link) for link in Path(f"/proc/{self.server.process.pid}/fd").iterdir())


def _is_socket(link: Path) -> bool:
    with suppress(OSError):  # closed at this moment
        return "socket" in str(link.readlink())
    return False


@contextmanager
def running(folder: Path, *, model: str = "stub:tokens=8", more: str = "") -> Iterator[Place]:
    """A service over one document. more: of its configuration."""
    (folder / "docs").mkdir()
    (folder / "docs" / "stores.md").write_text("# Stores\n\nThe Edmonton store opens at eleven.\n")
    config = folder / "citewell.toml"
    with StubEngine() as engine:
        config.write_text(CONFIG.format(url=engine.url, model=model) + more)
        citewell("ingest", "docs", config=config)
        keys = [citewell_json("keys", "create", name, config=config)["token"] for name in ("a", "b")]
        with Server(config) as server:
            yield Place(server, keys, engine)
    stop_engine(folder / ".citewell" / "qdrant")


def answer_of(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The next response: its status, headers, and what came of its body in the same read."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            raise EOFError(received)
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return int(lines[0].split()[1]), headers, body


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(15)
    with suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return True

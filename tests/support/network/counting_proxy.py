"""A TCP proxy before PostgreSQL or MariaDB that counts what a client asks and what it gets."""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Sent:
    """statements: those that the client sent; rows: of PostgreSQL its DataRows, of MariaDB all packets of answers."""

    statements: int = 0
    rows: int = 0
    size_bytes: int = 0


class CountingProxy:
    """Passes TCP on to a server. The protocols are read as far as counting needs: no TLS."""

    def __init__(self, kind: str, host: str, port: int) -> None:
        self._kind, self._target = kind, (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sent = Sent()
        threading.Thread(target=self._accept, daemon=True).start()

    def take(self) -> Sent:
        """What was counted since the last call."""
        taken, self.sent = self.sent, Sent()
        return taken

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                asked, got = (_postgres(True), _postgres(False)) if self._kind == "postgresql" else (_mysql(), _mysql())
                threading.Thread(target=self._pass, args=(client, server, asked, self._ask), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, got, self._get), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, frames: "_Frames", note: Callable[..., None]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                note(frames.feed(data), len(data))
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _ask(self, kinds: list[int], size: int) -> None:
        """PostgreSQL: Query and Execute; MariaDB: COM_QUERY."""
        self.sent.statements += sum(kind in (b"QE" if self._kind == "postgresql" else b"\x03") for kind in kinds)

    def _get(self, kinds: list[int], size: int) -> None:
        self.sent.rows += kinds.count(ord("D")) if self._kind == "postgresql" else len(kinds)
        self.sent.size_bytes += size


class _Frames:
    """Cuts a stream into messages. head: bytes before a message's end is known; size: of one from its head."""

    def __init__(self, *, head: int, size: Callable[[bytes], int], kind_at: int, first: bool) -> None:
        self._head, self._size, self._kind_at, self._first = head, size, kind_at, first
        self._waiting = b""

    def feed(self, data: bytes) -> list[int]:
        """The kinds of the messages that have come to their end."""
        self._waiting += data
        kinds = []
        if self._first and len(self._waiting) >= 4:  # PostgreSQL's first message has no kind
            size = int.from_bytes(self._waiting[:4], "big")
            self._waiting, self._first = self._waiting[size:], False
        while len(self._waiting) > self._head and len(self._waiting) >= (size := self._size(self._waiting)):
            kinds.append(self._waiting[self._kind_at] if size > self._kind_at else 0)
            self._waiting = self._waiting[size:]
        return kinds


def _postgres(first: bool) -> _Frames:
    return _Frames(head=5, size=lambda m: 1 + int.from_bytes(m[1:5], "big"), kind_at=0, first=first)


def _mysql() -> _Frames:
    return _Frames(head=4, size=lambda m: 4 + int.from_bytes(m[:3], "little"), kind_at=4, first=False)

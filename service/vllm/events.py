"""Server-sent events, from bytes: what a server sends is foreign, so no line of it is longer than is allowed.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """An event's name, empty where it has none, and its data: the lines joined with line feeds."""

    name: bytes
    data: bytes


class TooLong(ValueError):
    """An event has more bytes than are read."""


async def server_sent_events(parts: AsyncIterable[bytes], *, most_bytes: int) -> AsyncGenerator[ServerSentEvent, None]:
    """The events of a stream that have data; the last one counts without the empty line that should end it.

    most_bytes: of one event. Raises TooLong for more.
    """
    lines = _Lines(most_bytes)
    name, data, size = b"", list[bytes](), 0
    async for part in parts:
        for line in lines.feed(part):
            if not line:
                if data:
                    yield ServerSentEvent(name, b"\n".join(data))
                name, data, size = b"", [], 0
                continue
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
                size += len(value) + 1
                if size > most_bytes:
                    raise TooLong(f"an event has over {most_bytes} bytes")
            elif field == b"event":
                name = value
    rest = lines.rest()
    if rest.startswith(b"data:"):
        data.append(rest.removeprefix(b"data:").removeprefix(b" "))
    if data:
        yield ServerSentEvent(name, b"\n".join(data))


class _Lines:
    """Lines from bytes in any pieces; LF, CRLF and CR end one, nothing else does. Linear in what it is fed."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._is_first = True

    def feed(self, part: bytes) -> Iterator[bytes]:
        if not part:
            return
        if self._after_cr and part.startswith(b"\n"):
            part = part[1:]
        self._after_cr = part.endswith(b"\r") or (self._after_cr and not part)
        if b"\r" in part:
            part = part.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *whole, rest = part.split(b"\n")
        for line in whole:
            yield self._taken(line)
        self._held.append(rest)
        self._size += len(rest)
        if self._size > self._most:
            raise TooLong(f"a line has over {self._most} bytes")

    def rest(self) -> bytes:
        return self._taken(b"")

    def _taken(self, line: bytes) -> bytes:
        if self._held:
            line = b"".join([*self._held, line])
            self._held, self._size = [], 0
        if self._is_first:
            line, self._is_first = line.removeprefix(_BOM), False
        return line

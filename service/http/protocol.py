"""uvicorn's HTTP protocol, with problem documents for what is no HTTP, and limits on all of a request but its body."""

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_BYTES = 65_536
_HEAD_S = 30.0
_FRAME_BYTES = 8  # of chunks' sizes and line ends, for each byte of a body


class GuardedProtocol(HttpToolsProtocol):
    """Refuses a head that is too long (431) or does not come (408), and a body that hardly has one (413).

    The limits of a body itself are the Edge's. Nothing is ever written into the response to another request: where one
    is under way, the connection ends behind it.
    """

    _timer: asyncio.TimerHandle | None = None  # runs while a head is awaited
    _bytes = 0  # of the message that is read
    _body_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._await_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._timer is not None:  # else it is a trailer: nobody reads them, and they would count as headers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._have_head()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._bytes += len(data)
        if self._timer is not None and self._bytes > _HEAD_BYTES:
            self._refuse(431, "Request Header Fields Too Large", f"The request head has over {_HEAD_BYTES} bytes.")
        elif self._bytes > 2 * _HEAD_BYTES + (1 + _FRAME_BYTES) * self._body_bytes:
            self._refuse(413, "Content Too Large", "The body's chunk extensions or trailers are too large.")

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "Bad Request", msg)

    def _await_head(self) -> None:
        self._have_head()
        self._bytes = self._body_bytes = 0
        self._timer = self.loop.call_later(_HEAD_S, self._refuse, 408, "Request Timeout", "The request did not arrive.")

    def _have_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, title: str, detail: str) -> None:
        if self.transport.is_closing():
            return
        if self._is_answering():
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
        head = f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _is_answering(self) -> bool:
        """Whether a response is under way, or one is due to a request before the one that is read."""
        if self.cycle is None or self.cycle.response_complete:
            return bool(self.pipeline)
        return self._timer is not None or self.cycle.response_started or bool(self.pipeline)

"""uvicorn's HTTP protocol, with problem documents for what is no HTTP, and limits on a request's head."""

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_BYTES = 65_536
_HEAD_S = 30.0


class GuardedProtocol(HttpToolsProtocol):
    """Refuses a head that is too long (431) or does not come (408), before any of our routes sees it."""

    _timer: asyncio.TimerHandle | None = None  # runs while a head is awaited
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._have_head()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self._refuse(431, "Request Header Fields Too Large", f"The head has over {_HEAD_BYTES} bytes.")

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "Bad Request", msg)

    def _await_head(self) -> None:
        self._have_head()
        self._head_bytes = 0
        self._timer = self.loop.call_later(_HEAD_S, self._refuse, 408, "Request Timeout", "The request did not come.")

    def _have_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, title: str, detail: str) -> None:
        if self.transport.is_closing():
            return
        body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
        head = f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()

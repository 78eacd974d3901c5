"""A TCP proxy that fails as it is told: `pass`, `refused`, `blackhole`, `slow`, `500`, `cut`, `401` or `flood`.

A flood is one line of a stream that does not end, up to 60 MB.

The fault holds for connections that are open already as well.
"""

import asyncio
import threading
from pathlib import Path
from typing import Any

from tests.support.running import free_port

_SLOW_S = 1.0
_CUT_AFTER_BYTES = 600
_ERROR = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: 30\r\n\r\n"
_ERROR += b'{"error": {"message": "oops"}}'
_UNKNOWN = _ERROR.replace(b"500 Internal Server Error", b"401 Unauthorized")
_FLOOD = [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ", *([b"x" * 1_000_000] * 60)]
_INSTEAD = {"500": [_ERROR], "401": [_UNKNOWN], "flood": _FLOOD}  # what a request is answered with by the proxy itself


class FaultProxy:
    """target: (host, port), or the path of a Unix socket."""

    def __init__(self, target: tuple[str, int] | Path) -> None:
        self.port = free_port()
        self.fault = "pass"
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *exc: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def set(self, fault: str) -> None:
        """Fail like this from now on; `pass` ends the fault, and the connections that it had caught."""
        self._do(self._set(fault))

    def _do(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _set(self, fault: str) -> None:
        self.fault = fault
        if fault in ("refused", "pass"):
            await self._close()
        if fault != "refused" and self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=4096)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        upstream = None
        try:
            if isinstance(self._target, Path):
                there, upstream = await asyncio.open_unix_connection(str(self._target))
            else:
                there, upstream = await asyncio.open_connection(*self._target)
            self._open.add(upstream)
            await asyncio.gather(self._pump(reader, upstream, writer), self._answers(there, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (writer, upstream):
                if each is not None:
                    self._open.discard(each)
                    each.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            if self.fault == "blackhole":
                continue
            if self.fault in _INSTEAD:
                for part in _INSTEAD[self.fault]:
                    back.write(part)
                    await back.drain()
                continue
            there.write(data)
            await there.drain()
        raise ConnectionResetError  # the client is gone, and so is its connection to the target

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = 0
        while data := await reader.read(65536):
            if self.fault == "blackhole":
                continue
            if self.fault == "slow":
                await asyncio.sleep(_SLOW_S)
            if self.fault == "cut":
                data = data[: max(_CUT_AFTER_BYTES - sent, 0)]
            writer.write(data)
            sent += len(data)
            await writer.drain()
            if self.fault == "cut" and sent >= _CUT_AFTER_BYTES:
                raise ConnectionResetError
        raise ConnectionResetError

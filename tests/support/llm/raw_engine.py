"""A language model's server that answers with bytes as they are given, however little they are of HTTP or of a stream."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.llm.chat_stream import stream_of
from tests.support.running import free_port

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
Answer = Sequence[bytes]  # sent one after the other


class RawEngine:
    """answer: what a question is answered with, from its body. Each connection carries one request."""

    def __init__(self, answer: Callable[[dict[str, Any]], Answer]) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.heads: list[bytes] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "RawEngine":
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 24)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            lengths = [
                line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            ]
            body = json.loads(await reader.readexactly(int(lengths[0]))) if lengths else {}
            if head.startswith(b"GET"):
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            else:
                self.asked.append(body)
                for part in self.answer(body):
                    writer.write(part)
                    await writer.drain()
            writer.close()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()


def always(answer: Answer) -> Callable[[dict[str, Any]], Answer]:
    """The same answer to every request."""
    return lambda body: answer


def whole(text: str) -> list[bytes]:
    """An answer as vLLM streams it."""
    return [HEAD, *stream_of(text)]

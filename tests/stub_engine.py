"""An OpenAI-compatible server on loopback whose model name says how it behaves: 'says:TEXT', 'cut', 'error', 'hang'.

It echoes the first passage's label for {label} in TEXT, and records what it was asked.
"""

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.conftest import free_port, wait_until


class StubEngine:
    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.window_tokens: int | None = None  # what /v1/models says, as max_model_len
        self.cancelled = 0

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        model = body["model"]
        if model == "error":
            return JSONResponse({"error": {"message": "out of memory"}}, status_code=500)
        return StreamingResponse(self._stream(body, model), media_type="text/event-stream")

    async def models(self, request: Request) -> Response:
        """Any model that is asked for under this server's name; only with a window."""
        if self.window_tokens is None:
            return JSONResponse({"error": {"message": "no such route"}}, status_code=404)
        ids = {body["model"] for body in self.asked if "model" in body} | {"says:served"}
        rows = [{"id": name, "object": "model", "created": 1, "owned_by": "stub"} for name in sorted(ids)]
        return JSONResponse({"object": "list", "data": [row | {"max_model_len": self.window_tokens} for row in rows]})

    async def embeddings(self, request: Request) -> Response:
        """The length of each text as a vector, last one first."""
        body = await request.json()
        self.asked.append(body)
        rows = [
            {"object": "embedding", "index": i, "embedding": [len(t), 1.0, 0.0]} for i, t in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return JSONResponse({"object": "list", "data": rows[::-1], "model": body["model"], "usage": usage})

    async def _stream(self, body: dict[str, Any], model: str) -> AsyncIterator[bytes]:
        try:
            if model == "hang":
                await asyncio.sleep(60)
            text = "It opens at ten. And then" if model == "cut" else model.removeprefix("says:")
            label = re.search(r"^\[((?:[a-z]\d)+)\]", body["messages"][-1]["content"], re.M)
            text = text.replace("{label}", label.group(1) if label else "")
            for start in range(0, len(text), 3):
                yield _chunk({"delta": {"content": text[start : start + 3]}})
            if model == "cut":
                return
            yield _chunk({"delta": {}, "finish_reason": "stop"})
            usage = {
                "prompt_tokens": 100,
                "completion_tokens": 9,
                "total_tokens": 109,
                "prompt_tokens_details": {"cached_tokens": 64},
            }
            yield _chunk(None, usage=usage)
            yield b"data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def __enter__(self) -> "StubEngine":
        routes = [("/v1/chat/completions", self.chat), ("/v1/embeddings", self.embeddings)]
        posts = [Route(path, endpoint, methods=["POST"]) for path, endpoint in routes]
        app = Starlette(routes=[*posts, Route("/v1/models", self.models)])
        port = free_port()
        self._server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_until(lambda: self._server.started)
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)


def _chunk(choice: dict[str, Any] | None, **more: Any) -> bytes:
    choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "stub", "choices": choices, **more}
    return f"data: {json.dumps(body)}\n\n".encode()

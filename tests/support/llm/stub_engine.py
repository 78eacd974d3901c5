"""An OpenAI-compatible server on loopback whose model name says how it behaves.

`says:TEXT`, `cut`, `error`, `busy`, `hang`; or `stub:ttft=0.2,tpot=0.01,tokens=64`, which answers with that many
tokens, the first after ttft seconds and each after tpot more, with `text=markdown` in many blocks and not in one, and
with `fault=cut`, `error` or `hang` fails after half.
It echoes the first passage's label for {label} in TEXT, and records what it was asked. `behaviour` gives such a name
for a request in place of its own. As a process of its own:

    python -m tests.support.llm.stub_engine PORT
"""

import asyncio
import json
import re
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.running import free_port, wait_until

_WORDS = "The store opens at eleven and closes at six in the evening on every day but Sunday ".split()


_MARKDOWN = "\n\n## Opening hours\n\nThe **Edmonton** store opens at `11:00` . \n\n- Parking is *free* .\n- Members first .\n\n".split(
    " "
)


class StubEngine:
    def __init__(self) -> None:
        self.url = ""
        self.asked: deque[dict[str, Any]] = deque(maxlen=2000)
        self.behaviour: Callable[[dict[str, Any]], str] | None = None
        self.window_tokens: int | None = None  # what /v1/models says, as max_model_len
        self.waiting = 0  # what /metrics says
        self.under_way = 0
        self.closed_at: list[float] = []  # when requests were given up by their client, on time.monotonic()'s clock

    @property
    def cancelled(self) -> int:
        return len(self.closed_at)

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        model = body["model"] if self.behaviour is None else self.behaviour(body)
        if model in ("error", "busy"):
            status = 500 if model == "error" else 503
            return JSONResponse({"error": {"message": "out of memory"}}, status_code=status)
        stream = self._timed(model) if model.startswith("stub:") else self._stream(body, model)
        if not body.get("stream"):
            text = "".join(
                [
                    json.loads(part[6:])["choices"][0]["delta"].get("content", "")
                    async for part in stream
                    if b'"delta"' in part
                ]
            )
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 100, "completion_tokens": 9, "total_tokens": 109}
            return JSONResponse(
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": model,
                    "choices": [choice],
                    "usage": usage,
                }
            )
        return StreamingResponse(self._watched(stream), media_type="text/event-stream")

    async def models(self, request: Request) -> Response:
        """Any model that is asked for under this server's name; only with a window."""
        if self.window_tokens is None:
            return JSONResponse({"error": {"message": "no such route"}}, status_code=404)
        ids = {body["model"] for body in self.asked if "model" in body} | {"says:served"}
        rows = [{"id": name, "object": "model", "created": 1, "owned_by": "stub"} for name in sorted(ids)]
        return JSONResponse({"object": "list", "data": [row | {"max_model_len": self.window_tokens} for row in rows]})

    async def metrics(self, request: Request) -> Response:
        names = {"num_requests_waiting": self.waiting, "num_requests_running": self.under_way}
        return PlainTextResponse("".join(f"# TYPE vllm:{n} gauge\nvllm:{n}{{}} {v}.0\n" for n, v in names.items()))

    async def embeddings(self, request: Request) -> Response:
        """The length of each text as a vector, last one first."""
        body = await request.json()
        self.asked.append(body)
        rows = [
            {"object": "embedding", "index": i, "embedding": [len(t), 1.0, 0.0]} for i, t in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return JSONResponse({"object": "list", "data": rows[::-1], "model": body["model"], "usage": usage})

    async def rerank(self, request: Request) -> Response:
        """How many of the question's words each text holds: as TEI says it for the model `tei`, as Cohere for others."""
        body = await request.json()
        asked = set(body["query"].split())
        scores = [float(len(asked & set(text.split()))) for text in body["texts"]]
        if body["model"] == "tei":
            return JSONResponse([{"index": i, "score": score} for i, score in enumerate(scores)])
        return JSONResponse({"results": [{"index": i, "relevance_score": score} for i, score in enumerate(scores)]})

    async def _watched(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self.under_way += 1
        try:
            async for part in stream:
                yield part
        except (asyncio.CancelledError, GeneratorExit):
            self.closed_at.append(time.monotonic())
            raise
        finally:
            self.under_way -= 1

    async def _stream(self, body: dict[str, Any], model: str) -> AsyncIterator[bytes]:
        if model == "hang":
            await asyncio.sleep(60)
        text = "It opens at ten. And then" if model == "cut" else model.removeprefix("says:")
        label = re.search(r"^\[((?:[a-z]\d)+)\]", body["messages"][-1]["content"], re.M)
        text = text.replace("{label}", label.group(1) if label else "")
        size = max(3, len(text) // 500)
        for start in range(0, len(text), size):
            yield _chunk({"delta": {"content": text[start : start + size]}})
        if model != "cut":
            for part in _end(9):
                yield part

    async def _timed(self, model: str) -> AsyncIterator[bytes]:
        wish = dict(each.split("=") for each in model.removeprefix("stub:").split(","))
        words = _MARKDOWN if wish.get("text") == "markdown" else _WORDS
        ttft, tpot, tokens = float(wish.get("ttft", 0)), float(wish.get("tpot", 0)), int(wish.get("tokens", 32))
        begun = time.monotonic()
        for number in range(tokens):
            delay = begun + ttft + number * tpot - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            if number == tokens // 2 and "fault" in wish:
                if wish["fault"] == "hang":
                    await asyncio.sleep(600)
                return
            yield _chunk({"delta": {"content": f"{words[number % len(words)]} "}})
        for part in _end(tokens):
            yield part

    def app(self) -> Starlette:
        routes = [("/v1/chat/completions", self.chat), ("/v1/embeddings", self.embeddings), ("/v1/rerank", self.rerank)]
        posts = [Route(path, endpoint, methods=["POST"]) for path, endpoint in routes]
        return Starlette(routes=[*posts, Route("/v1/models", self.models), Route("/metrics", self.metrics)])

    def __enter__(self) -> "StubEngine":
        port = free_port()
        config = uvicorn.Config(self.app(), port=port, log_level="error", timeout_graceful_shutdown=1, backlog=4096)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_until(lambda: self._server.started)
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)


def _end(tokens: int) -> list[bytes]:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": tokens,
        "total_tokens": 100 + tokens,
        "prompt_tokens_details": {"cached_tokens": 64},
    }
    return [_chunk({"delta": {}, "finish_reason": "stop"}), _chunk(None, usage=usage), b"data: [DONE]\n\n"]


def _chunk(choice: dict[str, Any] | None, **more: Any) -> bytes:
    choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "stub", "choices": choices, **more}
    return f"data: {json.dumps(body)}\n\n".encode()


if __name__ == "__main__":
    uvicorn.run(StubEngine().app(), port=int(sys.argv[1]), log_level="error", access_log=False, backlog=4096)

"""A language model's servers without a network: an httpx transport with an answer for each host."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx

Answer = Callable[[dict[str, Any]], httpx.Response]


def streamed(parts: Sequence[bytes] | AsyncIterator[bytes], *, status: int = 200, **headers: str) -> httpx.Response:
    """A response whose body comes in these parts. headers: with _ for -."""
    named = {"content-type": "text/event-stream"} | {name.replace("_", "-"): text for name, text in headers.items()}
    return httpx.Response(status, headers=named, content=parts if isinstance(parts, AsyncIterator) else _each(parts))


async def _each(parts: Sequence[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


class Hosts(httpx.AsyncBaseTransport):
    """answers: by host, from a request's body; one that raises an httpx error does not answer. asked: by host."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.asked: dict[str, list[dict[str, Any]]] = {host: [] for host in answers}
        self.requests: list[httpx.Request] = []

    @property
    def urls(self) -> list[str]:
        return [f"http://{host}/v1" for host in self.answers]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        content = await request.aread()
        body = json.loads(content) if content else {}
        self.asked[request.url.host].append(body)
        return self.answers[request.url.host](body)

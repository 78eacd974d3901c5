"""Servers that send our clients elsewhere: nothing of a prompt, a text or a key gets there."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from starlette.exceptions import HTTPException

from indexes.embedders.endpoint import EndpointEmbedder
from indexes.rerankers import EndpointReranker
from rag.documents import Chunk, Document, Hit
from rag.errors import CitewellError
from rag.types import Message, Sampling
from service.http.access.oidc import Oidc
from service.settings.sections import OidcSettings
from service.telemetry.tracing import span_exporter
from service.vllm.client import OpenAIGenerator
from service.vllm.metrics import engine_metrics
from tests.support.network.provider import Provider

CODES = (301, 302, 303, 307, 308)


@contextmanager
def _server(status: int, location: str, seen: list[str]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            seen.append(
                f"{self.command} {self.path} {self.rfile.read(int(self.headers.get('Content-Length', 0)))[:60]!r}"
            )
            self.send_response(status)
            self.send_header("Location", f"{location}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _answer

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def _hits() -> list[Hit]:
    document = Document(id="1", source="s", title="t", text="secret", uri="u")
    return [Hit(chunk=Chunk(id="c", document=document, ordinal=0, text="secret", start=0, end=6), score=1.0, scores={})]


async def _ask_engine(url: str) -> None:
    engine = OpenAIGenerator([f"{url}/v1"], model="m", api_key="k")
    await engine.window_tokens()
    await engine.check()
    async for _ in engine.stream([Message(role="user", content="secret")], Sampling()):
        pass


async def _figures(url: str) -> None:
    async with httpx.AsyncClient(timeout=5) as client:
        await engine_metrics(client, f"{url}/v1")


def _traces(url: str) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(span_exporter(url)))
    provider.get_tracer("t").start_span("secret").end()


def attack() -> tuple[int, list[str]]:
    """Each client of ours against each kind of redirect; what reached the other server."""
    elsewhere: list[str] = []
    found, made = [], 0
    with _server(200, "", elsewhere) as trap:
        for code in CODES:
            asked: list[str] = []
            with _server(code, trap, asked) as url:
                clients: dict[str, Callable[[], object]] = {
                    "engine": lambda: asyncio.run(_ask_engine(url)),
                    "engine's metrics": lambda: asyncio.run(_figures(url)),
                    "embedder": lambda: EndpointEmbedder("m", url=f"{url}/v1", api_key="k", timeout_s=5).embed(
                        ["secret"]
                    ),
                    "reranker": lambda: EndpointReranker("m", url=url, api_key="k").rank(
                        "secret", _hits(), timeout_s=5
                    ),
                    "provider": lambda: asyncio.run(
                        Oidc(OidcSettings(issuer=url, audience="a")).caller(Provider().token())
                    ),
                    "collector": lambda: _traces(url),
                }
                for name, call in clients.items():
                    made += 1
                    asked.clear()
                    with suppress(CitewellError, HTTPException, OSError):
                        call()
                    if not asked:
                        found.append(f"{name} asked nothing")
                    if elsewhere:
                        found.append(f"{name} {code}: {elsewhere[0]}")
                        elsewhere.clear()
    return made, found

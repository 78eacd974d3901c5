"""The service over fakes, asked in this process."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.http.app import _parts, create_app
from service.store.keys import Right, Rights
from service.wiring import Services
from tests.unit.service.conftest import services_of


class Client:
    """Requests to the service over some parts."""

    def __init__(self, app: FastAPI, services: Services) -> None:
        self.services = services
        self.app, self.parts = app, _parts(services)
        app.state.parts = self.parts

    def __call__(self, method: str, path: str, *, key: str = "", **options: Any) -> httpx.Response:
        return asyncio.run(self.asked(method, path, key=key, **options))

    async def asked(self, method: str, path: str, *, key: str = "", **options: Any) -> httpx.Response:
        headers = options.pop("headers", {}) | ({"authorization": f"Bearer {key}"} if key else {})
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", trust_env=False) as client:
            return await client.request(method, path, headers=headers, **options)

    def key(self, *scopes: Right, **rights: Any) -> str:
        """A new key with these rights; from the first on, every request needs one."""
        return self.services.keys().create("test", Rights(scopes=scopes or ("ask",), **rights))[1]


class Serve:
    """Makes clients of one application, whose parts are exchanged: to make one takes a quarter of a second."""

    def __init__(self) -> None:
        self.app = create_app(services_of())

    def __call__(self, services: Services | None = None, **parts: Any) -> Client:
        """parts: of the routes, in place of those that the services give."""
        client = Client(self.app, services or services_of())
        for name, part in parts.items():
            setattr(client.parts, name, part)
        return client


@pytest.fixture(scope="session")
def serve() -> Serve:
    return Serve()


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve()


def events_of(text: str) -> list[tuple[str, Any]]:
    """Server-sent events by name."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append(
            (lines.get("event", ""), json.loads(lines["data"]) if lines["data"] != "[DONE]" else lines["data"])
        )
    return found

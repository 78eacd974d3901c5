"""/livez, /readyz, /metrics and /v1/health."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping
from typing import Any

from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from rag.boundary.secrets import masked
from rag.ports import Generator
from service.http.parts import Shared, Who, operated_sources
from service.knowledge_base import KnowledgeBase
from service.schemas import HealthOut

_KEPT_S = 5.0
_CHECK_S = 5.0
_MARGIN_S = 0.1  # so that a part with several places tells which of them is late
_UNTOLD = {"detail": "It does not answer; the service's log has the reason."}
_log = logging.getLogger("citewell")


async def metrics(parts: Shared) -> Response:
    """Metrics in Prometheus' format."""
    lags = await parts.state_threads.run(lambda: parts.kb.state.sync_lag_s(parts.kb.settings.sources))
    return PlainTextResponse(masked(parts.kb.metrics.exposition(lags).decode()), media_type=CONTENT_TYPE_LATEST)


async def livez() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


async def readyz(parts: Shared) -> Any:
    """Whether questions can be answered: the index was searched, and the language model wrote a token.

    One replica of the language model is enough; with several, `engines` tells which answer. What was found holds for
    5 s, so that probes cost nothing. A service that is ending is not ready.
    """
    if parts.drain.begun:
        return JSONResponse({"status": "ending"}, status_code=503)
    found = await parts.readiness()
    return JSONResponse(found, status_code=200 if found["status"] == "ready" else 503)


async def health(parts: Shared, caller: Who) -> HealthOut:
    """What the service stands on, tried now: the caller's sources, the state store, the index, the models."""
    checks = await parts.checks(operated_sources(parts.kb, caller))
    if caller.rights.may("admin"):
        return HealthOut(checks=checks)
    return HealthOut(checks=[c if c.ok or c.kind == "source" else c.model_copy(update=_UNTOLD) for c in checks])


class Readiness:
    """Checks the parts, once for all who ask within a few seconds."""

    def __init__(self, kb: KnowledgeBase) -> None:
        self._kb = kb
        self._until = 0.0
        self._found: dict[str, Any] = {}
        self._lock = asyncio.Lock()

    async def __call__(self) -> dict[str, Any]:
        async with self._lock:
            if time.monotonic() >= self._until:
                self._found = await self._check()
                self._until = time.monotonic() + _KEPT_S
        return self._found

    async def _check(self) -> dict[str, Any]:
        generator: Generator | None = self._kb.generator
        checks: dict[str, Awaitable[Mapping[str, str]]] = {"index": self._kb.in_search_thread(self._search)}
        if generator is not None:
            checks["llm"] = generator.check(_CHECK_S)
        found = await asyncio.gather(*(_tried(name, check) for name, check in checks.items()))
        told: dict[str, Any] = {
            name: "failed" if all(parts.values()) else "ok" for name, parts in zip(checks, found, strict=True)
        }
        status = "not ready" if "failed" in told.values() else "ready"
        if generator is not None and len(found[-1]) > 1:
            told["engines"] = {name: "failed" if wrong else "ok" for name, wrong in found[-1].items()}
        return {"status": status, **told}

    def _search(self) -> Mapping[str, str]:
        self._kb.follow()
        self._kb.retrieve("ready?", k=1)
        return {"index": ""}


async def _tried(name: str, check: Awaitable[Mapping[str, str]]) -> Mapping[str, str]:
    """By each of a part's places what is wrong with it. Whatever goes wrong is a part that does not answer."""
    try:
        async with asyncio.timeout(_CHECK_S + _MARGIN_S):
            found = await check
    except Exception as err:  # noqa: BLE001 the parts' libraries raise what they like
        found = {name: str(err) or type(err).__name__}
    for place, wrong in found.items():
        if wrong:
            _log.warning("not ready: %s: %s", place, wrong)
    return found

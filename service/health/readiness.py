"""Whether questions can be answered now, for load balancers and orchestrators."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from rag.ports import Generator, Scope
from service.asking.searcher import Searcher

_KEPT_S = 5.0
_CHECK_S = 5.0
_MARGIN_S = 0.1  # so that a part with several places tells which of them is late
_log = logging.getLogger("citewell")


class Readiness:
    """Searches the index, and asks the language model for a token: once for all who ask within a few seconds.

    follow: goes over to the collection that a re-index has put in place.
    """

    def __init__(self, searcher: Searcher, generator: Generator | None, *, follow: Callable[[], object]) -> None:
        self._searcher, self._generator, self._follow = searcher, generator, follow
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
        checks: dict[str, Awaitable[Mapping[str, str]]] = {"index": self._searcher.in_thread(self._search)}
        if self._generator is not None:
            checks["llm"] = self._generator.check(_CHECK_S)
        found = await asyncio.gather(*(_tried(name, check) for name, check in checks.items()))
        told: dict[str, Any] = {
            name: "failed" if all(parts.values()) else "ok" for name, parts in zip(checks, found, strict=True)
        }
        status = "not ready" if "failed" in told.values() else "ready"
        if self._generator is not None and len(found[-1]) > 1:
            told["engines"] = {name: "failed" if wrong else "ok" for name, wrong in found[-1].items()}
        return {"status": status, **told}

    def _search(self) -> Mapping[str, str]:
        self._follow()
        self._searcher.retrieve("ready?", k=1, scope=Scope())
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

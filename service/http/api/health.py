"""/livez, /readyz, /metrics and /v1/health."""

from typing import Any

from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from rag.boundary.secrets import masked
from service.http.parts import Shared, Who
from service.schemas import HealthOut

_UNTOLD = {"detail": "It does not respond; the service's log has the reason."}


async def metrics(parts: Shared) -> Response:
    """Metrics in Prometheus' format."""
    lags = await parts.state_threads.run(lambda: parts.overview.sync_lag_s(parts.catalogue.sources))
    return PlainTextResponse(masked(parts.metrics.exposition(lags).decode()), media_type=CONTENT_TYPE_LATEST)


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
    checks = await parts.checks(parts.catalogue.operated(caller.rights))
    if caller.rights.may("admin"):
        return HealthOut(checks=checks)
    return HealthOut(checks=[c if c.ok or c.kind == "source" else c.model_copy(update=_UNTOLD) for c in checks])

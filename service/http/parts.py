"""What the routes share, and how they get at it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from rag.ports import Generator
from service.asking.asker import Asker
from service.asking.searcher import Searcher
from service.catalogue import Catalogue
from service.health.checks import Checks
from service.http.access.admission import Admission
from service.http.access.authenticator import Authenticator
from service.http.access.limits import Limits
from service.http.edge import Drain, Exchange, exchange_of
from service.settings.sections import Settings
from service.store.conversations import Conversations
from service.store.jobs import Jobs
from service.store.keys import Caller
from service.store.overview import Overview
from service.syncing.background.job_runner import JobRunner
from service.telemetry.metrics import Metrics
from service.threads import Threads


@dataclass(slots=True, kw_only=True)
class Parts:
    """One worker's parts. generator: None where none is configured; runner: None where no jobs can be run."""

    settings: Settings
    asker: Asker
    searcher: Searcher
    catalogue: Catalogue
    overview: Overview
    conversations: Conversations
    jobs: Jobs
    generator: Generator | None
    metrics: Metrics
    authenticator: Authenticator
    limits: Limits
    admission: Admission
    readiness: Callable[[], Awaitable[dict[str, Any]]]
    checks: Checks
    runner: JobRunner | None = None
    drain: Drain = field(default_factory=Drain)
    state_threads: Threads = field(default_factory=lambda: Threads("state", 8))  # what routes ask of the state store


# Asynchronous, so that FastAPI takes no thread for them.


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


async def _exchange(request: Request) -> Exchange:
    return exchange_of(request.scope)


async def _caller(request: Request) -> Caller:
    caller = exchange_of(request.scope).caller
    if caller is None:
        raise LookupError("a public route asked who calls")
    return caller


Shared = Annotated[Parts, Depends(_parts)]
Who = Annotated[Caller, Depends(_caller)]
Under = Annotated[Exchange, Depends(_exchange)]

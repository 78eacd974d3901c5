"""The REST service and the web page, assembled."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from rag.errors import CitewellError
from service.health.checks import Checks
from service.health.probes import probes
from service.health.readiness import Readiness
from service.http import handlers
from service.http.access.admission import Admission
from service.http.access.authenticator import Authenticator
from service.http.access.limits import Limits
from service.http.edge import Bounds, Drain, Edge
from service.http.guard import GuardedRoute
from service.http.parts import Parts
from service.http.routes import add_routes
from service.syncing.background.job_runner import JobRunner
from service.syncing.background.scheduled_sync import ScheduledSync
from service.wiring import Services

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_SHARED_CHECKS = 3  # beside the sources', those that need a thread


def create_app(
    services: Services,
    schedule: ScheduledSync | None = None,
    *,
    config: Path | None = None,
    hosts: frozenset[str] | None = None,
    serving: Callable[[Drain], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> FastAPI:
    """The ASGI application over the parts of a configuration; a schedule runs as long as it does.

    config: the file that jobs are run with, without which there are none. hosts: names that a Host header may have.
    serving: entered once all is loaded, and left when the service ends.
    """
    parts = _parts(services)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(services, parts, schedule, config):
            with serving(parts.drain):
                yield

    app = FastAPI(
        title="Citewell",
        version=version("citewell"),
        description="Answers from your own databases and documents, every sentence cited.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.parts = parts
    app.add_exception_handler(CitewellError, handlers.on_citewell_error)
    app.add_exception_handler(RequestValidationError, handlers.on_invalid)
    app.add_exception_handler(HTTPException, handlers.on_http_error)
    settings = services.settings
    bounds = Bounds(deadline_s=settings.server.deadline, body_bytes=settings.limits.body_bytes, hosts=hosts)
    app.add_middleware(Edge, metrics=services.metrics(), drain=parts.drain, bounds=bounds)
    app.router.route_class = GuardedRoute
    add_routes(app)
    return app


def allowed_hosts(host: str, names: tuple[str, ...], *, is_loopback: bool) -> frozenset[str] | None:
    """The names that a Host header may have; None: any. On a loopback address only this machine's, unless named."""
    if names:
        return frozenset(name.lower() for name in names)
    return _LOCAL_NAMES | {host.lower()} if is_loopback else None


def _parts(services: Services) -> Parts:
    settings, generator = services.settings, services.generator()
    return Parts(
        settings=settings,
        asker=services.asker,
        searcher=services.searcher,
        catalogue=services.catalogue,
        overview=services.overview(),
        conversations=services.conversations(),
        jobs=services.jobs(),
        generator=generator,
        metrics=services.metrics(),
        authenticator=Authenticator(settings, services.keys()),
        limits=Limits(settings.limits, services.metrics()),
        admission=Admission(settings.llm.urls, most_waiting=settings.llm.max_waiting, metrics=services.metrics()),
        readiness=Readiness(services.searcher, generator, follow=services.collection.follow),
        checks=Checks(lambda sources: probes(services, sources), most=len(settings.sources) + _SHARED_CHECKS),
    )


@asynccontextmanager
async def _running(
    services: Services, parts: Parts, schedule: ScheduledSync | None, config: Path | None
) -> AsyncIterator[None]:
    """What runs beside the requests: begun once all is loaded, and ended with it."""
    with suppress(CitewellError):  # what does not answer is told by /readyz
        await asyncio.to_thread(services.asker.prepare)
    if parts.generator is not None:
        await parts.generator.window_tokens()  # opens its clients: a quarter of a second that no question then waits
    staying = asyncio.create_task(_keep_engine(services))
    parts.runner = JobRunner(parts.jobs, config) if config is not None else None
    if schedule is not None:
        await asyncio.to_thread(schedule.start)
    yield
    staying.cancel()
    if parts.runner is not None:
        await parts.runner.stop()
    if schedule is not None:
        await asyncio.to_thread(schedule.stop)
    services.close()


async def _keep_engine(services: Services) -> None:
    """Ask something of the embedded engine before it would end: its start takes seconds that a question would wait."""
    while not services.settings.qdrant.url:
        await asyncio.sleep(services.settings.qdrant.engine_idle_s / 3)
        with suppress(Exception):  # a question tells what is wrong, or the next attempt finds it well again
            await services.searcher.in_thread(services.searching().info)

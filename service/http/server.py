"""`citewell serve`: one or several workers, and how they end."""

import asyncio
import contextlib
import gc
import ipaddress
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from rag.errors import ConfigError
from service.http.app import allowed_hosts, create_app
from service.http.edge import Drain
from service.http.protocol import GuardedProtocol
from service.settings.load import load_settings
from service.syncing.background.scheduled_sync import ScheduledSync
from service.telemetry.logs import configure_logs
from service.telemetry.tracing import configure_traces
from service.wiring import Services, build

_AFTER_GRACE_S = 3.0  # for the last events to leave, before connections are cut
_WORKER_CONFIG, _WORKER_HOST = "_CITEWELL_WORKER_CONFIG", "_CITEWELL_WORKER_HOST"


def run(config: Path, *, host: str = "", port: int | None = None, workers: int = 0) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError for an open address without authentication."""
    services = build(load_settings(config), config=config)
    server = services.settings.server
    host, port, workers = host or server.host, server.port if port is None else port, workers or server.workers
    _check_open(services, host)
    configure_logs(services.settings.telemetry.log_format)
    services.collection.current().index.prepare()  # what is wrong with it is told here, not at the first question
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "http": GuardedProtocol,
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": round(server.drain + server.grace + _AFTER_GRACE_S),
    }
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again after it has shut down
        if workers == 1:
            uvicorn.run(_worker_app(services, config, host, _schedule(services, config)), **options)
        else:
            _run_workers(services, config, workers, options)


def _run_workers(services: Services, config: Path, workers: int, options: dict[str, Any]) -> None:
    """Workers on one socket; schedules run here, once for all of them."""
    schedule = _schedule(services, config)
    with tempfile.TemporaryDirectory(prefix="citewell-metrics-") as folder:
        own = {_WORKER_CONFIG: str(config.resolve()), _WORKER_HOST: options["host"], "PROMETHEUS_MULTIPROC_DIR": folder}
        os.environ.update(own)
        schedule.start()
        try:
            options |= {"factory": True, "workers": workers, "timeout_worker_healthcheck": 30}
            uvicorn.run("service.http.server:worker", **options)
        finally:
            schedule.stop()
            services.close()


def worker() -> FastAPI:
    """The application of one of several workers; uvicorn calls it in each."""
    config = Path(os.environ[_WORKER_CONFIG])
    services = build(load_settings(config), config=config)
    configure_logs(services.settings.telemetry.log_format)
    return _worker_app(services, config, os.environ[_WORKER_HOST], None)


def _worker_app(services: Services, config: Path, host: str, schedule: ScheduledSync | None) -> FastAPI:
    configure_traces(services.settings.telemetry)
    server = services.settings.server
    hosts = allowed_hosts(host, server.allowed_hosts, is_loopback=_is_loopback(host))

    @contextlib.contextmanager
    def serving(drain: Drain) -> Iterator[None]:
        gc.collect()
        gc.freeze()  # what is loaded stays: to look through it again and again stops all answers for long
        with _drained_on_sigterm(drain, drain_s=server.drain, grace_s=server.grace):
            yield

    return create_app(services, schedule, config=config, hosts=hosts, serving=serving)


def _schedule(services: Services, config: Path) -> ScheduledSync:
    return ScheduledSync(services.settings, config, note_next=services.overview().set_next_run)


@contextlib.contextmanager
def _drained_on_sigterm(drain: Drain, *, drain_s: float, grace_s: float) -> Iterator[None]:
    """Tell at SIGTERM that the service is ending, take connections for drain_s more, and then let uvicorn end.

    uvicorn has put its own handlers in place before this runs, and takes them away after it.
    """
    loop = asyncio.get_running_loop()
    theirs = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        if not drain.begun:
            loop.call_soon_threadsafe(drain.begin, drain_s + grace_s)
        if callable(theirs):
            loop.call_soon_threadsafe(loop.call_later, drain_s, theirs, number, None)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, theirs)


def _check_open(services: Services, host: str) -> None:
    closed = services.settings.auth.oidc is not None or services.keys().any()
    if not _is_loopback(host) and not closed and not services.settings.server.allow_unauthenticated:
        raise ConfigError(
            f"Other machines can reach {host}, and no key has been created, so anyone could ask. Create one with "
            "`citewell keys create NAME`, configure [auth.oidc], or set server.allow_unauthenticated = true behind a "
            "proxy that authenticates."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""The application: what runs beside the requests, and under which names it answers."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI

from rag.errors import ConfigError, IndexUnavailable
from rag.fakes import ScriptedGenerator
from service.http.app import _running, allowed_hosts, create_app
from service.http.edge import Drain
from service.http.server import _check_open, _drained_on_sigterm, _is_loopback
from service.syncing.background.scheduled_sync import ScheduledSync
from service.wiring import Services
from tests.unit.service.background.conftest import Script, reported
from tests.unit.service.conftest import MemoryCollection, binding, services_of, settings_of
from tests.unit.service.http.conftest import Serve

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def test_on_a_loopback_address_only_this_machines_names_are_answered() -> None:
    assert allowed_hosts("127.0.0.1", (), is_loopback=True) == LOCAL
    assert allowed_hosts("127.0.0.9", (), is_loopback=True) == LOCAL | {"127.0.0.9"}


def test_elsewhere_any_name_is_unless_some_are_configured() -> None:
    assert allowed_hosts("0.0.0.0", (), is_loopback=False) is None
    assert allowed_hosts("0.0.0.0", ("Docs.Example",), is_loopback=False) == frozenset({"docs.example"})
    assert allowed_hosts("127.0.0.1", ("Docs.Example",), is_loopback=True) == frozenset({"docs.example"})


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.1.2.3", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.7", False), ("docs.example", False)],
)  # fmt: skip
def test_which_addresses_other_machines_do_not_reach(host: str, is_loopback: bool) -> None:
    assert _is_loopback(host) is is_loopback


def test_an_address_that_others_reach_needs_a_key_or_a_provider_or_a_proxy() -> None:
    _check_open(services_of(), "127.0.0.1")
    with pytest.raises(ConfigError, match="citewell keys create NAME"):
        _check_open(services_of(), "0.0.0.0")
    _check_open(services_of(settings_of(server={"allow_unauthenticated": True})), "0.0.0.0")
    oidc = {"issuer": "https://id.example", "audience": "citewell"}
    _check_open(services_of(settings_of(auth={"oidc": oidc})), "0.0.0.0")


class Life:
    """A service's life, and what was done in it."""

    def __init__(self, serve: Serve, services: Services, *, config: Path | None = None) -> None:
        self.script = Script(reported())
        self.parts = serve(services).parts
        self.schedule = ScheduledSync(
            services.settings, Path("c.toml"), note_next=lambda name, at: None, command=self.script
        )
        asyncio.run(self._live(services, config))

    async def _live(self, services: Services, config: Path | None) -> None:
        async with _running(services, self.parts, self.schedule, config):
            self.had_runner = self.parts.runner is not None
            self.was_scheduled = self.schedule._schedule._scheduler.running
        self.is_scheduled = self.schedule._schedule._scheduler.running


SERVED = settings_of(qdrant={"url": "http://qdrant:6333"})  # whose engine needs no keeping


def test_while_the_service_runs_there_are_jobs_and_schedules_and_what_it_answers_with_is_loaded(serve: Serve) -> None:
    services = services_of(SERVED, generator=ScriptedGenerator("x"))
    life = Life(serve, services, config=Path("c.toml"))
    assert (life.had_runner, life.was_scheduled, life.is_scheduled) == (True, True, False)
    assert services.counter.is_made
    with pytest.raises(RuntimeError):
        services.searches._pool.submit(print)


def test_without_a_file_there_are_no_jobs(serve: Serve) -> None:
    assert not Life(serve, services_of(SERVED)).had_runner


def test_a_service_starts_though_its_index_is_away(serve: Serve) -> None:
    away = binding(index=MemoryCollection(fails=IndexUnavailable("away")))
    assert Life(serve, services_of(SERVED, bound=away)).was_scheduled


def test_what_serves_is_entered_once_all_is_loaded_and_left_at_the_end() -> None:
    steps: list[str] = []
    services = services_of(SERVED)

    @contextmanager
    def serving(drain: Drain) -> Iterator[None]:
        steps.append(f"loaded: {services.counter.is_made}")
        yield
        steps.append("left")

    app: FastAPI = create_app(services, serving=serving)

    async def main() -> None:
        async with app.router.lifespan_context(app):
            steps.append("up")

    asyncio.run(main())
    assert steps == ["loaded: True", "up", "left"]


def test_at_sigterm_the_service_says_that_it_ends_and_then_does() -> None:
    ended: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))

    async def main() -> bool:
        drain = Drain()
        with _drained_on_sigterm(drain, drain_s=0.0, grace_s=5.0):
            os.kill(os.getpid(), signal.SIGTERM)
            while not (drain.begun and ended):
                await asyncio.sleep(0)
            first = drain.ends_at
            os.kill(os.getpid(), signal.SIGTERM)
            while len(ended) < 2:
                await asyncio.sleep(0)
            return drain.ends_at == first

    try:
        assert asyncio.run(main())
        assert signal.getsignal(signal.SIGTERM)(15, None) is None  # type: ignore[operator,misc]
        assert ended == [signal.SIGTERM] * 3
    finally:
        signal.signal(signal.SIGTERM, before)

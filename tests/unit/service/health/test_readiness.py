"""Whether questions can be answered now."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest

from rag.errors import IndexUnavailable
from rag.fakes import ScriptedGenerator
from service.collection import Collection
from service.health.readiness import Readiness
from tests.unit.service.conftest import MemoryCollection, binding, memory_of, services_of

pytestmark = pytest.mark.usefixtures(
    "languages"
)  # the first question loads them, which takes seconds on a busy machine


class Replicas(ScriptedGenerator):
    """found: by a replica's name what is wrong with it. asked_s: how long each check was given."""

    def __init__(self, found: Mapping[str, str] | Exception) -> None:
        super().__init__()
        self.found = found
        self.asked_s: list[float] = []

    async def check(self, longest_s: float = 20.0) -> Mapping[str, str]:
        self.asked_s.append(longest_s)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def readiness(*, index: MemoryCollection | None = None, generator: Replicas | None = None) -> Readiness:
    services = services_of(bound=binding(index=index or MemoryCollection()))
    return Readiness(services.searcher, generator, follow=services.collection.follow)


def found(made: Readiness) -> dict[str, Any]:
    return asyncio.run(made())


def test_it_is_ready_when_the_index_is_searched_though_it_is_empty() -> None:
    assert found(readiness()) == {"status": "ready", "index": "ok"}


def test_it_is_not_ready_without_the_index(caplog: pytest.LogCaptureFixture) -> None:
    away = readiness(index=MemoryCollection(fails=IndexUnavailable("10.0.0.7 is away")))
    assert found(away) == {"status": "not ready", "index": "failed"}
    assert "not ready: index: 10.0.0.7 is away" in caplog.text


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        ({"e0": ""}, {"status": "ready", "llm": "ok"}),
        ({"e0": "away"}, {"status": "not ready", "llm": "failed"}),
        ({"e0": "", "e1": "away"}, {"status": "ready", "llm": "ok", "engines": {"e0": "ok", "e1": "failed"}}),
        ({"e0": "away", "e1": "x"}, {"status": "not ready", "llm": "failed", "engines": {"e0": "failed", "e1": "failed"}}),
        (ValueError(), {"status": "not ready", "llm": "failed"}),
    ],
)  # fmt: skip
def test_one_replica_of_the_language_model_is_enough(replicas: Any, expected: dict[str, Any]) -> None:
    assert found(readiness(generator=Replicas(replicas))) == {"index": "ok"} | expected


def test_a_replica_has_five_seconds_to_write_a_token() -> None:
    generator = Replicas({"e0": ""})
    found(readiness(generator=generator))
    assert generator.asked_s == [5.0]


@pytest.mark.parametrize(("later_s", "searches"), [(4.9, 1), (5.0, 2)])
def test_what_was_found_holds_for_five_seconds(monkeypatch: pytest.MonkeyPatch, later_s: float, searches: int) -> None:
    now = 1000.0
    index = MemoryCollection()
    made = readiness(index=index)
    monkeypatch.setattr(time, "monotonic", lambda: now)

    async def main() -> None:
        nonlocal now
        await asyncio.gather(made(), made())
        now += later_s
        await made()

    asyncio.run(main())
    assert index.requests == ["query"] * searches


def test_a_re_index_is_followed_before_the_index_is_searched() -> None:
    old, new = binding(), binding()
    collection = Collection(lambda: old, lambda: new)
    collection.current()
    memory_of(old).leave()
    services = services_of(collection=collection)
    assert found(Readiness(services.searcher, None, follow=collection.follow))["status"] == "ready"
    assert (memory_of(old).requests, memory_of(new).requests) == ([], ["query"])

"""Each part is tried once at a time, and a late one holds up nobody."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rag.boundary.secrets import remember
from service.health.checks import Checks
from service.health.probes import InThread, Probe
from service.schemas import CheckOut

Run = Callable[[InThread], Awaitable[str]]


def checks(*runs: Run, longest_s: float = 5.0) -> Checks:
    probes = [Probe(kind="source", name=f"s{number}", run=run) for number, run in enumerate(runs)]
    return Checks(lambda sources: probes, most=4, longest_s=longest_s)


def ran(made: Checks) -> list[CheckOut]:
    return asyncio.run(made([]))


def counted(tries: list[int]) -> Run:
    """A part that is fine; tries: one for each try."""

    def tried() -> str:
        tries.append(1)
        return "fine"

    return blocking(tried)


def blocking(function: Callable[[], str]) -> Run:
    return lambda in_thread: in_thread(function)


def test_what_each_part_says_is_told() -> None:
    [check] = ran(checks(blocking(lambda: "fine")))
    assert (check.name, check.kind, check.ok, check.detail) == ("s0", "source", True, "fine")
    assert check.seconds >= 0


@pytest.mark.parametrize(
    ("wrong", "told"), [(ValueError("postgresql://u:hunter2@h/d is away"), "h/d is away"), (ValueError(), "ValueError")]
)
def test_what_is_wrong_is_told_without_secrets_and_the_others_are_tried(wrong: Exception, told: str) -> None:
    remember(["hunter2"])

    def fails() -> str:
        raise wrong

    first, second = ran(checks(blocking(fails), blocking(lambda: "fine")))
    assert (first.ok, second.ok) == (False, True)
    assert told in first.detail
    assert "hunter2" not in first.detail


def test_probes_are_those_of_the_sources_that_are_asked_for() -> None:
    asked: list[Any] = []

    def probes(sources: Any) -> list[Probe]:
        asked.append(list(sources))
        return []

    made = Checks(probes, most=1)
    assert asyncio.run(made(["docs"])) == []
    assert asked == [["docs"]]


def test_what_blocks_runs_in_threads_of_the_checks() -> None:
    [check] = ran(checks(blocking(lambda: threading.current_thread().name)))
    assert check.detail.startswith("check")


def test_all_who_ask_at_once_share_one_try() -> None:
    tries: list[int] = []
    made = checks(counted(tries))

    async def main() -> list[list[CheckOut]]:
        return await asyncio.gather(*(made([]) for _ in range(4)))

    assert {found.detail for [found] in asyncio.run(main())} == {"fine"}
    assert tries == [1]


@pytest.mark.parametrize(("later_s", "tried"), [(4.9, 1), (5.0, 2)])
def test_a_try_is_told_for_five_seconds(monkeypatch: pytest.MonkeyPatch, later_s: float, tried: int) -> None:
    now, tries = 1000.0, list[int]()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    made = checks(counted(tries))

    async def main() -> None:
        nonlocal now
        await made([])
        now += later_s
        await made([])

    asyncio.run(main())
    assert len(tries) == tried


def test_a_late_part_is_told_as_one_that_does_not_answer_and_is_not_tried_again_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_end, tries, begun = threading.Event(), list[int](), list[int]()
    later_s, clock = 0.0, time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + later_s)

    def late() -> str:
        tries.append(1)
        may_end.wait(5)
        return "at last"

    made = checks(blocking(late), blocking(lambda: "fine"), longest_s=0.01)

    async def main() -> list[bool]:
        nonlocal later_s
        seen = []
        for later_s in (0.0, 4.9, 9.8):  # noqa: B007 the clock
            seen += [check.ok for check in await made([])]
        begun.append(len(tries))
        may_end.set()
        await asyncio.gather(*(trying for _, trying in made._tries.values()))
        return [*seen, any(check.ok for check in await made([]))]

    assert asyncio.run(main()) == [False, True] * 3 + [True]
    assert begun == [1]

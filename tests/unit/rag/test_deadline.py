"""Deadlines over awaitables and streams."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator

import pytest

from rag.deadline import Deadline, until


async def numbers(closed: list[bool], *, hang_after: int) -> AsyncGenerator[int, None]:
    try:
        for number in range(5):
            if number == hang_after:
                await asyncio.sleep(60)
            yield number
    finally:
        closed.append(True)


def test_what_is_in_time_is_given() -> None:
    async def run() -> tuple[int, list[int], list[bool]]:
        closed: list[bool] = []
        one = await Deadline(5).wait(asyncio.sleep(0, 7))
        return one, [n async for n in until(numbers(closed, hang_after=9), lambda: math.inf)], closed

    assert asyncio.run(run()) == (7, [0, 1, 2, 3, 4], [True])


def test_a_stream_that_hangs_ends_with_the_deadline_and_is_closed() -> None:
    async def run() -> tuple[list[int], list[bool]]:
        closed: list[bool] = []
        seen: list[int] = []
        at = time.monotonic() + 0.05

        async def read() -> None:
            async for number in until(numbers(closed, hang_after=2), lambda: at):
                seen.append(number)

        with pytest.raises(TimeoutError):
            await read()
        return seen, closed

    assert asyncio.run(run()) == ([0, 1], [True])


def test_a_deadline_brought_forward_ends_what_waits() -> None:
    async def run() -> float:
        deadline, begun = Deadline(60), time.monotonic()
        asyncio.get_running_loop().call_later(0.02, lambda: deadline.bring_forward(time.monotonic()))
        with pytest.raises(TimeoutError):
            await deadline.wait(asyncio.sleep(60))
        return time.monotonic() - begun

    assert asyncio.run(run()) < 30


def test_a_task_that_is_cancelled_is_not_late() -> None:
    async def run() -> bool:
        closed: list[bool] = []
        waiting = asyncio.Event()

        async def read() -> None:
            async for _ in until(numbers(closed, hang_after=1), lambda: math.inf):
                waiting.set()

        task = asyncio.create_task(read())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return closed == [True]

    assert asyncio.run(run())


async def read(stream: AsyncGenerator[int, None], seen: list[int]) -> None:
    """Read a stream, with a rest after each item."""
    async for number in stream:
        seen.append(number)
        await asyncio.sleep(0)


async def turns(count: int) -> AsyncGenerator[int, None]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


def test_a_stream_that_waits_now_and_then_is_given_whole_in_time() -> None:
    async def run() -> list[int]:
        return [n async for n in until(turns(5), lambda: time.monotonic() + 60)]

    assert asyncio.run(run()) == [0, 1, 2, 3, 4]


def test_a_deadline_that_is_over_ends_a_stream_at_its_first_wait() -> None:
    async def run() -> list[int]:
        seen: list[int] = []
        with pytest.raises(TimeoutError):
            await read(until(turns(5), lambda: 0.0), seen)
        return seen

    assert asyncio.run(run()) == []


def test_the_time_of_whoever_reads_counts_too() -> None:
    async def run() -> tuple[list[int], list[bool]]:
        closed: list[bool] = []
        seen: list[int] = []
        with pytest.raises(TimeoutError):
            await read(until(numbers(closed, hang_after=9), lambda: 0.0), seen)
        return seen, closed

    assert asyncio.run(run()) == ([0], [True])


def test_a_deadline_is_only_ever_brought_forward() -> None:
    async def run() -> tuple[bool, bool]:
        deadline = Deadline(60)
        deadline.bring_forward(time.monotonic() + 120)
        stays = deadline.left_s <= 60
        deadline.bring_forward(time.monotonic() + 5)
        return stays, deadline.left_s <= 5

    assert asyncio.run(run()) == (True, True)


def test_a_deadline_that_is_over_gives_nothing_time() -> None:
    async def run() -> None:
        deadline = Deadline(0)
        await deadline.wait(asyncio.sleep(60))

    with pytest.raises(TimeoutError):
        asyncio.run(run())


def test_bringing_forward_what_has_ended_already_is_no_error() -> None:
    async def run() -> float:
        deadline = Deadline(60)
        await deadline.wait(asyncio.sleep(0))
        deadline.bring_forward(time.monotonic())
        return deadline.left_s

    assert asyncio.run(run()) <= 0

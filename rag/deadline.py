"""Deadlines: a time by which a request has ended, however slow what it waits for is."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


class Deadline:
    """The time, on time.monotonic()'s clock, by which a request has to end. It can be brought forward."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds
        self._waiting: asyncio.Timeout | None = None

    @property
    def left_s(self) -> float:
        return self.at - time.monotonic()

    def bring_forward(self, at: float) -> None:
        """End at `at` at the latest, also what is being waited for. Call it on the event loop."""
        self.at = min(self.at, at)
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(_loop_time(self.at))

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """The result of an awaitable. Raises TimeoutError, and cancels it, when the deadline comes first."""
        try:
            async with asyncio.timeout_at(_loop_time(self.at)) as self._waiting:
                return await awaitable
        finally:
            self._waiting = None


async def until(stream: AsyncGenerator[T, None], at: Callable[[], float]) -> AsyncGenerator[T, None]:
    """The stream's items until a time on time.monotonic()'s clock, asked for anew before each; then TimeoutError.

    The stream is closed either way.
    """
    async with aclosing(stream):
        while True:
            try:
                async with asyncio.timeout_at(_loop_time(at())):
                    item = await anext(stream)
            except StopAsyncIteration:
                return
            yield item


def _loop_time(at: float) -> float:
    return asyncio.get_running_loop().time() + at - time.monotonic()

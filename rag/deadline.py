"""Deadlines: a time by which a request has ended, however slow what it waits for is."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

T = TypeVar("T")
_LOOK_S = 0.25


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
    """The stream's items until a time on time.monotonic()'s clock, which may change meanwhile; then TimeoutError.

    The stream is closed either way. One timer watches over the whole stream, because one for each item would cost
    more than the item: a change of the time counts within _LOOK_S.
    """
    loop = asyncio.get_running_loop()
    waiting: asyncio.Task[Any] | None = None
    late = False
    timer: asyncio.Handle

    def look() -> None:
        nonlocal late, timer
        left_s = at() - time.monotonic()
        if left_s > 0:
            timer = loop.call_later(min(left_s, _LOOK_S), look)
            return
        late = True
        if waiting is not None:
            waiting.cancel()

    timer = loop.call_soon(look)
    try:
        async with aclosing(stream):
            while not late:
                waiting = asyncio.current_task()
                try:
                    item = await anext(stream)
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError:
                    if late and waiting is not None and waiting.uncancel() == 0:
                        break
                    raise
                finally:
                    waiting = None
                yield item
            raise TimeoutError
    finally:
        timer.cancel()


def _loop_time(at: float) -> float:
    return asyncio.get_running_loop().time() + at - time.monotonic()

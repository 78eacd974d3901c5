"""Threads for one kind of work each, so that what blocks there holds up nothing else."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A few threads, that are started as they are needed."""

    def __init__(self, name: str, most: int) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix=f"citewell-{name}")

    async def run(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """The result of a function, once a thread is free for it. A caller that goes does not end the function."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: context.run(function, *arguments, **options))

    @property
    def waiting(self) -> int:
        """How many calls no thread has taken yet."""
        return self._pool._work_queue.qsize()

    def close(self) -> None:
        """Take no more calls, and drop those that wait."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def in_own_thread(function: Callable[[], None]) -> asyncio.Future[None]:
    """Run what may take long in a thread that a process which ends does not wait for."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(err: Exception | None) -> None:
        if not ended.done():
            ended.set_result(None) if err is None else ended.set_exception(err)

    def work() -> None:
        failure: Exception | None = None
        try:
            function()
        except Exception as err:  # noqa: BLE001 it is raised to whoever waits
            failure = err
        with suppress(RuntimeError):  # the loop has been closed, and nobody waits
            loop.call_soon_threadsafe(tell, failure)

    threading.Thread(target=work, daemon=True).start()
    return ended

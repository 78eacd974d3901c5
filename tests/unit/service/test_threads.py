"""Threads for one kind of work."""

import asyncio
import contextvars
import subprocess
import sys
import threading

import pytest

from service.threads import Threads, in_own_thread

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="")


def test_a_function_runs_in_a_named_thread_with_its_callers_context() -> None:
    async def main() -> tuple[str, str]:
        NAME.set("request 7")
        return await Threads("search", 1).run(lambda: (threading.current_thread().name, NAME.get()))

    name, seen = asyncio.run(main())
    assert name.startswith("citewell-search")
    assert seen == "request 7"


def test_arguments_and_errors_go_through() -> None:
    threads = Threads("search", 1)
    assert asyncio.run(threads.run(sorted, [1, 3, 2], reverse=True)) == [3, 2, 1]
    with pytest.raises(ZeroDivisionError):
        asyncio.run(threads.run(lambda: 1 // 0))


def test_calls_that_no_thread_has_taken_are_counted_and_dropped_at_the_end() -> None:
    threads, begun, free = Threads("turns", 1), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        free.wait(5)

    async def main() -> list[object]:
        held = asyncio.ensure_future(threads.run(hold))
        await asyncio.to_thread(begun.wait, 5)
        late = [asyncio.ensure_future(threads.run(print)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting = threads.waiting
        threads.close()
        free.set()
        done = await asyncio.gather(held, *late, return_exceptions=True)
        return [waiting, *done]

    waiting, held, *late = asyncio.run(main())
    assert (waiting, held) == (2, None)
    assert all(isinstance(each, asyncio.CancelledError) for each in late)


def test_what_runs_in_a_thread_of_its_own_gives_its_end_and_its_error() -> None:
    seen: list[str] = []

    async def main() -> None:
        await in_own_thread(lambda: seen.append(threading.current_thread().name))
        with pytest.raises(ZeroDivisionError):
            await in_own_thread(lambda: print(1 // 0))

    asyncio.run(main())
    assert seen != [threading.current_thread().name]


def test_a_process_ends_though_a_thread_of_its_own_does_not() -> None:
    script = """
import asyncio, threading
from service.threads import in_own_thread

async def main():
    in_own_thread(threading.Event().wait)

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)

"""Threads of an ingest: a source is read ahead, batches are embedded behind and points written behind that, all
through bounded queues."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from rag.errors import RunStopped

T = TypeVar("T")
_POLL_S = 0.2


def read_ahead(items: Iterator[T], *, size: int, stop: threading.Event) -> Generator[T, None, None]:
    """Iterate in a thread of its own, at most `size` items ahead. Raises RunStopped soon after `stop` is set.

    The thread ends, and closes the iterator, when this generator is closed.
    """
    ahead: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=size)
    closed = threading.Event()

    def put(entry: tuple[str, Any]) -> bool:
        while not closed.is_set():
            try:
                ahead.put(entry, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for item in items:
                if not put(("item", item)):
                    return
            put(("end", None))
        except BaseException as err:  # noqa: BLE001 it is raised again where the items are used
            put(("error", err))
        finally:
            if hasattr(items, "close"):
                items.close()

    reader = threading.Thread(target=read, name="citewell-read", daemon=True)
    reader.start()
    try:
        while True:
            if stop.is_set():
                raise RunStopped(
                    "The run was stopped on request. What was committed stays; the next run goes on there."
                )
            try:
                kind, value = ahead.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        closed.set()
        reader.join(timeout=10)  # a database may be slow to answer; the thread ends when it does


class Behind:
    """Runs tasks one after another in a thread, at most `size` waiting. An error stops what comes after it.

    Any thread may use it.
    """

    def __init__(self, name: str, *, size: int) -> None:
        self._size = size
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[None], Set[str]]] = deque()
        self._failed = False

    def submit(self, task: Callable[[], None], *, about: Set[str] = frozenset()) -> None:
        """Queue a task, waiting for room. about: the documents that it writes. Raises what an earlier task raised."""
        while not self._queued(task, about):
            self._end_first()

    def _queued(self, task: Callable[[], None], about: Set[str]) -> bool:
        with self._lock:
            has_room = len(self._waiting) < self._size
            if has_room:
                self._waiting.append((self._pool.submit(self._run, task), about))
            return has_room

    def _run(self, task: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            task()
        except BaseException:
            self._failed = True
            raise

    def settle(self, documents: Set[str]) -> None:
        """Wait until no task waits that writes one of the documents. Raises what a task raised."""
        with self._lock:
            waits = any(not about.isdisjoint(documents) for _, about in self._waiting)
        if waits:
            self.drain()

    def drain(self) -> None:
        """Wait until nothing waits. Raises what a task raised."""
        while self._waiting:
            self._end_first()

    def _end_first(self) -> None:
        with self._lock:
            if not self._waiting:
                return
            first = self._waiting[0]
        try:
            first[0].result()
        finally:
            with self._lock:
                if self._waiting and self._waiting[0] is first:
                    self._waiting.popleft()

    def close(self) -> None:
        """Let the queued tasks finish and end the thread; their errors are dropped, so drain first."""
        self._pool.shutdown(wait=True)

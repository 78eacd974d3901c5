"""What keeps one caller from another's way: rates, requests at once, and the engine's queue."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
from limits import parse_many
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string
from starlette.exceptions import HTTPException

from rag.deadline import Deadline
from rag.errors import EngineBusy
from service.settings.sections import LimitSettings
from service.store.keys import Caller
from service.telemetry.metrics import Metrics
from service.vllm.metrics import engine_metrics
from service.vllm.routing import engine_name

_LOOK_S = 1.0
_SHARE = 4
_log = logging.getLogger("citewell")


class Limits:
    """Rates by a sliding window (the library limits), and requests at once by counting them in this worker."""

    def __init__(self, settings: LimitSettings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        options = {"implementation": "redispy"} if settings.storage.startswith("redis") else {}
        self._rates = SlidingWindowCounterRateLimiter(storage_from_string(f"async+{settings.storage}", **options))
        self._under_way: Counter[str] = Counter()
        self._all = 0

    async def check_rate(self, caller: Caller) -> None:
        """Count a request. Raises HTTPException (429) when it is one too many."""
        rate = caller.rights.rate or self._settings.rate
        for item in parse_many(rate) if rate else ():
            try:
                if await self._rates.hit(item, caller.name):
                    continue
                reset_at = (await self._rates.get_window_stats(item, caller.name)).reset_time
            except Exception as err:  # noqa: BLE001 any of the storage's own kinds
                _log.warning("rates cannot be counted in limits.storage, and are not limited: %s", type(err).__name__)
                return
            self._metrics.refused.labels("rate").inc()
            wait_s = max(1, math.ceil(reset_at - time.time()))
            raise HTTPException(429, f"More requests than {item} for this key.", headers={"Retry-After": str(wait_s)})

    @contextmanager
    def share(self, caller: Caller) -> Iterator[None]:
        """One of a caller's own requests at once. Raises HTTPException (429) for one too many."""
        most = caller.rights.concurrent or self._settings.concurrent or self._default_share(caller)
        if self._under_way[caller.name] >= most:
            self._metrics.refused.labels("concurrent").inc()
            raise HTTPException(429, f"This key has {most} requests under way already.", headers={"Retry-After": "1"})
        self._under_way[caller.name] += 1
        try:
            yield
        finally:
            self._under_way[caller.name] -= 1
            if not self._under_way[caller.name]:
                del self._under_way[caller.name]

    def _default_share(self, caller: Caller) -> float:
        """A quarter of all places, so that no key can take them from the others; no limit where there are no keys."""
        return max(1, self._settings.in_flight // _SHARE) if caller.subject else math.inf

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests of all. Raises HTTPException (503) when there is none."""
        if self._all >= self._settings.in_flight:
            self._metrics.refused.labels("in_flight").inc()
            raise HTTPException(503, "The service has all the requests that it takes.", headers={"Retry-After": "1"})
        self._all += 1
        try:
            yield
        finally:
            self._all -= 1


class Admission:
    """Refuses a question early where the engines' queues say that its answer would come too late.

    The queues are read from vLLM's /metrics, at most once a second and beside the questions; an engine that tells
    nothing refuses nobody.
    """

    def __init__(self, urls: Sequence[str], *, most_waiting: int, metrics: Metrics) -> None:
        self._urls, self._most, self._metrics = tuple(urls), most_waiting, metrics
        self._looked = -math.inf
        self._waiting = self._running = 0.0
        self._answer_s = 0.0
        self._look: asyncio.Task[None] | None = None
        self._client = httpx.AsyncClient(timeout=2)  # one for good: making one takes 20 ms

    def check(self, deadline: Deadline) -> None:
        """Raises EngineBusy for a question that would wait too long."""
        if self._urls and time.monotonic() - self._looked > _LOOK_S and (self._look is None or self._look.done()):
            self._looked = time.monotonic()
            self._look = asyncio.get_running_loop().create_task(self._read())
        wait_s = self._waiting / max(self._running, 1) * self._answer_s
        if self._waiting >= self._most or wait_s > deadline.left_s:
            self._metrics.refused.labels("queue").inc()
            raise EngineBusy(
                f"{self._waiting:.0f} questions wait for the language model already. Ask again a little later.",
                retry_after_s=min(max(wait_s, 1.0), 60.0),
            )

    def answered(self, seconds: float) -> None:
        """Note how long an answer took to write."""
        self._answer_s += 0.1 * (seconds - self._answer_s) if self._answer_s else seconds

    async def _read(self) -> None:
        figures = await asyncio.gather(*(engine_metrics(self._client, url) for url in self._urls))
        waiting = [each.get("num_requests_waiting", 0.0) for each in figures]
        for place, count in enumerate(waiting):
            self._metrics.waiting.labels(engine_name(place)).set(count)
        self._waiting = sum(waiting)
        self._running = sum(each.get("num_requests_running", 0.0) for each in figures)

"""What keeps one caller out of another's way: rates, and requests at once."""

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from limits import parse_many
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string
from starlette.exceptions import HTTPException

from service.settings.sections import LimitSettings
from service.store.keys import Caller
from service.telemetry.metrics import Metrics

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
            raise HTTPException(
                429, f"This key's limit of {most} concurrent requests is reached.", headers={"Retry-After": "1"}
            )
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
            raise HTTPException(503, "The service is at capacity.", headers={"Retry-After": "1"})
        self._all += 1
        try:
            yield
        finally:
            self._all -= 1

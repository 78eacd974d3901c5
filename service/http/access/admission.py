"""What keeps a question out of a queue that is too long for it."""

import asyncio
import math
import time
from collections.abc import Sequence

import httpx

from rag.deadline import Deadline
from rag.errors import EngineBusy
from rag.lazy import Lazy
from service.telemetry.metrics import Metrics
from service.vllm.metrics import engine_metrics
from service.vllm.routing import engine_name

_LOOK_S = 1.0


class Admission:
    """Refuses a question early where the engines' queues say that its answer would come too late.

    The queues are read from vLLM's /metrics, at most once a second and beside the questions; an engine that tells
    nothing refuses nobody.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        most_waiting: int,
        metrics: Metrics,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """transport: what requests are sent with; httpx's own, over the network, when left out."""
        self._urls, self._most, self._metrics = tuple(urls), most_waiting, metrics
        self._looked = -math.inf
        self._waiting = self._running = 0.0
        self._answer_s = 0.0
        self._look: asyncio.Task[None] | None = None
        self._client = Lazy(lambda: httpx.AsyncClient(timeout=2, transport=transport))  # one for good: it takes 20 ms

    def check(self, deadline: Deadline) -> None:
        """Raises EngineBusy for a question that would wait too long."""
        if self._urls and time.monotonic() - self._looked > _LOOK_S and (self._look is None or self._look.done()):
            self._looked = time.monotonic()
            self._look = asyncio.get_running_loop().create_task(self._read())
        wait_s = self._waiting / max(self._running, 1) * self._answer_s
        if self._waiting >= self._most or wait_s > deadline.left_s:
            self._metrics.refused.labels("queue").inc()
            raise EngineBusy(
                f"{self._waiting:.0f} questions are already waiting for the language model. Ask again shortly.",
                retry_after_s=min(max(wait_s, 1.0), 60.0),
            )

    def answered(self, seconds: float) -> None:
        """Note how long an answer took to write."""
        self._answer_s += 0.1 * (seconds - self._answer_s) if self._answer_s else seconds

    async def _read(self) -> None:
        figures = await asyncio.gather(*(engine_metrics(self._client(), url) for url in self._urls))
        waiting = [each.get("num_requests_waiting", 0.0) for each in figures]
        for place, count in enumerate(waiting):
            self._metrics.waiting.labels(engine_name(place)).set(count)
        self._waiting = sum(waiting)
        self._running = sum(each.get("num_requests_running", 0.0) for each in figures)

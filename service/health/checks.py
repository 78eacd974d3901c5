"""Tries what the service stands on, for operators."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from rag.boundary.secrets import masked
from service.health.probes import InThread, Probe
from service.schemas import CheckKind, CheckOut

_log = logging.getLogger("citewell")
_KEPT_S = 5.0


class Checks:
    """Each part is tried once at a time, for all who ask within a few seconds, in threads that questions do not need.

    probes: those of some sources and of all that sources share. most: how many of them can be under way at once. Make
    and use it on one event loop.
    """

    def __init__(
        self, probes: Callable[[Sequence[str]], Sequence[Probe]], *, most: int, longest_s: float = 5.0
    ) -> None:
        self._probes, self._longest_s = probes, longest_s
        self._threads = ThreadPoolExecutor(max_workers=most, thread_name_prefix="check")  # started as they are needed
        self._tries: dict[tuple[CheckKind, str], tuple[float, asyncio.Future[CheckOut]]] = {}

    async def __call__(self, sources: Sequence[str]) -> list[CheckOut]:
        """The checks of these sources and of all that sources share."""
        return list(await asyncio.gather(*(self._check(probe) for probe in self._probes(sources))))

    async def _check(self, probe: Probe) -> CheckOut:
        kind, name = probe.kind, probe.name
        begun, trying = self._tries.get((kind, name), (0.0, None))
        if trying is None or (trying.done() and time.monotonic() - begun >= _KEPT_S):
            begun, trying = time.monotonic(), asyncio.ensure_future(_tried(probe, self._in_thread))
            self._tries[kind, name] = begun, trying
        await asyncio.wait([trying], timeout=self._longest_s)
        if trying.done():
            return trying.result()
        waited_s = time.monotonic() - begun
        return CheckOut(name=name, kind=kind, ok=False, detail=f"No answer for {waited_s:.0f} s.", seconds=waited_s)

    async def _in_thread(self, function: Callable[[], str]) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


async def _tried(probe: Probe, in_thread: InThread) -> CheckOut:
    begun = time.monotonic()
    try:
        detail, ok = await probe.run(in_thread), True
    except Exception as err:  # noqa: BLE001 the parts' libraries raise what they like
        detail, ok = str(err) or type(err).__name__, False
        _log.warning("the check of %s failed: %s", probe.name, err)
    return CheckOut(name=probe.name, kind=probe.kind, ok=ok, detail=masked(detail), seconds=time.monotonic() - begun)

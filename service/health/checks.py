"""Tries what the service stands on, for operators: each source, the state store, the index, the models."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rag.boundary.secrets import masked
from rag.ports import Embedder
from service.knowledge_base import KnowledgeBase
from service.schemas import CheckKind, CheckOut
from service.vllm.client import all_answer

_log = logging.getLogger("citewell")
_KEPT_S = 5.0
_OTHERS = 3  # checks beside the sources' that need a thread

Probe = Callable[[], Awaitable[str]]


class Checks:
    """Each is tried once at a time, for all who ask within a few seconds, and in threads that questions do not need.

    Make and use it on one event loop.
    """

    def __init__(self, kb: KnowledgeBase, *, longest_s: float = 5.0) -> None:
        self._kb, self._longest_s = kb, longest_s
        self._threads: ThreadPoolExecutor | None = None
        self._tries: dict[tuple[CheckKind, str], tuple[float, asyncio.Future[CheckOut]]] = {}

    async def __call__(self, sources: Sequence[str]) -> list[CheckOut]:
        """The checks of these sources and of all that sources share."""
        generator = self._kb.generator
        probes: list[tuple[CheckKind, str, Probe]] = [("source", name, self._source(name)) for name in sources]
        probes += [
            ("state", "state store", self._in_thread(self._state)),
            ("index", "index", self._in_thread(self._index)),
            ("embedder", "embedder", self._in_thread(self._embedder)),
        ]
        if generator is not None:
            probes.append(("engine", "language model", partial(all_answer, generator)))
        return list(await asyncio.gather(*(self._check(*probe) for probe in probes)))

    async def _check(self, kind: CheckKind, name: str, probe: Probe) -> CheckOut:
        begun, trying = self._tries.get((kind, name), (0.0, None))
        if trying is None or (trying.done() and time.monotonic() - begun >= _KEPT_S):
            begun, trying = time.monotonic(), asyncio.ensure_future(_tried(kind, name, probe))
            self._tries[kind, name] = begun, trying
        await asyncio.wait([trying], timeout=self._longest_s)
        if trying.done():
            return trying.result()
        waited_s = time.monotonic() - begun
        return CheckOut(name=name, kind=kind, ok=False, detail=f"No answer for {waited_s:.0f} s.", seconds=waited_s)

    def _in_thread(self, function: Callable[[], str]) -> Probe:
        if self._threads is None:
            most = len(self._kb.settings.sources) + _OTHERS
            self._threads = ThreadPoolExecutor(max_workers=most, thread_name_prefix="check")
        loop, threads = asyncio.get_running_loop(), self._threads

        async def probe() -> str:
            return await loop.run_in_executor(threads, function)

        return probe

    def _source(self, name: str) -> Probe:
        return self._in_thread(lambda: str(self._kb.source(name).check()))

    def _state(self) -> str:
        self._kb.state.sources()
        return "it answers"

    def _index(self) -> str:
        self._kb.follow()
        self._kb.index.count()
        return "Qdrant server" if self._kb.settings.qdrant.url else "embedded engine"

    def _embedder(self) -> str:
        embedder: Embedder = self._kb.embedder
        embedder.embed(["probe"])
        return embedder.name


async def _tried(kind: CheckKind, name: str, probe: Probe) -> CheckOut:
    begun = time.monotonic()
    try:
        detail, ok = await probe(), True
    except Exception as err:  # noqa: BLE001 the parts' libraries raise what they like
        detail, ok = str(err) or type(err).__name__, False
        _log.warning("the check of %s failed: %s", name, err)
    return CheckOut(name=name, kind=kind, ok=ok, detail=masked(detail), seconds=time.monotonic() - begun)

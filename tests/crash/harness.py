"""Ends an ingest at each of its commit boundaries, runs it again, and compares the index with a clean run's.

A boundary is the moment before and after each call that writes to the state or to the index. Each run is a process of
its own, forked from a server that has everything imported; SIGKILL ends it, or its embedded engine, at the boundary.
"""

import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import httpx

from indexes.embedded.address import socket_path
from indexes.qdrant.connect import connect_embedded
from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.schema import Encoders
from indexes.sparse import Bm25Encoder
from rag.fakes import HashEmbedder
from rag.language.tokens import QwenTokenCounter
from rag.ports import Embedder, Source
from service.store.database import Database
from service.store.ledger.stored import StoredLedger
from service.store.vectors import EncoderMemory, Remembering, VectorCache
from service.syncing.run import SyncParts
from service.syncing.sync import Options, Report, ingest

DIM = 32
_PATIENCE_S = 600  # with one run
_WRITES = {
    "ledger": (
        "start_format",
        "commit",
        "remove",
        "listed",
        "read_anew",
        "forget_scopes",
        "drop_scope_notes",
        "set_generation",
        "finish",
    ),
    "index": ("upsert", "delete", "mark"),
}
Snapshot = dict[str, tuple[Any, Any]]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "tests.crash.harness", "tests.crash.data", "tests.conftest", "tests.crash.warm", "psycopg", "pymysql",
        "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.mysql",
    ]
)  # fmt: skip


class Connector(Source, Protocol):
    @property
    def name(self) -> str: ...


class FreeEmbedder(HashEmbedder):
    """Counts the texts that it embeds, across processes."""

    def __init__(self, counted: Any = None) -> None:
        super().__init__(dim=DIM)
        self._counted = counted

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Any:
        if self._counted is not None:
            self._counted.value += len(texts)
        return super().embed(texts)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One index and state to ingest a source into. engine: the embedded engine's folder, shared by all settings."""

    engine: Path
    source: Connector
    batch_documents: int
    folder: Path
    collection: str = field(default_factory=lambda: f"crash-{uuid.uuid4().hex[:10]}")

    @property
    def state_file(self) -> Path:
        return self.folder / f"{self.collection}.sqlite"

    def database(self) -> Database:
        return Database.open(f"sqlite:///{self.state_file}")

    def index(self) -> QdrantIndex:
        client = connect_embedded(self.engine)
        return QdrantIndex(
            client, alias=self.collection, encoders=Encoders(embedder="hash", dim=DIM, sparse=Bm25Encoder().name)
        )

    def parts(self, embedder: Embedder | None = None, *, database: Database | None = None) -> SyncParts:
        """An ingest over this state and index, with its vectors remembered."""
        cache = VectorCache(self.folder / f"{self.collection}.vectors", limit_bytes=64 << 20)
        memory = EncoderMemory(cache=cache, encoder="hash")
        return SyncParts(
            ledger=StoredLedger(database or self.database()),
            index=Remembering(self.index(), memory),
            memory=memory,
            embedder=embedder or FreeEmbedder(),
            sparse=Bm25Encoder(),
            counter=QwenTokenCounter(),
            max_tokens=256,
            mass_delete_share=0.2,
            batch_documents=self.batch_documents,
        )

    def anew(self) -> "Setting":
        return replace(self, collection=f"crash-{uuid.uuid4().hex[:10]}")

    def snapshot(self) -> Snapshot:
        """Payload and vectors of all points, by id."""
        client = connect_embedded(self.engine)
        found, offset = client.scroll(self.collection, limit=1000, with_payload=True, with_vectors=True)
        while offset is not None:
            more, offset = client.scroll(
                self.collection, limit=1000, offset=offset, with_payload=True, with_vectors=True
            )
            found += more
        points = [p for p in found if "source" in (p.payload or {})]  # the others are marks, which tell of runs
        return {str(p.id): (p.payload, _plain(p.vector)) for p in points}

    def drop(self) -> None:
        """Delete the collection: an engine that is killed has fewer to load."""
        client = connect_embedded(self.engine)
        client.delete_collection(f"{self.collection}-1")
        self.state_file.unlink()


def _plain(vectors: Any) -> dict[str, Any]:
    """A point's vectors by name, sparse ones as indices and values."""
    named = dict(vectors or {})
    return {name: v if isinstance(v, list) else (v.indices, v.values) for name, v in named.items()}


class _Boundaries:
    """Counts boundaries, and kills at the chosen one."""

    def __init__(self, counted: Any, kill_at: int, kill: Callable[[], None]) -> None:
        self._counted, self._kill_at, self._kill = counted, kill_at, kill

    def reach(self) -> None:
        self._counted.value += 1
        if self._counted.value == self._kill_at:
            self._kill()

    def around(self, target: Any, names: Sequence[str]) -> Any:
        return _Around(target, names, self)


class _Around:
    """An object whose named methods have a boundary before and after them."""

    def __init__(self, target: Any, names: Sequence[str], boundaries: _Boundaries) -> None:
        self._target, self._names, self._boundaries = target, names, boundaries

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in self._names:
            return found

        def call(*args: Any, **options: Any) -> Any:
            self._boundaries.reach()
            result = found(*args, **options)
            self._boundaries.reach()
            return result

        return call


def kill_engine(folder: Path) -> None:
    """SIGKILL to a folder's embedded engine, by its own process id."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path(folder)))) as client:
        pid = int(client.get("http://engine/").json()["pid"])
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(0.005)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run in a process of its own came to. boundaries: those that it reached; report: None when it was killed."""

    boundaries: int
    embedded: int
    report: Report | None
    error: str = ""


def run(setting: Setting, *, kill_at: int = 0, victim: str = "ingest", flags: Mapping[str, bool] | None = None) -> Run:
    """Ingest once in a process of its own, which (or whose engine) is killed at a boundary; 0: at none.

    flags: those of the run's Options that are set.
    """
    boundaries, embedded = _context.Value("i", 0), _context.Value("i", 0)
    receiver, sender = _context.Pipe(duplex=False)
    arguments = (setting, kill_at, victim, flags or {}, boundaries, embedded, sender)
    process = _context.Process(target=_ingest, args=arguments)
    process.start()
    sender.close()
    report, error = None, f"TimeoutError: the run did not end in {_PATIENCE_S} s"
    try:
        if receiver.poll(_PATIENCE_S):
            report, error = receiver.recv()
        else:
            process.kill()
    except EOFError:
        error = ""
    process.join()
    return Run(boundaries=boundaries.value, embedded=embedded.value, report=report, error=error)


def _ingest(
    setting: Setting,
    kill_at: int,
    victim: str,
    flags: Mapping[str, Any],
    boundaries: Any,
    embedded: Any,
    sender: Any,
) -> None:
    kill = (lambda: os.kill(os.getpid(), signal.SIGKILL)) if victim == "ingest" else lambda: kill_engine(setting.engine)
    counted = _Boundaries(boundaries, kill_at, kill)
    parts = setting.parts(FreeEmbedder(embedded))
    parts = replace(
        parts,
        ledger=counted.around(parts.ledger, _WRITES["ledger"]),
        index=counted.around(parts.index, _WRITES["index"]),
    )
    try:
        sender.send((ingest(parts, setting.source.name, setting.source, Options(**flags)), ""))
    except Exception as err:  # noqa: BLE001 the parent reports it
        sender.send((None, f"{type(err).__name__}: {err}"))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How an index differs from a clean run's: points that lack or differ; points of a document twice; others too many."""

    lost: int
    duplicate: int
    stale: int


def difference(clean: Snapshot, found: Snapshot) -> Difference:
    lost = sum(found.get(point) != value for point, value in clean.items())
    extra = [found[point][0] for point in found.keys() - clean.keys()]
    places = {(payload["document_id"], payload["ordinal"]) for payload, _ in clean.values()}
    duplicate = sum((payload["document_id"], payload["ordinal"]) in places for payload in extra)
    return Difference(lost=lost, duplicate=duplicate, stale=len(extra) - duplicate)


@dataclass(frozen=True, kw_only=True)
class Data:
    """A source that can be put into its first state and into its second one, always with the same content."""

    source: Connector
    first: Callable[[], None]
    second: Callable[[], None]


@dataclass(kw_only=True)
class Tally:
    """Sums over all crash points."""

    points: int = 0
    lost: int = 0
    duplicate: int = 0
    stale: int = 0
    errors: list[str] = field(default_factory=list)
    reembedded_batches: float = 0.0  # the most that a rerun embedded again, in batches

    def add(self, found: Difference) -> None:
        self.points += 1
        self.lost += found.lost
        self.duplicate += found.duplicate
        self.stale += found.stale


def crash_first_load(setting: Setting, data: Data, tally: Tally, *, victim: str = "ingest", every: int = 1) -> None:
    """Kill a first load at each boundary, and load again."""
    data.first()
    clean = setting.anew()
    whole = run(clean)
    expected = clean.snapshot()
    for kill_at in range(1, whole.boundaries + 1, every):
        here = setting.anew()
        killed = run(here, kill_at=kill_at, victim=victim)
        again = run(here)
        _judge(tally, f"first load, {victim} killed at {kill_at}", killed, again, victim)
        tally.add(difference(expected, here.snapshot()))
        here.drop()
        if victim == "ingest":
            batches = (killed.embedded + again.embedded - whole.embedded) / setting.batch_documents
            tally.reembedded_batches = max(tally.reembedded_batches, batches)


def crash_changes(setting: Setting, data: Data, tally: Tally, *, victim: str = "ingest", every: int = 1) -> None:
    """Kill a run over changed, deleted and new documents at each boundary, and run again."""
    data.first()
    clean = setting.anew()
    run(clean)
    data.second()
    whole = run(clean)
    expected = clean.snapshot()
    for kill_at in range(1, whole.boundaries + 1, every):
        here = setting.anew()
        data.first()
        run(here)
        data.second()
        killed = run(here, kill_at=kill_at, victim=victim)
        again = run(here)
        _judge(tally, f"changes, {victim} killed at {kill_at}", killed, again, victim)
        tally.add(difference(expected, here.snapshot()))
        here.drop()


def _judge(tally: Tally, where: str, killed: Run, again: Run, victim: str) -> None:
    if victim == "ingest" and killed.report is not None:
        tally.errors.append(f"{where}: the run was not killed")
    if victim == "engine" and killed.error:
        tally.errors.append(f"{where}: {killed.error}")
    if again.error:
        tally.errors.append(f"{where}, rerun: {again.error}")

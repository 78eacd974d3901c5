"""The collections of one data folder, held by qdrant-edge, with aliases. One process at a time, by file lock."""

import asyncio
import fcntl
import json
import os
import shutil
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qdrant_edge as qe
from qdrant_client import models as m

from indexes.embedded import translate

_MAX_JOURNAL_BYTES = 256 << 20
_QUIET_S = 5.0


class FolderLocked(RuntimeError):
    """Another process holds the folder."""


class NotFound(KeyError):
    """No collection of that name."""


@dataclass(slots=True, kw_only=True)
class _Copy:
    """A shard's copy that is being optimised, and what was written since it was made."""

    folder: Path
    points: int
    shard: qe.EdgeShard | None = None
    journal: deque[qe.UpdateOperation] = field(default_factory=deque)
    journal_bytes: int = 0


class Store:
    """Every write is flushed to disk before it returns (11 ms), so what was acknowledged survives a power cut.

    Not thread-safe, and not fork-safe: one thread of one fresh process uses it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = (folder / "lock").open("w")
        try:  # before any load: loading a folder that another process has loaded damages it
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            self._lock.close()
            raise FolderLocked(str(folder)) from err
        self._shards: dict[str, qe.EdgeShard] = {}
        self._meta: dict[str, dict[str, Any]] = {}
        self._copies: dict[str, _Copy] = {}
        self._given_up: dict[str, int] = {}
        self._last_write = 0.0
        self._writable = asyncio.Event()
        self._writable.set()
        self._aliases: dict[str, str] = _read_json(folder / "aliases.json")
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                self._load(path)

    def _load(self, path: Path) -> None:
        if not (path / "collection.json").exists():
            shutil.rmtree(path)  # its creation was cut short: nothing was ever stored in it
            return
        self._meta[path.name] = _read_json(path / "collection.json")
        current = self._current(path.name)
        for other in path.iterdir():
            if other.is_dir() and other.name != current["shard"]:
                shutil.rmtree(other)  # a copy whose optimising was cut short, or one that was replaced
        self._shards[path.name] = qe.EdgeShard.load(str(path / current["shard"]))

    def _current(self, name: str) -> dict[str, Any]:
        """Which folder holds a collection's shard, and how many points it had when it was optimised."""
        return {"shard": "shard", "optimised": 0} | _read_json(self._folder / name / "current.json")

    def close(self) -> None:
        for shard in self._shards.values():
            shard.flush()
            shard.close()
        self._shards.clear()
        self._lock.close()

    @property
    def collections(self) -> list[str]:
        return sorted(self._shards)

    @property
    def aliases(self) -> dict[str, str]:
        return dict(self._aliases)

    def exists(self, name: str) -> bool:
        return self._aliases.get(name, name) in self._shards

    def create(self, name: str, request: m.CreateCollection) -> None:
        if self.exists(name):
            raise FileExistsError(f"Collection `{name}` already exists!")
        if not name or name != os.path.basename(name) or name.startswith("."):
            raise translate.Unsupported(f"{name!r} is not a valid collection name.")
        path = self._folder / name
        path.mkdir()
        shard = qe.EdgeShard.create(str(path / "shard"), translate.config(request))
        shard.flush()
        meta = request.model_dump(mode="json", exclude_none=True)
        _write_json(path / "collection.json", meta)
        self._shards[name], self._meta[name] = shard, meta

    def delete_collection(self, name: str) -> bool:
        name = self._aliases.get(name, name)
        shard = self._shards.pop(name, None)
        if shard is None:
            return False
        self._meta.pop(name)
        self.end_copy(name)
        shard.close()
        (self._folder / name / "collection.json").unlink()
        shutil.rmtree(self._folder / name)
        self._set_aliases({alias: target for alias, target in self._aliases.items() if target != name})
        return True

    def update_aliases(self, changes: m.ChangeAliasesOperation) -> None:
        """Apply alias changes at once: all of them or none."""
        aliases = dict(self._aliases)
        for action in changes.actions:
            if isinstance(action, m.CreateAliasOperation):
                if action.create_alias.collection_name not in self._shards:
                    raise NotFound(action.create_alias.collection_name)
                aliases[action.create_alias.alias_name] = action.create_alias.collection_name
            elif isinstance(action, m.DeleteAliasOperation):
                aliases.pop(action.delete_alias.alias_name, None)
            else:
                raise translate.Unsupported("The embedded engine creates and deletes aliases only.")
        self._set_aliases(aliases)

    def _set_aliases(self, aliases: dict[str, str]) -> None:
        _write_json(self._folder / "aliases.json", aliases)
        self._aliases = aliases

    def info(self, name: str) -> tuple[dict[str, Any], int]:
        """A collection's creation request and its exact number of points."""
        return self._meta[self._resolve(name)], self.shard(name).count(qe.CountRequest(exact=True))

    def shard(self, name: str) -> qe.EdgeShard:
        return self._shards[self._resolve(name)]

    def _resolve(self, name: str) -> str:
        target = self._aliases.get(name, name)
        if target not in self._shards:
            raise NotFound(name)
        return target

    async def writable(self) -> None:
        """Wait while a shard is copied; searches need not."""
        await self._writable.wait()

    def update(self, name: str, operation: qe.UpdateOperation, *, size_bytes: int = 0) -> None:
        shard = self.shard(name)
        shard.update(operation)
        shard.flush()
        self._last_write = time.monotonic()
        if (copy := self._copies.get(self._resolve(name))) is not None:
            copy.journal.append(operation)
            copy.journal_bytes += size_bytes

    # Optimising: see indexes/embedded/upkeep.py.

    def due(self, points: int) -> list[str]:
        """Collections with so many points that no graph holds yet; while points come in, with half as many again."""
        is_quiet = time.monotonic() - self._last_write > _QUIET_S
        counts = {name: shard.count(qe.CountRequest(exact=False)) for name, shard in self._shards.items()}
        return [
            name
            for name, count in counts.items()
            if name not in self._copies and is_due(count, self._counted(name), at_least=points, is_quiet=is_quiet)
        ]

    def _counted(self, name: str) -> int:
        return max(self._given_up.get(name, 0), int(self._current(name)["optimised"]))

    @property
    def is_optimising(self) -> bool:
        return bool(self._copies)

    async def start_copy(self, name: str) -> Path:
        """Copy a collection's shard to a new folder; from here on, writes are kept to be repeated on it."""
        shard = self._shards[name]
        count = shard.count(qe.CountRequest(exact=True))
        folder = self._folder / name / f"shard-{uuid.uuid4().hex[:8]}"
        self._given_up[name] = count  # until it succeeds; it is tried again when the collection has grown
        self._writable.clear()
        try:
            shard.flush()
            await asyncio.to_thread(shutil.copytree, self._folder / name / self._current(name)["shard"], folder)
            self._copies[name] = _Copy(folder=folder, points=count)
        finally:
            self._writable.set()
        return folder

    def open_copy(self, name: str) -> bool:
        """Load the optimised copy. False when the collection is gone, or more was written than can be repeated."""
        copy = self._copies.get(name)
        if copy is None or copy.journal_bytes > _MAX_JOURNAL_BYTES:
            return False
        copy.shard = qe.EdgeShard.load(str(copy.folder))
        return True

    def catch_up(self, name: str, writes: int) -> Iterator[None]:
        """Repeat the kept writes on the copy, so many between two steps, until none is left."""
        while (copy := self._copies.get(name)) is not None and copy.shard is not None and copy.journal:
            for _ in range(min(writes, len(copy.journal))):
                copy.shard.update(copy.journal.popleft())
            yield

    def swap(self, name: str) -> None:
        """Put the copy in the shard's place. A crash leaves the one or the other, and either holds everything."""
        copy = self._copies.get(name)
        if copy is None or copy.shard is None:
            return
        copy.shard.flush()
        old = self._folder / name / self._current(name)["shard"]
        _write_json(self._folder / name / "current.json", {"shard": copy.folder.name, "optimised": copy.points})
        self._shards[name].close()
        self._shards[name], copy.shard = copy.shard, None
        shutil.rmtree(old)
        del self._copies[name]

    def end_copy(self, name: str) -> None:
        """Drop a copy that did not take the shard's place."""
        copy = self._copies.pop(name, None)
        if copy is not None:
            if copy.shard is not None:
                copy.shard.close()
            shutil.rmtree(copy.folder, ignore_errors=True)


def is_due(points: int, optimised: int, *, at_least: int, is_quiet: bool) -> bool:
    """Whether enough points are new since a collection was optimised; while it grows, half as many as it had then."""
    return points - optimised >= max(at_least, 0 if is_quiet else optimised // 2)


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    scratch = path.with_suffix(".tmp")
    with scratch.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)

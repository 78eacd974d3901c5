"""The collections of one data folder, held by qdrant-edge, with aliases. One process at a time, by file lock."""

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import qdrant_edge as qe
from qdrant_client import models as m

from indexes.engine import translate


class FolderLocked(RuntimeError):
    """Another process holds the folder."""


class NotFound(KeyError):
    """No collection of that name."""


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
        self._aliases: dict[str, str] = _read_json(folder / "aliases.json")
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                self._load(path)

    def _load(self, path: Path) -> None:
        if not (path / "collection.json").exists():
            shutil.rmtree(path)  # its creation was cut short: nothing was ever stored in it
            return
        self._meta[path.name] = _read_json(path / "collection.json")
        self._shards[path.name] = qe.EdgeShard.load(str(path / "shard"))

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
            raise translate.Unsupported(f"{name!r} cannot be a collection's name.")
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

    def update(self, name: str, operation: qe.UpdateOperation) -> None:
        shard = self.shard(name)
        shard.update(operation)
        shard.flush()


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

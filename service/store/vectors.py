"""Vectors of texts that were embedded before, so that none is made twice: not after a re-index and back, and not when
a text comes back under another id, in another source, or in a new index.

They lie in a file of their own, which may be deleted at any time, and go with the last chunk that holds their text.
"""

import hashlib
import logging
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rag.chunking import dense_text
from rag.documents import Chunk, Point
from rag.ports import PointStore, VectorMemory

_log = logging.getLogger("citewell")
_PAGE = 500
_EVICTED = 0.1  # of the vectors, when there is no more room
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB NOT NULL, used INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS vectors_used ON vectors (used);
CREATE TABLE IF NOT EXISTS chunks (
    chunk BLOB, encoder BLOB, text BLOB NOT NULL REFERENCES vectors ON DELETE CASCADE, PRIMARY KEY (chunk, encoder)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunks_text ON chunks (text);
CREATE TABLE IF NOT EXISTS clock (tick INTEGER NOT NULL);
"""


class VectorCache:
    """A bounded cache of vectors by encoder and text. What fails is logged, and costs no more than the embedding.

    path: its file, made when it is first needed; limit_bytes: its size, at which those used longest ago go.
    """

    def __init__(self, path: Path, *, limit_bytes: int) -> None:
        self._path, self._limit = path, limit_bytes
        self._lock = threading.Lock()
        self._opened: sqlite3.Connection | None = None
        self._failed = False

    def find(self, encoder: str, texts: Sequence[str]) -> dict[str, list[float]]:
        """Those of the texts that an encoder has embedded, with their vectors."""
        found: dict[str, list[float]] = {}
        with self._transaction() as connection:
            if connection is None:
                return {}
            names = {_name(encoder, text): text for text in texts}
            tick = _tick(connection)
            for page in _pages(list(names)):
                marks = ",".join("?" * len(page))
                rows = connection.execute(f"SELECT text, vector FROM vectors WHERE text IN ({marks})", page).fetchall()  # noqa: S608
                found |= {names[name]: np.frombuffer(vector, np.float32).tolist() for name, vector in rows}
                connection.executemany("UPDATE vectors SET used = ? WHERE text = ?", [(tick, name) for name, _ in rows])
        return found

    def keep(self, encoder: str, points: Sequence[Point]) -> None:
        """Remember the vectors of points; what their chunks held before is forgotten."""
        with self._transaction() as connection:
            if connection is None:
                return
            short, tick = _short(encoder), _tick(connection)
            made = [(_id(p.chunk.id), _name(encoder, dense_text(p.chunk)), p.dense) for p in points]
            before = _texts_of(connection, [chunk for chunk, _, _ in made], short)
            connection.executemany(
                "INSERT INTO vectors VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET vector = excluded.vector, used = excluded.used",
                [(name, np.asarray(vector, np.float32).tobytes(), tick) for _, name, vector in made],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?)", [(chunk, short, name) for chunk, name, _ in made]
            )
            _drop_unused(connection, before)
            self._evict(connection)

    def forget(self, ids: Sequence[str]) -> None:
        """Forget chunks, and the vectors of texts that no other chunk holds."""
        if not self._path.exists():
            return
        with self._transaction() as connection:
            if connection is None:
                return
            chunks = list(map(_id, ids))
            texts = _texts_of(connection, chunks)
            connection.executemany("DELETE FROM chunks WHERE chunk = ?", [(chunk,) for chunk in chunks])
            _drop_unused(connection, texts)

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection | None]:
        """A transaction; None where there can be none."""
        with self._lock:
            try:
                connection = self._connection()
                connection.execute("BEGIN IMMEDIATE")
            except (sqlite3.Error, OSError) as err:
                self._tell(err)
                yield None
                return
            try:
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error as err:
                with closing(connection):
                    self._opened = None
                self._delete_if_broken(err)
                self._tell(err)
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    def _connection(self) -> sqlite3.Connection:
        if self._opened is None:
            try:
                self._opened = _open(self._path)
            except sqlite3.DatabaseError as err:
                if not self._delete_if_broken(err):
                    raise
                self._opened = _open(self._path)
        return self._opened

    def _delete_if_broken(self, err: sqlite3.Error) -> bool:
        """Delete the file unless it may be whole: locked, or on a full disk."""
        is_broken = isinstance(err, sqlite3.DatabaseError) and not isinstance(err, sqlite3.OperationalError)
        if is_broken:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        return is_broken

    def _tell(self, err: Exception) -> None:
        if not self._failed:
            _log.warning("The cache of vectors, %s, cannot be used: %s. Texts are embedded anew.", self._path, err)
        self._failed = True

    def _evict(self, connection: sqlite3.Connection) -> None:
        size, pages, free = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        if size * (pages - free) > self._limit:
            count = connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
            most = max(int(count * _EVICTED), 1)
            connection.execute(
                "DELETE FROM vectors WHERE text IN (SELECT text FROM vectors ORDER BY used LIMIT ?)", (most,)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderMemory:
    """The part of a cache that is one encoder's. encoder: all that its vectors depend on."""

    cache: VectorCache
    encoder: str

    def find(self, texts: Sequence[str]) -> dict[str, list[float]]:
        return self.cache.find(self.encoder, texts)

    def keep(self, points: Sequence[Point]) -> None:
        self.cache.keep(self.encoder, points)

    def forget(self, ids: Sequence[str]) -> None:
        self.cache.forget(ids)


class Remembering:
    """A point store whose points' vectors are remembered, and forgotten as they are deleted.

    keeps: whether what is stored is the memory's embedder's own.
    """

    def __init__(self, store: PointStore, memory: VectorMemory, *, keeps: Callable[[], bool] = lambda: True) -> None:
        self._store, self._memory, self._keeps = store, memory, keeps

    def upsert(self, points: Sequence[Point]) -> None:
        self._store.upsert(points)
        if self._keeps():
            self._memory.keep(points)

    def delete(self, ids: Sequence[str]) -> None:
        self._store.delete(ids)
        self._memory.forget(ids)

    def embedded(self, ids: Sequence[str]) -> dict[str, list[float]]:
        return self._store.embedded(ids)

    def versions(self, ids: Sequence[str]) -> dict[str, str]:
        return self._store.versions(ids)

    def chunks(self, ids: Sequence[str]) -> list[Chunk]:
        return self._store.chunks(ids)

    def count(self, *, source: str = "") -> int:
        return self._store.count(source=source)

    def pages(self, source: str) -> Iterator[dict[str, str]]:
        return self._store.pages(source)

    def mark(self, source: str, generation: str) -> None:
        self._store.mark(source, generation)

    def marked(self, source: str) -> str:
        return self._store.marked(source)


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # vectors tell something of their texts
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.executescript(_SCHEMA)
    return connection


def _tick(connection: sqlite3.Connection) -> int:
    """The number of this use of the cache."""
    tick = 1 + (connection.execute("SELECT max(tick) FROM clock").fetchone()[0] or 0)
    connection.execute("DELETE FROM clock")
    connection.execute("INSERT INTO clock VALUES (?)", (tick,))
    return int(tick)


def _texts_of(connection: sqlite3.Connection, chunks: Sequence[bytes], encoder: bytes | None = None) -> set[bytes]:
    """What chunks hold, as one encoder or every one has embedded it."""
    found: set[bytes] = set()
    for page in _pages(chunks):
        query = f"SELECT text FROM chunks WHERE chunk IN ({','.join('?' * len(page))})"  # noqa: S608
        rows = connection.execute(
            f"{query} AND encoder = ?" if encoder else query, [*page, *([encoder] if encoder else [])]
        )
        found |= {text for (text,) in rows}
    return found


def _drop_unused(connection: sqlite3.Connection, texts: set[bytes]) -> None:
    connection.executemany(
        "DELETE FROM vectors WHERE text = ?1 AND NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.text = ?1)",
        [(text,) for text in texts],
    )


def _pages(items: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (items[start : start + _PAGE] for start in range(0, len(items), _PAGE))


def _short(encoder: str) -> bytes:
    return hashlib.sha256(encoder.encode()).digest()[:8]


def _name(encoder: str, text: str) -> bytes:
    return hashlib.sha256(_short(encoder) + text.encode("utf-8", "surrogatepass")).digest()


def _id(chunk: str) -> bytes:
    return uuid.UUID(chunk).bytes

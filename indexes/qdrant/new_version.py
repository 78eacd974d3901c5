"""Builds a new version of a collection beside the old one, with other encoders, from the old one's own points.

The chunks keep their ids, so the state of the sources stays as it is. A build that was broken off goes on where it
stopped: what the new version has already is not made again.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from qdrant_client import QdrantClient, models

from indexes.qdrant.filter import any_source
from indexes.qdrant.payload import as_batch, chunk_of, mark_id
from indexes.qdrant.schema import Encoders, Sharding, create, end_bulk, point_alias, recorded, target_of, versions_of
from rag.chunking import dense_text, lexical_text
from rag.documents import Point
from rag.ports import Embedder, SparseEncoder, VectorMemory

_PAGE = 512


class NewVersion:
    """A collection that is being built to replace the one that an alias stands for."""

    def __init__(self, client: QdrantClient, alias: str, encoders: Encoders, layout: Sharding) -> None:
        self._client, self._alias = client, alias
        self._old = target_of(client, alias)
        versions = versions_of(client, alias)
        current = next((number for number, name in versions.items() if name == self._old), 0)
        self.removed = [name for number, name in versions.items() if number < current]
        self._name = f"{alias}-{current + 1}"
        self.is_needed = bool(self._old) and dict(recorded(client, self._old)) != encoders.recorded
        for number, name in versions.items():
            if number > current and (not self.is_needed or dict(recorded(client, name)) != encoders.recorded):
                self.removed.append(name)  # begun for other encoders
        for name in self.removed:
            client.delete_collection(name)
        if self.is_needed:
            create(client, self._name, encoders, layout, bulk=True)
            before = recorded(client, self._old)
            self._keeps_vectors = before.get("embedder") == encoders.embedder and before.get("dim") == encoders.dim

    def counts(self) -> tuple[int, int]:
        """Exact numbers of points of the old version and of the new one."""
        old, new = (self._client.count(n, any_source(), exact=True).count for n in (self._old, self._name))
        return old, new

    def catch_up(self, embedder: Embedder, sparse: SparseEncoder, memory: VectorMemory | None = None) -> Iterator[int]:
        """Copy what the new version lacks and delete what the old one lost; yields how many points each page copied."""
        for points in self._pages(self._old):
            have = self._versions([str(point.id) for point in points])
            missing = [p for p in points if have.get(str(p.id)) != (p.payload or {})["version"]]
            yield self._copy(missing, embedder, sparse, memory)
        for points in self._pages(self._name):
            ids = [str(point.id) for point in points]
            there = {str(p.id) for p in self._client.retrieve(self._old, ids, with_payload=False)}
            if gone := [point_id for point_id in ids if point_id not in there]:
                self._client.delete(self._name, models.PointIdsList(points=list(gone)), wait=True)

    def _pages(self, name: str) -> Iterator[Sequence[Any]]:
        offset: Any = None
        while True:
            points, offset = self._client.scroll(
                name, any_source(), limit=_PAGE, offset=offset, with_payload=["version"]
            )
            yield points
            if offset is None:
                return

    def _versions(self, ids: list[str]) -> dict[str, str]:
        found = self._client.retrieve(self._name, ids, with_payload=["version"])
        return {str(point.id): (point.payload or {})["version"] for point in found}

    def _copy(
        self, points: Sequence[Any], embedder: Embedder, sparse: SparseEncoder, memory: VectorMemory | None
    ) -> int:
        if not points:
            return 0
        with_vectors = ["dense"] if self._keeps_vectors else False
        whole = self._client.retrieve(self._old, [p.id for p in points], with_payload=True, with_vectors=with_vectors)
        chunks = [chunk_of(str(point.id), point.payload or {}) for point in whole]
        texts = [dense_text(chunk) for chunk in chunks]
        if self._keeps_vectors:
            vectors: Any = [point.vector for point in whole]
            dense = [vector["dense"] for vector in vectors]
        else:
            dense = _embedded(texts, embedder, memory)
        terms = sparse.encode([lexical_text(chunk) for chunk in chunks])
        made = [Point(chunk=c, dense=d, sparse=s) for c, d, s in zip(chunks, dense, terms, strict=True)]
        self._client.upsert(self._name, as_batch(made), wait=True)
        if memory is not None:
            memory.keep(made)
        return len(made)

    def sample_found(self, embedder: Embedder, sparse: SparseEncoder, *, size: int) -> tuple[int, int, int, int]:
        """How many of some chunks are among the ten best for their own text.

        Returns the size of the sample, and how many are found: by words in the old version, by words in the new one, by
        meaning in the new one. A chunk with the same text counts as well.
        """
        points, _ = self._client.scroll(self._old, any_source(), limit=size, with_payload=["text"])
        texts = [(point.payload or {})["text"] for point in points]
        encoded = sparse.encode(texts, query=True)
        words = [models.SparseVector(indices=list(v.indices), values=list(v.values)) for v in encoded]
        meanings = embedder.embed(texts, query=True).tolist()
        by_words = [self._found(name, "bm25", words, texts) for name in (self._old, self._name)]
        return len(texts), by_words[0], by_words[1], self._found(self._name, "dense", meanings, texts)

    def _found(self, name: str, using: str, vectors: Sequence[Any], texts: Sequence[str]) -> int:
        found = 0
        for vector, text in zip(vectors, texts, strict=True):
            asked = models.QueryRequest(query=vector, using=using, limit=10, with_payload=["text"])
            best = self._client.query_batch_points(name, [asked])[0].points
            found += any((point.payload or {})["text"] == text for point in best)
        return found

    def swap(self, sources: Sequence[str]) -> None:
        """Let the alias stand for the new version, with the sources' marks, and remove the old one."""
        marks = self._client.retrieve(self._old, [mark_id(source) for source in sources], with_payload=True)
        if marks:
            points = [models.PointStruct(id=mark.id, vector={}, payload=mark.payload) for mark in marks]
            self._client.upsert(self._name, points, wait=True)
        end_bulk(self._client, self._name)
        point_alias(self._client, self._alias, self._name)
        self._client.delete_collection(self._old)


def _embedded(texts: Sequence[str], embedder: Embedder, memory: VectorMemory | None) -> list[list[float]]:
    """Vectors of texts; those that were embedded before are not made again."""
    found = {} if memory is None else memory.find(texts)
    if new := [text for text in texts if text not in found]:
        found |= dict(zip(new, embedder.embed(new).tolist(), strict=True))
    return [found[text] for text in texts]


def drop_unused(client: QdrantClient, alias: str) -> list[str]:
    """Delete all versions but the one that the alias stands for. Returns their names."""
    current = target_of(client, alias)
    unused = [name for name in versions_of(client, alias).values() if name != current]
    for name in unused:
        client.delete_collection(name)
    return unused

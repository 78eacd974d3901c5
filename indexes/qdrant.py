"""The index in Qdrant: a server, a cluster, or the embedded engine, all through qdrant-client."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from indexes.engine.launch import EngineTransport
from indexes.qdrant_filter import access, held, scope_filter, stored
from rag.chunking import embedded_text
from rag.errors import IndexMismatch, IndexUnavailable
from rag.fusion import DENSE_WEIGHT, DEPTH, fuse
from rag.ports import Scope
from rag.types import Chunk, Document, Hit, Point, SparseVector

_PAGE = 1000
_FORMAT = 2  # of the payload; a change asks for a re-index
_KEYWORDS = ("source", "document_id", "scope", "access", "kind", "tags")
_ENCODERS = ("embedder", "dim", "sparse", "format")
_TIMEOUT_S = 60
# What int8 finds is scored again with the original vectors: recall@10 1.0 against .96 to .99 without.
_RESCORED = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0))
_EXACT = models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """What made a collection's vectors: recorded with it, so that two models never mix."""

    embedder: str
    dim: int
    sparse: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a new collection is laid out on a server; None leaves it to the server."""

    shard_number: int | None = None
    replication_factor: int | None = None
    write_consistency_factor: int | None = None
    on_disk: bool = True


def connect_server(
    url: str, *, api_key: str = "", prefer_grpc: bool = False, timeout_s: float = _TIMEOUT_S
) -> QdrantClient:
    """A client for a Qdrant server or cluster; https in the URL is TLS."""
    return QdrantClient(
        url=url, api_key=api_key or None, prefer_grpc=prefer_grpc, timeout=int(timeout_s), check_compatibility=False
    )


def connect_embedded(folder: Path, *, idle_s: float = 60.0) -> QdrantClient:
    """A client for a folder's embedded engine, which is started on the first request."""
    transport = EngineTransport(folder, idle_s=idle_s)
    return QdrantClient(
        url="http://embedded", port=80, timeout=_TIMEOUT_S, check_compatibility=False, transport=transport
    )


class QdrantIndex:
    """One knowledge base's collection, behind an alias, so that a re-index can swap it.

    Raises IndexUnavailable when Qdrant does not answer, IndexMismatch when another embedder built the collection.
    """

    def __init__(
        self,
        client: QdrantClient,
        *,
        alias: str,
        encoders: Encoders,
        dense_weight: float = DENSE_WEIGHT,
        layout: Layout = Layout(),
    ) -> None:
        self._client = client
        self._alias = alias
        self._dense_weight = dense_weight
        self._encoders = {**asdict(encoders), "format": _FORMAT}
        self._layout = layout
        self._ready = False
        self._preparing = threading.Lock()

    def prepare(self) -> None:
        """Create the collection when there is none; check that these encoders built it when there is one."""
        with self._preparing:
            if not self._ready:
                self._call(self._prepare)
                self._ready = True

    def _prepare(self) -> None:
        if self._client.collection_exists(self._alias):
            self._check()
            return
        name = f"{self._alias}-1"
        self._create(name)
        create = models.CreateAlias(collection_name=name, alias_name=self._alias)
        self._client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])

    def _create(self, name: str) -> None:
        """Create a collection with its payload indexes; another process may be doing the same, or have died over it."""
        dim = int(str(self._encoders["dim"]))
        try:
            self._client.create_collection(
                name,
                vectors_config={"dense": _dense(dim, on_disk=self._layout.on_disk)},
                sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
                metadata=self._encoders,
                on_disk_payload=self._layout.on_disk,
                shard_number=self._layout.shard_number,
                replication_factor=self._layout.replication_factor,
                write_consistency_factor=self._layout.write_consistency_factor,
            )
        except (UnexpectedResponse, ValueError):
            if not self._client.collection_exists(name):
                raise
        tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        self._client.create_payload_index(name, "tenant", field_schema=tenant)
        for field in _KEYWORDS:
            self._client.create_payload_index(name, field, field_schema=models.PayloadSchemaType.KEYWORD)
        self._client.create_payload_index(name, "updated_at", field_schema=models.PayloadSchemaType.INTEGER)

    def _check(self) -> None:
        stored = self._client.get_collection(self._alias).config.metadata or {}
        different = {key for key, value in self._encoders.items() if stored.get(key) != value}
        if different:
            raise IndexMismatch(
                f"Collection {self._alias!r} was built by {_described(stored)}, but the configuration gives "
                f"{_described(self._encoders)}.\nSet [embedder] back, or remove the data folder (or set another "
                "qdrant.collection) and run `citewell ingest --full`."
            )

    def weighted(self, dense_weight: float | None) -> "QdrantIndex":
        """The same collection with another weight for the dense list; None leaves it as it is."""
        if dense_weight is None:
            return self
        other = copy(self)
        other._dense_weight = dense_weight
        return other

    def drop(self) -> None:
        """Delete the collection and its alias."""
        self._ready = False
        self._call(lambda: self._client.delete_collection(self.collection))

    @property
    def collection(self) -> str:
        """The collection that the alias stands for; the alias itself when there is none."""
        found = self._call(lambda: self._client.get_aliases().aliases)
        return next((a.collection_name for a in found if a.alias_name == self._alias), self._alias)

    def upsert(self, points: Sequence[Point]) -> None:
        """Store points; they are durable and findable when this returns."""
        self.prepare()
        # By columns: the client checks and writes a batch three times as fast as a list of points.
        made = models.Batch(
            ids=[p.chunk.id for p in points],
            vectors={
                "dense": [p.dense for p in points],
                "bm25": [
                    models.SparseVector(indices=list(p.sparse.indices), values=list(p.sparse.values)) for p in points
                ],
            },
            payloads=[_payload(p.chunk) for p in points],
        )
        self._call(lambda: self._client.upsert(self._alias, made, wait=True))

    def delete(self, ids: Sequence[str]) -> None:
        self.prepare()
        selector = models.PointIdsList(points=list(ids))
        self._call(lambda: self._client.delete(self._alias, selector, wait=True))

    def embedded(self, ids: Sequence[str]) -> dict[str, list[float]]:
        """Stored dense vectors by the text that was embedded (`Chunk.embedded_text`), so that none is made twice."""
        self.prepare()
        fields = ["text", "context"]
        found: dict[str, list[float]] = {}
        for start in range(0, len(ids), _PAGE):
            part = list(ids[start : start + _PAGE])
            for p in self._call(
                lambda part=part: self._client.retrieve(self._alias, part, with_vectors=["dense"], with_payload=fields)  # type: ignore[misc]
            ):
                vectors: Any = p.vector
                payload = p.payload or {}
                found[embedded_text(payload.get("context") or "", payload["text"])] = list(vectors["dense"])
        return found

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are stored."""
        self.prepare()
        found = self._call(lambda: self._client.retrieve(self._alias, list(ids), with_payload=False))
        return {str(point.id) for point in found}

    def count(self, *, source: str = "") -> int:
        """The exact number of points, of one source or of all."""
        self.prepare()
        only = _of_source(source) if source else None
        return self._call(lambda: self._client.count(self._alias, count_filter=only, exact=True).count)

    def pages(self, source: str) -> Iterator[dict[str, str]]:
        """All points of a source, a page at a time, as point id and document id."""
        self.prepare()
        offset: Any = None
        while True:
            points, offset = self._call(
                lambda offset=offset: self._client.scroll(  # type: ignore[misc]
                    self._alias, _of_source(source), limit=_PAGE, offset=offset, with_payload=["document_id"]
                )
            )
            yield {str(point.id): (point.payload or {})["document_id"] for point in points}
            if offset is None:
                return

    def query(self, dense: Sequence[float], sparse: SparseVector, *, scope: Scope, limit: int) -> list[Hit]:
        """Dense and sparse search, fused (rag/fusion.py), best first.

        The first request gives both lists, the second what the best hits hold, and how alike those are to the question
        that were found by their words alone.
        """
        self.prepare()
        condition = scope_filter(scope)
        depth = max(DEPTH, limit)
        near = models.QueryRequest(
            query=[float(x) for x in dense], using="dense", limit=depth, filter=condition, params=_RESCORED
        )
        searches = [near]
        if sparse.indices:
            terms = models.SparseVector(indices=list(sparse.indices), values=list(sparse.values))
            searches.append(models.QueryRequest(query=terms, using="bm25", limit=depth, filter=condition))
        lists = [
            _scores(answer) for answer in self._call(lambda: self._client.query_batch_points(self._alias, searches))
        ]
        words = lists[1] if len(lists) > 1 else {}
        best = dict(fuse(lists[0], words, dense_weight=self._dense_weight)[:limit])
        if not best:
            return []
        only = models.Filter(must=[models.HasIdCondition(has_id=list(best)), condition])
        again = near.model_copy(update={"filter": only, "limit": len(best), "with_payload": True, "params": _EXACT})
        points = self._call(lambda: self._client.query_batch_points(self._alias, [again]))[0].points
        found = {str(point.id): point for point in points}
        return [
            _hit(point_id, score, found[point_id].payload or {}, _each(found[point_id].score, words.get(point_id)))
            for point_id, score in best.items()
            if point_id in found  # one that was deleted between the two requests is gone
        ]

    def _call(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except (ApiException, QdrantException, httpx.HTTPError, OSError) as err:
            cause = getattr(err, "source", None)
            if isinstance(cause, IndexUnavailable):  # from the embedded engine's start, wrapped by the client
                raise cause from err
            reason = " ".join(str(err).split()) or type(err).__name__
            raise IndexUnavailable(
                f"Qdrant failed: {reason[:300]}\n"
                "Check qdrant.url and qdrant.api_key, or leave them empty for the embedded engine."
            ) from err


def _described(encoders: dict[str, Any]) -> str:
    return "{embedder} ({dim}-d) with {sparse}, format {format}".format_map({**dict.fromkeys(_ENCODERS), **encoders})


def _dense(dim: int, *, on_disk: bool = True) -> models.VectorParams:
    """int8 in memory once the collection has a graph, the originals on disk or in memory."""
    int8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    return models.VectorParams(
        size=dim,
        distance=models.Distance.COSINE,
        on_disk=on_disk,
        quantization_config=models.ScalarQuantization(scalar=int8),
    )


def _scores(answer: Any) -> dict[str, float]:
    return {str(point.id): float(point.score) for point in answer.points}


def _each(dense: float, sparse: float | None) -> dict[str, float]:
    return {"dense": dense} | ({} if sparse is None else {"bm25": sparse})


def _of_source(source: str) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="source", match=models.MatchValue(value=source))])


def _payload(chunk: Chunk) -> dict[str, Any]:
    document = chunk.document
    return {
        "tenant": document.tenant,
        "source": document.source,
        "document_id": document.id,
        "scope": document.scope,
        "kind": document.kind,
        "access": access(document.tenant, document.acl),
        "acl": list(document.acl),
        "tags": list(document.tags),
        "metadata": {name: stored(value) for name, value in document.metadata.items()},
        "title": document.title,
        "uri": document.uri,
        "version": document.version,
        "updated_at": document.updated_at,
        "primary_key": json.dumps(document.primary_key, ensure_ascii=False)
        if document.primary_key is not None
        else None,
        "ordinal": chunk.ordinal,
        "text": chunk.text,
        "context": chunk.context,
        "start": chunk.start,
        "end": chunk.end,
        "page": chunk.page,
    }


def _hit(point_id: str, score: float, payload: dict[str, Any], scores: dict[str, float]) -> Hit:
    key = payload.get("primary_key")
    document = Document(
        id=payload["document_id"],
        source=payload["source"],
        title=payload["title"],
        text="",
        uri=payload["uri"],
        scope=payload["scope"],
        kind=payload["kind"],
        primary_key=json.loads(key) if key is not None else None,
        updated_at=payload.get("updated_at"),
        tenant=payload["tenant"],
        acl=tuple(payload["acl"]),
        tags=tuple(payload["tags"]),
        metadata={name: held(value) for name, value in payload["metadata"].items()},
        version=payload["version"],
    )
    chunk = Chunk(
        id=point_id,
        document=document,
        ordinal=payload["ordinal"],
        text=payload["text"],
        start=payload["start"],
        end=payload["end"],
        page=payload.get("page"),
        context=payload.get("context") or "",
    )
    return Hit(chunk=chunk, score=score, scores=scores)

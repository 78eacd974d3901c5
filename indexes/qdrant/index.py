"""The index in Qdrant: a server, a cluster, or the embedded engine, all through qdrant-client."""

import threading
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any, TypeVar

import httpx
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from indexes.qdrant.filter import any_source, of_source, scope_filter
from indexes.qdrant.payload import MARK, as_batch, chunk_of, mark_id
from indexes.qdrant.schema import Encoders, Sharding, check, create, point_alias, target_of
from rag.chunking import dense_text
from rag.documents import Chunk, Hit, Point, SparseVector
from rag.errors import IndexMoved, IndexUnavailable
from rag.ports import Scope
from rag.retrieval.fusion import DENSE_WEIGHT, DEPTH, fuse

_PAGE = 1000
# What int8 finds is scored again with the original vectors: recall@10 1.0 against .96 to .99 without.
_RESCORED = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0))
_EXACT = models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))

T = TypeVar("T")


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
        layout: Sharding = Sharding(),
        searcher: QdrantClient | None = None,
    ) -> None:
        """searcher: a client with less patience, for what a question waits for."""
        self._client = client
        self._searcher = searcher or client
        self._alias = alias
        self._dense_weight = dense_weight
        self._encoders = encoders
        self._layout = layout
        self._collection = ""
        self._is_own = True
        self._preparing = threading.Lock()

    def prepare(self) -> None:
        """Create the collection when there is none; check that these encoders built it when there is one.

        From here on this object stays with that collection, whatever the alias comes to stand for.
        """
        with self._preparing:
            if not self._collection:
                self._collection = self._call(self._prepared)

    def _prepared(self) -> str:
        name = target_of(self._client, self._alias)
        if not name:
            name = f"{self._alias}-1"
            create(self._client, name, self._encoders, self._layout)
            point_alias(self._client, self._alias, name)
        self._is_own = check(self._client, name, self._encoders)
        return name

    @property
    def is_own(self) -> bool:
        """Whether these very encoders built the collection, and not an older form of them."""
        self.prepare()
        return self._is_own

    @property
    def is_current(self) -> bool:
        """Whether the alias still stands for the collection that this object is with."""
        return not self._collection or self._call(lambda: target_of(self._client, self._alias)) == self._collection

    def weighted(self, dense_weight: float | None) -> "QdrantIndex":
        """The same collection with another weight for the dense list; None leaves it as it is."""
        if dense_weight is None:
            return self
        other = copy(self)
        other._dense_weight = dense_weight
        return other

    def drop(self) -> None:
        """Delete the collection and its alias."""
        self.prepare()
        self._call(lambda: self._client.delete_collection(self._collection))

    def upsert(self, points: Sequence[Point]) -> None:
        """Store points; they are durable and findable when this returns."""
        self.prepare()
        self._call(lambda: self._client.upsert(self._collection, as_batch(points), wait=True))

    def delete(self, ids: Sequence[str]) -> None:
        self.prepare()
        selector = models.PointIdsList(points=list(ids))
        self._call(lambda: self._client.delete(self._collection, selector, wait=True))

    def embedded(self, ids: Sequence[str]) -> dict[str, list[float]]:
        """Stored dense vectors by the text that was embedded (rag/chunking.py), so that none is made twice."""
        self.prepare()
        found: dict[str, list[float]] = {}
        for part in _paged(ids):
            for point in self._retrieve(part, with_vectors=["dense"]):
                found[dense_text(chunk_of(str(point.id), point.payload or {}))] = list(point.vector["dense"])
        return found

    def versions(self, ids: Sequence[str]) -> dict[str, str]:
        """Those of the ids that are stored, each with the version of its document."""
        self.prepare()
        found = self._retrieve(ids, with_payload=["version"])
        return {str(point.id): str((point.payload or {})["version"]) for point in found}

    def chunks(self, ids: Sequence[str]) -> list[Chunk]:
        """Stored chunks; their documents have everything but the full text."""
        self.prepare()
        return [chunk_of(str(point.id), point.payload or {}) for point in self._retrieve(ids)]

    def visible(self, ids: Sequence[str], scope: Scope) -> set[str]:
        """Those of the ids that are stored and lie in a scope."""
        self.prepare()
        found: set[str] = set()
        for part in _paged(ids):
            condition = models.HasIdCondition(has_id=list(part))
            points, _ = self._scroll(self._searcher, models.Filter(must=[condition, scope_filter(scope)]))
            found |= {str(point.id) for point in points}
        return found

    def count(self, *, source: str = "") -> int:
        """The exact number of points, of one source or of all."""
        self.prepare()
        only = of_source(source) if source else any_source()
        return self._call(lambda: self._client.count(self._collection, count_filter=only, exact=True).count)

    def mark(self, source: str, generation: str) -> None:
        """Note beside a source's points which commit they are as of, so that an older copy shows its age."""
        self.prepare()
        point = models.PointStruct(id=mark_id(source), vector={}, payload={MARK: generation})
        self._call(lambda: self._client.upsert(self._collection, [point], wait=True))

    def marked(self, source: str) -> str:
        """What `mark` noted last; empty when nothing was."""
        self.prepare()
        found = self._retrieve([mark_id(source)], with_payload=[MARK])
        return str((found[0].payload or {})[MARK]) if found else ""

    def pages(self, source: str) -> Iterator[dict[str, str]]:
        """All points of a source, a page at a time, as point id and document id."""
        self.prepare()
        offset: Any = None
        while True:
            points, offset = self._scroll(self._client, of_source(source), offset=offset, with_payload=["document_id"])
            yield {str(point.id): (point.payload or {})["document_id"] for point in points}
            if offset is None:
                return

    def query(self, dense: Sequence[float], sparse: SparseVector, *, scope: Scope, limit: int) -> list[Hit]:
        """Dense and sparse search, fused (rag/retrieval/fusion.py), best first.

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
        answers = self._call(lambda: self._searcher.query_batch_points(self._collection, searches))
        lists = [_scores(answer) for answer in answers]
        words = lists[1] if len(lists) > 1 else {}
        best = dict(fuse(lists[0], words, dense_weight=self._dense_weight)[:limit])
        if not best:
            return []
        only = models.Filter(must=[models.HasIdCondition(has_id=list(best)), condition])
        again = near.model_copy(update={"filter": only, "limit": len(best), "with_payload": True, "params": _EXACT})
        points = self._call(lambda: self._searcher.query_batch_points(self._collection, [again]))[0].points
        found = {str(point.id): point for point in points}
        return [
            Hit(
                chunk=chunk_of(point_id, found[point_id].payload or {}),
                score=score,
                scores=_each(found[point_id].score, words.get(point_id)),
            )
            for point_id, score in best.items()
            if point_id in found  # one that was deleted between the two requests is gone
        ]

    def _retrieve(self, ids: Sequence[str], *, with_payload: Any = True, with_vectors: Any = False) -> list[Any]:
        return self._call(
            lambda: self._client.retrieve(
                self._collection, list(ids), with_payload=with_payload, with_vectors=with_vectors
            )
        )

    def _scroll(
        self, client: QdrantClient, only: models.Filter, *, offset: Any = None, with_payload: Any = False
    ) -> tuple[list[Any], Any]:
        """A page of points that pass a filter, and where the next one begins; None after the last."""
        return self._call(
            lambda: client.scroll(self._collection, only, limit=_PAGE, offset=offset, with_payload=with_payload)
        )

    def _call(self, request: Callable[[], T]) -> T:
        try:
            return answered(request)
        except IndexUnavailable as err:
            cause = err.__cause__
            if isinstance(cause, UnexpectedResponse) and cause.status_code == 404 and not self.is_current:
                raise IndexMoved(
                    f"Collection {self._collection!r} was replaced by a re-index. Open the knowledge base again."
                ) from cause
            raise


def answered(request: Callable[[], T]) -> T:
    """What Qdrant answers a request. Raises IndexUnavailable, saying what to check, for whatever the client raises."""
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


def _paged(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Ids in lists of at most a page."""
    return (ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE))


def _scores(answer: Any) -> dict[str, float]:
    return {str(point.id): float(point.score) for point in answer.points}


def _each(dense: float, sparse: float | None) -> dict[str, float]:
    return {"dense": dense} | ({} if sparse is None else {"bm25": sparse})

"""An index in memory."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from rag.chunking import dense_text
from rag.documents import Chunk, Document, Hit, Point, SparseVector
from rag.filters import matches
from rag.ports import NOBODY, PUBLIC, Identity, Scope
from rag.retrieval.fusion import DENSE_WEIGHT, DEPTH, fuse

_PAGE = 1000


class MemoryIndex:
    """Points in a dictionary, compared one by one: exact, and as Qdrant scores them (cosine; BM25 with its idf).

    before: called with the name of each request ('upsert', 'query' …); what it raises, the request raises.
    Threads may share it.
    """

    def __init__(
        self, *, dense_weight: float = DENSE_WEIGHT, before: Callable[[str], None] = lambda request: None
    ) -> None:
        self._dense_weight = dense_weight
        self._before = before
        self._points: dict[str, Point] = {}
        self._marks: dict[str, str] = {}

    def upsert(self, points: Sequence[Point]) -> None:
        self._before("upsert")
        self._points |= {point.chunk.id: _stored(point) for point in points}

    def delete(self, ids: Sequence[str]) -> None:
        self._before("delete")
        for point_id in ids:
            self._points.pop(point_id, None)

    def embedded(self, ids: Sequence[str]) -> dict[str, list[float]]:
        self._before("embedded")
        return {dense_text(p.chunk): list(p.dense) for p in self._held(ids)}

    def versions(self, ids: Sequence[str]) -> dict[str, str]:
        self._before("versions")
        return {point.chunk.id: point.chunk.document.version for point in self._held(ids)}

    def chunks(self, ids: Sequence[str]) -> list[Chunk]:
        self._before("chunks")
        return [point.chunk for point in self._held(ids)]

    def count(self, *, source: str = "") -> int:
        self._before("count")
        return sum(source in ("", point.chunk.document.source) for point in self._all())

    def pages(self, source: str) -> Iterator[dict[str, str]]:
        self._before("pages")
        found = [(p.chunk.id, p.chunk.document.id) for p in self._all() if p.chunk.document.source == source]
        for start in range(0, len(found), _PAGE):
            yield dict(found[start : start + _PAGE])

    def mark(self, source: str, generation: str) -> None:
        self._before("mark")
        self._marks[source] = generation

    def marked(self, source: str) -> str:
        self._before("marked")
        return self._marks.get(source, "")

    def visible(self, ids: Sequence[str], scope: Scope) -> set[str]:
        self._before("visible")
        return {point.chunk.id for point in self._held(ids) if _in_scope(point.chunk, scope)}

    def query(self, dense: Sequence[float], sparse: SparseVector, *, scope: Scope, limit: int) -> list[Hit]:
        self._before("query")
        everything = self._all()
        found = {point.chunk.id: point for point in everything if _in_scope(point.chunk, scope)}
        depth = max(DEPTH, limit)
        cosines = {name: float(np.dot(dense, point.dense)) for name, point in found.items()}
        asked = _idf(sparse, everything)
        words = {name: score for name, point in found.items() if (score := _overlap(asked, point.sparse))}
        best = fuse(_best(cosines, depth), _best(words, depth), dense_weight=self._dense_weight)[:limit]
        return [Hit(chunk=found[name].chunk, score=score, scores=_each(name, cosines, words)) for name, score in best]

    def _all(self) -> list[Point]:
        return list(self._points.values())

    def _held(self, ids: Sequence[str]) -> list[Point]:
        return [self._points[point_id] for point_id in dict.fromkeys(ids) if point_id in self._points]


def _stored(point: Point) -> Point:
    """A point without its document's full text, which stays in the source."""
    document = replace(point.chunk.document, text="", sections=(), key_text="")
    return replace(point, chunk=replace(point.chunk, document=document))


def _in_scope(chunk: Chunk, scope: Scope) -> bool:
    document = chunk.document
    if scope.sources and document.source not in scope.sources:
        return False
    if scope.where is not None and not matches(scope.where, document, chunk.page):
        return False
    return _may_see(scope.identity, document)


def _may_see(identity: Identity, document: Document) -> bool:
    groups = {PUBLIC, *identity.groups} - {NOBODY}
    return document.tenant == identity.tenant and not groups.isdisjoint(document.acl or (PUBLIC,))


def _idf(query: SparseVector, points: Sequence[Point]) -> dict[int, float]:
    """A query's terms with their weights times ln(1 + (N - n + 0.5) / (n + 0.5)), which Qdrant multiplies in."""
    held = Counter(term for point in points for term in point.sparse.indices)
    return {
        term: weight * math.log(1 + (len(points) - held[term] + 0.5) / (held[term] + 0.5))
        for term, weight in zip(query.indices, query.values, strict=True)
    }


def _overlap(asked: dict[int, float], held: SparseVector) -> float:
    return sum(asked[term] * value for term, value in zip(held.indices, held.values, strict=True) if term in asked)


def _best(scores: dict[str, float], depth: int) -> dict[str, float]:
    return dict(sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))[:depth])


def _each(name: str, cosines: dict[str, float], words: dict[str, float]) -> dict[str, float]:
    return {"dense": cosines[name]} | ({"bm25": words[name]} if name in words else {})

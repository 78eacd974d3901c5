"""From a question to passages: hybrid search, rerank, neighbours joined, near-duplicates dropped."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rag.documents import Hit, Passage
from rag.language.terms import term_set
from rag.ports import Embedder, Reranker, Scope, Searchable, SparseEncoder
from rag.retrieval.labels import label_passages

_NEAR_DUPLICATE = 0.95
_IN_A_ROW, _HALF = 3, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranking:
    """A reranker, how many hits it gets, and how long it may take."""

    reranker: Reranker
    top: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retriever:
    """The parts of a search, wired. per_document: the most chunks of one document among the hits."""

    embedder: Embedder
    sparse: SparseEncoder
    index: Searchable
    reranking: Reranking | None = None
    per_document: int = 8

    def hits(self, question: str, *, scope: Scope, limit: int, expansion: str = "") -> list[Hit]:
        """Chunks for a question, best first. expansion: synonyms to search for as well."""
        query = f"{question} {expansion}".strip()
        dense = self.embedder.embed([query], query=True)[0].tolist()
        sparse = self.sparse.encode([query], query=True)[0]
        found = self.index.query(dense, sparse, scope=scope, limit=limit)
        if self.reranking is not None:
            top, rest = found[: self.reranking.top], found[self.reranking.top :]
            ranked = self.reranking.reranker.rank(question, top, timeout_s=self.reranking.timeout_s) if top else []
            found = [*ranked, *rest]
        return _spread(_at_most(self.per_document, found))


def _at_most(per_document: int, hits: Sequence[Hit]) -> list[Hit]:
    """The hits without the worst ones of documents that have more than their share."""
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for hit in hits:
        document = (hit.chunk.document.source, hit.chunk.document.id)
        seen[document] += 1
        if seen[document] <= per_document:
            kept.append(hit)
    return kept


def _spread(hits: Sequence[Hit]) -> list[Hit]:
    """The hits in an order in which one table's rows do not hide another's.

    Rows that only link others (what is near a sight, which track is on which list) repeat the name that was asked for
    and nothing else, by the dozen. After three rows of one table, the best row of another comes first, where it is at
    least half as good.
    """
    waiting, placed = list(hits), list[Hit]()
    while waiting:
        last = {_table(hit) for hit in placed[-_IN_A_ROW:]}
        turn = 0
        if len(placed) >= _IN_A_ROW and len(last) == 1 and None not in last and _table(waiting[0]) in last:
            enough = _HALF * waiting[0].score
            turn = next((i for i, hit in enumerate(waiting) if _table(hit) not in last and hit.score >= enough), 0)
        placed.append(waiting.pop(turn))
    return placed


def _table(hit: Hit) -> tuple[str, str] | None:
    document = hit.chunk.document
    return (document.source, document.scope) if document.kind == "row" else None


def to_passages(hits: Sequence[Hit], *, taken: Collection[str] = ()) -> list[Passage]:
    """Join hits that touch in their document, drop near-duplicates, and give each passage its label.

    Passages come in the order of their best hit. taken: labels of other passages in the same conversation.
    """
    groups: list[list[Hit]] = []
    for hit in hits:
        touching = [group for group in groups if any(_touch(hit, other) for other in group)]
        joined = [hit, *(other for group in touching for other in group)]
        if touching:
            groups[groups.index(touching[0])] = joined
            groups = [group for group in groups if group not in touching[1:]]
        else:
            groups.append(joined)
    return label_passages(_without_duplicates([_join(group) for group in groups]), taken=taken)


def _touch(a: Hit, b: Hit) -> bool:
    if a.chunk.document.source != b.chunk.document.source or a.chunk.document.id != b.chunk.document.id:
        return False
    if a.chunk.page != b.chunk.page or a.chunk.context != b.chunk.context:
        return False
    return a.chunk.end == b.chunk.start or b.chunk.end == a.chunk.start


def _join(group: list[Hit]) -> Passage:
    ordered = sorted(group, key=lambda hit: hit.chunk.start)
    best = max(group, key=lambda hit: hit.score)
    scores: dict[str, float] = {}
    for hit in group:
        for name, value in hit.scores.items():
            scores[name] = max(value, scores.get(name, value))
    return Passage(
        label="",
        document=best.chunk.document,
        text="".join(hit.chunk.text for hit in ordered),
        start=ordered[0].chunk.start,
        end=ordered[-1].chunk.end,
        page=best.chunk.page,
        context=best.chunk.context,
        score=best.score,
        scores=scores,
        tokens=best.chunk.tokens if len(group) == 1 else 0,
        chunk_ids=tuple(hit.chunk.id for hit in ordered),
    )


def _without_duplicates(passages: list[Passage]) -> list[Passage]:
    """Drop a file passage that repeats a better one; rows are kept, because each is a fact of its own."""
    kept: list[tuple[Passage, frozenset[str]]] = []
    for passage in passages:
        if passage.document.kind == "row":
            kept.append((passage, frozenset()))
            continue
        bag = term_set(passage.text)
        repeats = any(
            other.document.kind == "file" and len(bag & seen) >= _NEAR_DUPLICATE * max(len(bag | seen), 1)
            for other, seen in kept
        )
        if not repeats:
            kept.append((passage, bag))
    return [passage for passage, _ in kept]

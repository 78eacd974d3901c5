"""A reranker without a model."""

from collections.abc import Sequence
from dataclasses import replace

from rag.chunking import dense_text
from rag.documents import Hit
from rag.language.terms import term_set


class OverlapReranker:
    """Ranks by the share of the question's terms that a chunk holds; equal ones stay in the order given."""

    def rank(self, question: str, hits: Sequence[Hit], *, timeout_s: float) -> list[Hit]:
        """The same hits, best first; in the order given when there is no time."""
        if timeout_s <= 0:
            return list(hits)
        asked = term_set(question)
        ranked = [_rescored(hit, asked) for hit in hits]
        return sorted(ranked, key=lambda hit: -hit.score)


def _rescored(hit: Hit, asked: frozenset[str]) -> Hit:
    held = term_set(dense_text(hit.chunk))
    score = len(asked & held) / max(len(asked), 1)
    return replace(hit, score=score, scores={**hit.scores, "fused": hit.score, "rerank": score})

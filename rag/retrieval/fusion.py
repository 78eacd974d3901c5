"""Fusion of the two retrievers' lists.

Scores are joined, not ranks: the convex combination of min-max scaled scores (Bruch, Gai and Ingber 2023, An Analysis
of Fusion Functions for Hybrid Retrieval, https://arxiv.org/abs/2210.11934). Reciprocal
ranks lose up to .07 nDCG@10 to the better list where the other one is weak; this does not (docs/benchmarks.md).
"""

from collections.abc import Mapping

DENSE_WEIGHT = 0.45
DEPTH = 100  # of each list: its last score is where the scale begins


def fuse(
    dense: Mapping[str, float], sparse: Mapping[str, float], *, dense_weight: float = DENSE_WEIGHT
) -> list[tuple[str, float]]:
    """Join two lists of scores by id, best first, each with its joined score of 0 to 1.

    Equal scores keep the order of their ids, so that the same lists always give the same order.
    """
    joined: dict[str, float] = {}
    rest = 0.0 if len(sparse) < DEPTH else None  # a short list ends because nothing else shares a word
    for scaled, weight in ((_scaled(dense), dense_weight), (_scaled(sparse, low=rest), 1 - dense_weight)):
        for found, score in scaled.items():
            joined[found] = joined.get(found, 0.0) + weight * score
    return sorted(joined.items(), key=lambda entry: (-entry[1], entry[0]))


def _scaled(scores: Mapping[str, float], *, low: float | None = None) -> dict[str, float]:
    """Scores as shares of the way from low (their lowest) to the highest; all 1 where they are equal."""
    if not scores:
        return {}
    low, high = min(scores.values()) if low is None else low, max(scores.values())
    return {found: (score - low) / (high - low) if high > low else 1.0 for found, score in scores.items()}

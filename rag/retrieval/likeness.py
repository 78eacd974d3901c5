"""What a cosine of an embedder means: each model has its own scale, and each language its own on it.

Models spread their cosines differently (MiniLM's unrelated texts lie at 0.1, e5's at 0.75), and one that was not
trained for a language gives related and unrelated texts the same. Both are measured once, on known pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.language.languages import known_pairs

if TYPE_CHECKING:
    import numpy as np

    from rag.ports import Embedder

_APART = 2.0  # standard deviations between related and unrelated pairs, below which a cosine says nothing
_FLOOR, _TOP = 0.9, 0.75  # quantiles; chosen with benchmarks/refusal.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Where a language's unrelated texts end (floor) and related ones lie (top); equal when cosines say nothing."""

    floor: float
    top: float

    def likeness(self, cosine: float) -> float:
        """0 for unrelated texts, 1 for what answers the question in other words."""
        return min(max((cosine - self.floor) / (self.top - self.floor), 0.0), 1.0) if self.counts else 0.0

    @property
    def counts(self) -> bool:
        return self.top > self.floor


NO_SCALE = Scale(floor=0.0, top=0.0)
Likeness = Mapping[str, Scale]


def measure_likeness(embedder: "Embedder") -> Likeness:
    """The scale of each language in known_pairs; "" stands for all others. Costs about 0.1 s with the bundled model."""
    import numpy as np  # the settings import this module, and `citewell status` needs no vectors

    known = known_pairs()
    questions = [question for pairs in known.values() for question, _ in pairs]
    answers = [answer for pairs in known.values() for _, answer in pairs]
    cosines = embedder.embed(questions, query=True) @ embedder.embed(answers).T
    scales: dict[str, Scale] = {}
    start = 0
    for language, pairs in known.items():
        own = cosines[start : start + len(pairs), start : start + len(pairs)]
        start += len(pairs)
        scales[language] = _scale(np.diag(own), own[~np.eye(len(pairs), dtype=bool)])
    return scales


def _scale(related: "np.ndarray", unrelated: "np.ndarray") -> Scale:
    import numpy as np

    spread = float(np.sqrt((related.var() + unrelated.var()) / 2))
    if related.mean() - unrelated.mean() < _APART * max(spread, 1e-9):
        return NO_SCALE
    return Scale(floor=float(np.quantile(unrelated, _FLOOR)), top=float(np.quantile(related, _TOP)))


def scale_for(likeness: Likeness, language: str) -> Scale:
    """The scale of a question's language."""
    return likeness.get(language) or likeness.get("") or NO_SCALE

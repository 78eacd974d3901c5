"""Measures of rankings, of answers found, and of refusals."""

import re
from collections.abc import Mapping, Sequence

from rag.boundary.extras import needs_extra
from rag.documents import Hit
from rag.errors import ConfigError
from rag.language.text import fold
from service.evaluation.cases import Case

K = 10


def refusals(answerable: Sequence[float], unanswerable: Sequence[float], *, threshold: float) -> dict[str, float]:
    """How well the best evidence tells questions with an answer from those without; empty where one kind is missing."""
    if not answerable or not unanswerable:
        return {}
    try:
        from sklearn.metrics import roc_auc_score
    except ImportError as err:
        raise ConfigError(needs_extra("Measures of refusals need", "eval")) from err
    truth = [1] * len(answerable) + [0] * len(unanswerable)
    return {
        "refusal AUROC": round(float(roc_auc_score(truth, [*answerable, *unanswerable])), 4),
        "refused unanswerable": mean([value < threshold for value in unanswerable]),
        "false refusals": mean([value < threshold for value in answerable]),
        "threshold": threshold,
    }


def threshold_for(evidences: Sequence[float], *, false_refusals: float) -> float:
    """The highest threshold that refuses at most a share of questions which have an answer."""
    ranked_up = sorted(evidences)
    return int(1000 * ranked_up[min(int(false_refusals * len(ranked_up)), len(ranked_up) - 1)]) / 1000


def by_document(hits: Sequence[Hit], case: Case) -> dict[str, float]:
    """Scores by document id, or by SOURCE/ID where the case names documents so; a document has its best chunk's."""
    scores: dict[str, float] = {}
    for place, hit in enumerate(hits):
        document = hit.chunk.document
        whole = f"{document.source}/{document.id}"
        scores.setdefault(whole if whole in case.documents else document.id, float(len(hits) - place))
    return scores


def ranked(cases: Sequence[Case], run: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """nDCG, recall and MRR of a run: scores by document for each question."""
    if not cases:
        return {}
    try:
        import ir_measures
    except ImportError as err:
        raise ConfigError(needs_extra("Measures of a ranking need", "eval")) from err
    measures = [ir_measures.nDCG @ K, ir_measures.R @ K, ir_measures.RR @ K]
    grades = {case.id: dict(case.documents) for case in cases}
    found = ir_measures.calc_aggregate(measures, grades, {case.id: dict(run[case.id]) for case in cases})
    return {
        f"{name}@{K}": round(float(found[m]), 4) for name, m in zip(("nDCG", "recall", "MRR"), measures, strict=True)
    }


def holds_answer(case: Case, text: str) -> bool:
    """Whether a text holds all values of one of the answers, as whole words where they are Latin or numbers."""
    folded = fold(text)
    return any(
        bool(answer)
        and all(
            re.search(rf"(?<![^\W_]){re.escape(fold(value))}(?![^\W_])", folded) or _is_cjk_in(value, folded)
            for value in answer
        )
        for answer in case.answers
    )


def _is_cjk_in(value: str, folded: str) -> bool:
    return not value.isascii() and fold(value) in folded


def mean(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 4)

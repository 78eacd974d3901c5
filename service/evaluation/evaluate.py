"""Measures retrieval with one's own questions: recall, nDCG, MRR, answers in the context, latency."""

import gzip
import json
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexes.qdrant.index import QdrantIndex
from rag.chunking import dense_text, lexical_text, split
from rag.documents import Document, Hit, Point
from rag.errors import ConfigError
from rag.language.text import fold
from rag.ports import Scope
from rag.prompt.profiles import PROFILES
from rag.prompt.prompt import PromptPlan, build
from rag.retrieval.retrieval import to_passages
from service.knowledge_base import KnowledgeBase

K = 10
LEGS: Mapping[str, float | None] = {"fused": None, "words": 0.0, "meaning": 1.0}  # with the weight of the dense list
FALSE_REFUSALS = 0.05
SUGGESTED = f"threshold for {FALSE_REFUSALS:.0%} false refusals"
_HITS = 50
_BATCH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question with what should be found: documents by id with their grade, or answers.

    An answer is a text that a chunk should hold, or the values of a row that it should all hold. unanswerable: nothing
    holds an answer, and the question should be refused.
    """

    id: str
    text: str
    documents: Mapping[str, int] = field(default_factory=dict)
    answers: tuple[tuple[str, ...], ...] = ()
    unanswerable: bool = False


def read_cases(path: Path) -> tuple[list[Case], Iterator[Document] | None]:
    """Questions of a JSONL file, or of a BEIR folder with its corpus. Those without documents and answers are left out.

    Raises ConfigError saying what is wrong with the file.
    """
    if path.is_dir():
        grades = _qrels(path)
        queries = _lines(_one(path, "queries.jsonl", "queries.jsonl.gz"))
        cases = [
            _case(number, query, grades.get(str(query.get("id", query.get("_id"))), {})) for number, query in queries
        ]
        return [case for case in cases if _is_measured(case)], _corpus(_one(path, "corpus.jsonl", "corpus.jsonl.gz"))
    cases = [_case(number, query, {}) for number, query in _lines(path)]
    kept = [case for case in cases if _is_measured(case)]
    if not kept:
        raise ConfigError(
            f'{path} has no question with "documents", "answers" or "unanswerable", so there is nothing to measure.'
        )
    return kept, None


def _is_measured(case: Case) -> bool:
    return bool(case.documents or case.answers or case.unanswerable)


def _one(folder: Path, *names: str) -> Path:
    found = next((folder / name for name in names if (folder / name).exists()), None)
    if found is None:
        raise ConfigError(f"{folder} has no {names[0]}; a BEIR folder has corpus.jsonl, queries.jsonl and qrels.")
    return found


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ConfigError(f"{path}, line {number}: a JSON object is needed.")
                    yield number, row
    except (OSError, ValueError) as err:
        raise ConfigError(f"{path} cannot be read: {err}") from err


def _qrels(folder: Path) -> dict[str, dict[str, int]]:
    files = [folder / "qrels.tsv"] if (folder / "qrels.tsv").exists() else sorted((folder / "qrels").glob("*.tsv"))
    if not files:
        raise ConfigError(f"{folder} has no qrels.tsv, and no qrels folder.")
    grades: dict[str, dict[str, int]] = {}
    for line in (files[0] if len(files) == 1 else files[-1]).read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        grades.setdefault(query, {})[document] = int(float(grade))
    return grades


def _case(number: int, row: Mapping[str, Any], grades: Mapping[str, int]) -> Case:
    text = row.get("text") or row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f'Question {number} has no "text".')
    named = row.get("documents") or grades
    documents = (
        {str(name): 1 for name in named} if isinstance(named, list) else {str(k): int(v) for k, v in named.items()}
    )
    answers = tuple(
        tuple(_plain(value) for value in answer if value is not None) if isinstance(answer, list) else (str(answer),)
        for answer in row.get("answers") or ()
    )
    return Case(
        id=str(row.get("id", row.get("_id", number))),
        text=text,
        documents=documents,
        answers=answers,
        unanswerable=bool(row.get("unanswerable")),
    )


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _corpus(path: Path) -> Iterator[Document]:
    for _, row in _lines(path):
        name, title = str(row.get("id", row.get("_id"))), str(row.get("title") or "")
        yield Document(id=name, source="eval", title=title, text=str(row["text"]), uri=name, scope=name)


@contextmanager
def corpus_index(kb: KnowledgeBase, documents: Iterator[Document]) -> Iterator[QdrantIndex]:
    """A collection of its own that holds a corpus, gone when the block ends."""
    index = kb.index_of(f"{kb.settings.qdrant.collection}-eval-{time.time_ns():x}")
    try:
        batch: list[Document] = []
        for document in documents:
            batch.append(document)
            if len(batch) == _BATCH:
                _store(kb, index, batch)
                batch = []
        _store(kb, index, batch)
        yield index
    finally:
        index.drop()


def _store(kb: KnowledgeBase, index: QdrantIndex, documents: Sequence[Document]) -> None:
    size = kb.settings.chunking.max_tokens
    chunks = [chunk for document in documents for chunk in split(document, kb.counter, max_tokens=size)]
    texts = [dense_text(chunk) for chunk in chunks]
    if chunks:
        terms = kb.sparse.encode([lexical_text(chunk) for chunk in chunks])
        points = zip(chunks, kb.embedder.embed(texts), terms, strict=True)
        index.upsert([Point(chunk=chunk, dense=dense.tolist(), sparse=sparse) for chunk, dense, sparse in points])


def evaluate(
    kb: KnowledgeBase, cases: Sequence[Case], *, index: QdrantIndex | None = None, leg: str = "fused", profile: str = ""
) -> dict[str, float]:
    """The measures of one retriever over the cases; index: another one than the knowledge base's own."""
    target = (index or kb.index).weighted(LEGS[leg])
    scope = Scope() if index is not None else kb.scope()
    run: dict[str, dict[str, float]] = {}
    times, firsts, fives, contexts = [], [], [], []
    evidences: dict[bool, list[float]] = {True: [], False: []}
    for case in cases:
        started = time.perf_counter()
        hits = kb.hits_of(case.text, limit=_HITS, scope=scope, index=target)
        times.append(1000 * (time.perf_counter() - started))
        run[case.id] = _by_document(hits, case)
        evidences[case.unanswerable].append(kb.evidence_of(case.text, hits))
        if case.answers and not case.unanswerable:
            places = [i for i, hit in enumerate(hits) if holds_answer(case, f"{hit.chunk.context}\n{hit.chunk.text}")]
            firsts.append(bool(places) and places[0] == 0)
            fives.append(bool(places) and places[0] < 5)
            contexts.append(_in_context(kb, case, hits, profile))
    measured = ranked([case for case in cases if case.documents], run)
    if firsts:
        measured |= {"answer@1": _mean(firsts), "answer@5": _mean(fives), "answer in context": _mean(contexts)}
    measured |= refusals(evidences[False], evidences[True], threshold=kb.settings.retrieval.threshold)
    if evidences[False]:
        measured[SUGGESTED] = threshold_for(evidences[False], false_refusals=FALSE_REFUSALS)
    return measured | {
        "questions": len(cases),
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(sorted(times)[int(0.95 * (len(times) - 1))], 1),
    }


def refusals(answerable: Sequence[float], unanswerable: Sequence[float], *, threshold: float) -> dict[str, float]:
    """How well the best evidence tells questions with an answer from those without; empty where one kind is missing."""
    if not answerable or not unanswerable:
        return {}
    try:
        from sklearn.metrics import roc_auc_score
    except ImportError as err:
        raise ConfigError("Refusal measures need scikit-learn: pip install 'citewell[eval]'.") from err
    truth = [1] * len(answerable) + [0] * len(unanswerable)
    return {
        "refusal AUROC": round(float(roc_auc_score(truth, [*answerable, *unanswerable])), 4),
        "refused unanswerable": _mean([value < threshold for value in unanswerable]),
        "false refusals": _mean([value < threshold for value in answerable]),
        "threshold": threshold,
    }


def threshold_for(evidences: Sequence[float], *, false_refusals: float) -> float:
    """The highest threshold that refuses at most a share of questions which have an answer."""
    ranked_up = sorted(evidences)
    return int(1000 * ranked_up[min(int(false_refusals * len(ranked_up)), len(ranked_up) - 1)]) / 1000


def _by_document(hits: Sequence[Hit], case: Case) -> dict[str, float]:
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
        raise ConfigError("Ranking measures need ir-measures: pip install 'citewell[eval]'.") from err
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


def _in_context(kb: KnowledgeBase, case: Case, hits: Sequence[Hit], profile: str) -> bool:
    budget = PROFILES[profile or kb.settings.llm.profile] - kb.settings.llm.max_tokens
    layout = PromptPlan(counter=kb.counter, templates=kb.templates)
    placed = build(case.text, to_passages(hits), layout, budget_tokens=budget).passages
    return any(holds_answer(case, f"{passage.context}\n{passage.text}") for passage in placed)


def _mean(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 4)


def keep(folder: Path, name: str, found: Mapping[str, Mapping[str, float]]) -> Mapping[str, Mapping[str, float]]:
    """Write a run down beside the earlier ones of the same name, with a plot; returns the one before, empty if none."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    runs = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*runs, {"at": time.time(), "measures": found}], indent=1))
    _plot(folder / f"{name}.svg", name, [run["measures"] for run in runs[-9:]] + [found])
    return runs[-1]["measures"] if runs else {}


def _plot(path: Path, name: str, runs: Sequence[Mapping[str, Mapping[str, float]]]) -> None:
    """The shares of the last ten runs, a line for each measure."""
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise ConfigError("The plot needs matplotlib: pip install 'citewell[eval]'.") from err
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for measure in [m for m in runs[-1]["fused"] if not m.endswith("_ms") and m != "questions"]:
        axes.plot([run.get("fused", {}).get(measure, float("nan")) for run in runs], marker="o", label=measure)
    axes.set(title=f"{name}: the last {len(runs)} runs", ylim=(0, 1.02), xlabel="run", xticks=range(len(runs)))
    axes.legend(loc="lower left", fontsize="small")
    figure.savefig(path)

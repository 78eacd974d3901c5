"""`citewell eval`: how well what people ask is found, and what is refused."""

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from rag.chunking import dense_text, lexical_text, split
from rag.documents import Document, Hit, Point
from rag.ports import Scope
from rag.prompt.profiles import PROFILES
from rag.prompt.prompt import PromptPlan, build
from rag.retrieval.retrieval import to_passages
from service.asking.searcher import most_evidence
from service.collection import Binding
from service.evaluation.cases import Case, read_cases
from service.evaluation.history import keep
from service.evaluation.measures import by_document, holds_answer, mean, ranked, refusals, threshold_for
from service.wiring import Services

LEGS: Mapping[str, float | None] = {"fused": None, "words": 0.0, "meaning": 1.0}  # with the weight of the dense list
FALSE_REFUSALS = 0.05
SUGGESTED = f"threshold for {FALSE_REFUSALS:.0%} false refusals"
_HITS = 50
_BATCH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Measures by leg, those of the run before (none at the first), and where the plot is."""

    name: str
    measures: Mapping[str, Mapping[str, float]]
    before: Mapping[str, Mapping[str, float]]
    plot: Path

    @property
    def threshold(self) -> float | None:
        """The threshold that refuses few enough of the questions; None where none of them has an answer."""
        return self.measures["fused"].get(SUGGESTED)


def evaluate_file(services: Services, file: Path, *, legs: Sequence[str] = ("fused",), profile: str = "") -> Evaluation:
    """Measure with the questions of a file, and keep the measures beside earlier ones. Raises ConfigError."""
    cases, corpus = read_cases(file)
    with corpus_binding(services, corpus) if corpus is not None else nullcontext() as binding:
        found = {leg: evaluate(services, cases, binding=binding, leg=leg, profile=profile) for leg in legs}
    folder, name = services.settings.data_dir / "eval", file.resolve().name.partition(".")[0]
    return Evaluation(name=name, measures=found, before=keep(folder, name, found), plot=folder / f"{name}.svg")


@contextmanager
def corpus_binding(services: Services, documents: Iterator[Document]) -> Iterator[Binding]:
    """A collection of its own that holds a corpus, gone when the block ends."""
    current = services.collection.current()
    alias = f"{services.settings.qdrant.collection}-eval-{time.time_ns():x}"
    binding = replace(current, index=services.open_index(alias, current.encoders))
    try:
        batch: list[Document] = []
        for document in documents:
            batch.append(document)
            if len(batch) == _BATCH:
                _store(services, binding, batch)
                batch = []
        _store(services, binding, batch)
        yield binding
    finally:
        binding.index.drop()


def _store(services: Services, binding: Binding, documents: Sequence[Document]) -> None:
    size = services.settings.chunking.max_tokens
    chunks = [chunk for document in documents for chunk in split(document, services.counter(), max_tokens=size)]
    if chunks:
        vectors = binding.embedder.embed([dense_text(chunk) for chunk in chunks])
        terms = binding.sparse.encode([lexical_text(chunk) for chunk in chunks])
        points = zip(chunks, vectors, terms, strict=True)
        binding.index.upsert([Point(chunk=c, dense=dense.tolist(), sparse=sparse) for c, dense, sparse in points])


def evaluate(
    services: Services,
    cases: Sequence[Case],
    *,
    binding: Binding | None = None,
    leg: str = "fused",
    profile: str = "",
) -> dict[str, float]:
    """The measures of one retriever over the cases; binding: another collection than the configured one."""
    own = binding or services.collection.current()
    target = replace(own, index=own.index.weighted(LEGS[leg]))
    scope = Scope() if binding is not None else services.catalogue.scope()
    run: dict[str, dict[str, float]] = {}
    times, firsts, fives, contexts = [], [], [], []
    evidences: dict[bool, list[float]] = {True: [], False: []}
    for case in cases:
        started = time.perf_counter()
        question = services.searcher.understand(case.text)
        found = services.searcher.search_in(target, question, limit=_HITS, scope=scope)
        times.append(1000 * (time.perf_counter() - started))
        run[case.id] = by_document(found.hits, case)
        evidences[case.unanswerable].append(most_evidence(question, found))
        if case.answers and not case.unanswerable:
            texts = [f"{hit.chunk.context}\n{hit.chunk.text}" for hit in found.hits]
            places = [place for place, text in enumerate(texts) if holds_answer(case, text)]
            firsts.append(bool(places) and places[0] == 0)
            fives.append(bool(places) and places[0] < 5)
            contexts.append(_in_context(services, case, found.hits, profile))
    measured = ranked([case for case in cases if case.documents], run)
    if firsts:
        measured |= {"answer@1": mean(firsts), "answer@5": mean(fives), "answer in context": mean(contexts)}
    measured |= refusals(evidences[False], evidences[True], threshold=services.settings.retrieval.threshold)
    if evidences[False]:
        measured[SUGGESTED] = threshold_for(evidences[False], false_refusals=FALSE_REFUSALS)
    return measured | {
        "questions": len(cases),
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(sorted(times)[math.ceil(0.95 * len(times)) - 1], 1),
    }


def _in_context(services: Services, case: Case, hits: Sequence[Hit], profile: str) -> bool:
    llm = services.settings.llm
    budget = PROFILES[profile or llm.profile] - llm.max_tokens
    plan = PromptPlan(counter=services.counter(), templates=services.templates())
    placed = build(case.text, to_passages(hits), plan, budget_tokens=budget).passages
    return any(holds_answer(case, f"{passage.context}\n{passage.text}") for passage in placed)

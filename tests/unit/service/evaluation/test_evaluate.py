"""Measuring over a collection: the legs, the threshold, and a corpus of its own."""

from collections.abc import Iterator
from typing import Any

import pytest

from rag.documents import Document
from service.evaluation.cases import Case
from service.evaluation.evaluate import SUGGESTED, Evaluation, corpus_binding, evaluate
from service.wiring import Services
from tests.unit.service.conftest import STORES, MemoryCollection, binding, document, memory_of, services_of, settings_of

OPENS = Case(id="q1", text="When does the Edmonton store open?", documents={"0.md": 1}, answers=(("eleven",),))
SELLS = Case(id="q2", text="What does the Calgary store sell?", documents={"1.md": 1}, answers=(("noon",),))


def test_documents_and_answers_are_measured() -> None:
    found = evaluate(services_of(), [OPENS, SELLS])
    assert (found["nDCG@10"], found["recall@10"], found["MRR@10"]) == (1.0, 1.0, 1.0)
    assert (found["answer@1"], found["answer@5"], found["answer in context"]) == (0.5, 0.5, 0.5)
    assert found["questions"] == 2
    assert found["p50_ms"] <= found["p95_ms"]


def test_questions_with_documents_only_have_no_measure_of_answers() -> None:
    found = evaluate(services_of(), [Case(id="q", text=OPENS.text, documents={"0.md": 1})])
    assert "nDCG@10" in found
    assert "answer@1" not in found
    assert SUGGESTED in found


def test_a_leg_searches_by_words_or_by_meaning_alone() -> None:
    services = services_of()
    assert evaluate(services, [OPENS], leg="words")["MRR@10"] == 1.0
    weights: list[float | None] = []

    class Noting(MemoryCollection):
        def weighted(self, dense_weight: float | None) -> MemoryCollection:
            weights.append(dense_weight)
            return super().weighted(dense_weight)

    noting = services_of(bound=binding(index=Noting(STORES)))
    for leg in ("fused", "words", "meaning"):
        evaluate(noting, [OPENS], leg=leg)
    assert weights == [None, 0.0, 1.0]


def test_another_profile_has_other_room_for_passages() -> None:
    services = services_of(
        bound=binding(tuple(f"Edmonton opens {word}. {'x' * 380}" for word in 60 * ["late"] + ["eleven"]))
    )
    asked = Case(id="q", text="Edmonton opens late?", answers=(("eleven",),))
    assert evaluate(services, [asked], profile="chat")["answer in context"] == 0.0
    assert evaluate(services, [asked], profile="book")["answer@5"] == 0.0


def in_corpus(services: Services, *texts: str) -> tuple[MemoryCollection, dict[str, float]]:
    corpus = iter([document(f"d{number}", text, source="eval") for number, text in enumerate(texts)])
    with corpus_binding(services, corpus) as bound:
        return memory_of(bound), evaluate(
            services, [Case(id="q", text="When does Calgary open?", documents={"d1": 1})], binding=bound
        )


def test_a_corpus_has_a_collection_of_its_own_that_is_gone_at_the_end() -> None:
    aliases: list[str] = []

    def open_index(alias: str, encoders: Any) -> Any:
        aliases.append(alias)
        return MemoryCollection()

    current = binding()
    services = services_of(
        settings_of(sources={}, identity={"tenant": "acme"}),
        bound=current,
        open_index=open_index,
    )
    made, found = in_corpus(services, "Edmonton opens at nine.", "Calgary opens at ten.")
    assert found["MRR@10"] == 1.0
    assert made.count() == 2
    assert not made.is_there
    assert aliases[0].startswith("citewell-eval-")
    assert memory_of(current).requests == []


def test_a_corpus_that_cannot_be_read_leaves_no_collection() -> None:
    opened: list[MemoryCollection] = []

    def open_index(alias: str, encoders: Any) -> Any:
        opened.append(MemoryCollection())
        return opened[-1]

    services = services_of(open_index=open_index)

    def broken() -> Iterator[Document]:
        yield document("a", "Text.")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), corpus_binding(services, broken()):
        pass
    assert [each.is_there for each in opened] == [False]


def test_the_threshold_is_suggested_from_what_has_an_answer() -> None:
    measures = {"fused": {SUGGESTED: 0.2}, "words": {SUGGESTED: 0.9}}
    made = Evaluation(name="q", measures=measures, before={}, plot=None)  # type: ignore[arg-type]
    assert made.threshold == 0.2
    assert Evaluation(name="q", measures={"fused": {}}, before={}, plot=None).threshold is None  # type: ignore[arg-type]

"""What every reranker does (rag/ports.py, Reranker).

A reranker of your own: subclass RerankerContract, with a fixture `reranker` that gives one.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexes.rerankers import load_reranker
from rag.documents import Chunk, Document, Hit
from rag.fakes import OverlapReranker
from rag.ports import Reranker
from tests.support.llm.stub_engine import StubEngine
from tests.support.running import free_port

TEXTS = ("about cats", "about dogs", "about fish")


def hit(number: int, text: str) -> Hit:
    document = Document(id=f"d{number}", source="s", title="T", text=text, uri="u")
    chunk = Chunk(id=f"c{number}", document=document, ordinal=0, text=text, start=0, end=len(text))
    return Hit(chunk=chunk, score=1 - number / 100, scores={"bm25": 2.0})


HITS = [hit(number, text) for number, text in enumerate(TEXTS)]


class RerankerContract:
    @pytest.fixture(scope="class")
    def reranker(self) -> Iterator[Reranker]:
        raise NotImplementedError

    def test_the_same_hits_come_back_best_first(self, reranker: Reranker) -> None:
        ranked = reranker.rank("about fish", HITS, timeout_s=60)
        assert {each.chunk.id for each in ranked} == {each.chunk.id for each in HITS}
        assert len(ranked) == len(HITS)
        assert [each.score for each in ranked] == sorted((each.score for each in ranked), reverse=True)

    def test_a_hit_keeps_its_scores_from_before_beside_the_new_one(self, reranker: Reranker) -> None:
        for each in reranker.rank("about fish", HITS, timeout_s=60):
            before = HITS[int(each.chunk.id[1:])]
            assert each.scores == {"bm25": 2.0, "fused": before.score, "rerank": each.score}

    def test_equal_hits_stay_in_the_order_given(self, reranker: Reranker) -> None:
        alike = [hit(number, "about cats") for number in range(4)]
        assert order(reranker.rank("about fish", alike, timeout_s=60)) == order(alike)

    def test_no_hits_are_no_hits(self, reranker: Reranker) -> None:
        assert reranker.rank("about fish", [], timeout_s=60) == []

    def test_without_time_the_hits_stay_as_they_are(self, reranker: Reranker) -> None:
        many = [hit(number, TEXTS[number % 3]) for number in range(40)]
        assert reranker.rank("about fish", many, timeout_s=0) == many


class UnderstandingRerankerContract(RerankerContract):
    """One whose scores mean something, where those of a model with random weights do not."""

    def test_what_answers_the_question_comes_first(self, reranker: Reranker) -> None:
        assert order(reranker.rank("about fish", HITS, timeout_s=60)) == ["c2", "c0", "c1"]


def order(hits: list[Hit]) -> list[str]:
    return [each.chunk.id for each in hits]


class TestOverlap(UnderstandingRerankerContract):
    @pytest.fixture(scope="class")
    def reranker(self) -> Reranker:
        return OverlapReranker()


class TestCohereEndpoint(UnderstandingRerankerContract):
    @pytest.fixture(scope="class")
    def reranker(self) -> Iterator[Reranker]:
        with StubEngine() as stub:
            yield load_reranker("cohere", url=stub.url)


class TestTeiEndpoint(UnderstandingRerankerContract):
    @pytest.fixture(scope="class")
    def reranker(self) -> Iterator[Reranker]:
        with StubEngine() as stub:
            yield load_reranker("tei", url=stub.url)


class TestCrossEncoder(RerankerContract):
    @pytest.fixture(scope="class")
    def reranker(self, tmp_path_factory: pytest.TempPathFactory) -> Reranker:
        folder = tmp_path_factory.mktemp("model")
        write_cross_encoder(folder)
        return load_reranker(str(folder))


def test_hits_stay_as_they_are_when_the_endpoint_is_away() -> None:
    reranker = load_reranker("m", url=f"http://127.0.0.1:{free_port()}")
    assert reranker.rank("about fish", HITS, timeout_s=60) == HITS


def write_cross_encoder(folder: Path) -> None:
    """A cross-encoder with random weights: it shows the wiring, not quality."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "about", "cats", "dogs", "fish", "which", "swims"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertForSequenceClassification(BertConfig(vocab_size=len(words), num_labels=1, **sizes)).save_pretrained(folder)

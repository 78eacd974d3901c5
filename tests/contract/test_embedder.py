"""What every embedder does (rag/ports.py, Embedder).

An embedder of your own: subclass EmbedderContract, with a fixture `embedder` that gives one.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from indexes.embedders.load import load_embedder
from indexes.embedders.unpacked import unpacked_model
from rag.fakes import HashEmbedder
from rag.ports import Embedder
from tests.support.llm.stub_engine import StubEngine

TEXTS = ["AC/DC released Let There Be Rock", "a much longer text about the returns of records, " * 8, "短文本", ""]


@pytest.mark.usefixtures("exact_vectors")
class EmbedderContract:
    alike = 0.99999  # least cosine of a text's vectors alone and among others

    @pytest.fixture(scope="class")
    def embedder(self) -> Iterator[Embedder]:
        raise NotImplementedError

    def test_texts_become_unit_vectors_of_float32(self, embedder: Embedder) -> None:
        vectors = embedder.embed(TEXTS)
        assert (vectors.shape, vectors.dtype.name) == ((len(TEXTS), embedder.dim), "float32")
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_rows_come_in_input_order(self, embedder: Embedder) -> None:
        alone = np.vstack([embedder.embed([text]) for text in TEXTS])
        nearest = np.argmax(embedder.embed(TEXTS) @ alone.T, axis=1)
        assert nearest.tolist() == list(range(len(TEXTS)))

    def test_a_text_has_the_same_vector_whatever_stands_beside_it(self, embedder: Embedder) -> None:
        together = embedder.embed(TEXTS)
        alone = np.vstack([embedder.embed([text]) for text in TEXTS])
        assert np.sum(together * alone, axis=1).min() > self.alike

    def test_no_texts_give_no_rows(self, embedder: Embedder) -> None:
        assert embedder.embed([]).shape == (0, embedder.dim)
        assert embedder.embed([], query=True).shape == (0, embedder.dim)

    def test_a_question_has_a_vector_of_the_same_kind(self, embedder: Embedder) -> None:
        asked = embedder.embed(["Which albums did AC/DC release?"], query=True)
        assert (asked.shape, asked.dtype.name) == ((1, embedder.dim), "float32")
        assert np.linalg.norm(asked) == pytest.approx(1, abs=1e-5)

    def test_more_texts_than_a_batch_stay_in_order(self, embedder: Embedder) -> None:
        many = ["x" * (number % 7 + 1) for number in range(40)]
        vectors, first = embedder.embed(many), embedder.embed(many[:7])
        assert np.argmax(vectors @ first.T, axis=1).tolist() == [number % 7 for number in range(40)]

    def test_threads_may_share_it(self, embedder: Embedder) -> None:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(embedder.embed, [TEXTS] * 4))
        assert all(np.allclose(vectors, found[0], atol=1e-3) for vectors in found)

    def test_its_name_tells_it_from_others(self, embedder: Embedder) -> None:
        assert embedder.name
        assert embedder.dim > 0


class TestHash(EmbedderContract):
    @pytest.fixture(scope="class")
    def embedder(self) -> Embedder:
        return HashEmbedder()


class TestBundled(EmbedderContract):
    @pytest.fixture(scope="class")
    def embedder(self) -> Embedder:
        return load_embedder(backend="onnx")


class TestExported(EmbedderContract):
    alike = 0.97  # its int8 rounds a little with its neighbours

    @pytest.fixture(scope="class")
    def embedder(self) -> Embedder:
        return load_embedder(str(unpacked_model()), backend="onnx")


class TestSentenceTransformers(EmbedderContract):
    @pytest.fixture(scope="class")
    def embedder(self) -> Embedder:
        return load_embedder(backend="torch")


class TestEndpoint(EmbedderContract):
    @pytest.fixture(scope="class")
    def embedder(self) -> Iterator[Embedder]:
        with StubEngine() as stub:
            yield load_embedder("stub-embedder", url=stub.url)

"""Every kind of embedder: ONNX int8, sentence-transformers, and an endpoint on loopback."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexes.embedders import load_embedder
from rag.errors import EmbedderUnavailable
from tests.conftest import free_port
from tests.stub_engine import StubEngine

TEXTS = ["AC/DC released Let There Be Rock", "a much longer text about the returns of records, " * 8, "短文本", ""]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[StubEngine]:
    with StubEngine() as stub:
        yield stub


def test_the_int8_export_agrees_with_the_original():
    fast, original = load_embedder(backend="onnx"), load_embedder(backend="torch")
    assert fast.dim == original.dim == 384
    cosines = np.sum(fast.embed(TEXTS[:2]) * original.embed(TEXTS[:2]), axis=1)
    assert cosines.min() > 0.98
    assert original.embed(["x"], query=True).shape == (1, 384)


def test_rows_come_in_input_order_as_unit_vectors_of_float32():
    embedder = load_embedder()
    together = embedder.embed(TEXTS)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for row, text in zip(together, TEXTS, strict=True):
        assert float(row @ embedder.embed([text])[0]) > 0.97  # int8 rounds a little with its neighbours
    assert embedder.embed([]).shape == (0, 384)


def test_an_endpoint_is_asked_in_batches_and_its_order_restored(endpoint: StubEngine):
    embedder = load_embedder("stub-embedder", url=endpoint.url)
    texts = ["x" * length for length in range(1, 71)]
    vectors = embedder.embed(texts)
    assert embedder.dim == 3
    assert np.allclose(vectors[:, 0] / vectors[:, 1], range(1, 71))
    assert max(len(asked["input"]) for asked in endpoint.asked) == 32


def test_an_endpoint_that_is_away_says_what_to_check():
    embedder = load_embedder("m", url=f"http://127.0.0.1:{free_port()}/v1", timeout_s=2)
    with pytest.raises(EmbedderUnavailable, match=r"Check embedder\.url"):
        embedder.embed(["x"])


def test_a_model_that_cannot_be_loaded_says_how_to_mend_it(tmp_path: Path):
    with pytest.raises(EmbedderUnavailable, match=r"cannot be loaded[\s\S]*local folder"):
        load_embedder(str(tmp_path))
    with pytest.raises(EmbedderUnavailable, match=r'embedder\.backend = "torch"'):
        load_embedder("no/such-folder", backend="onnx")

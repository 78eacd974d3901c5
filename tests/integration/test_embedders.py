"""Every kind of embedder: ONNX int8, sentence-transformers, and an endpoint on loopback."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexes.embedders.export import stamp_of
from indexes.embedders.load import load_embedder
from indexes.embedders.model_folder import Prompts
from indexes.embedders.torch_backend import SentenceTransformersEmbedder
from indexes.embedders.unpacked import unpacked_model
from rag.errors import EmbedderUnavailable
from rag.fakes import HashEmbedder
from rag.retrieval.likeness import NO_SCALE, measure_likeness, scale_for
from tests.support.llm.stub_engine import StubEngine
from tests.support.running import free_port

pytestmark = pytest.mark.usefixtures("exact_vectors")
TEXTS = ["AC/DC released Let There Be Rock", "a much longer text about the returns of records, " * 8]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[StubEngine]:
    with StubEngine() as stub:
        yield stub


def test_the_int8_export_agrees_with_the_original() -> None:
    model = str(unpacked_model())
    fast, original = load_embedder(model, backend="onnx"), load_embedder(model, backend="torch")
    assert fast.dim == original.dim == 384
    cosines = np.sum(fast.embed(TEXTS) * original.embed(TEXTS), axis=1)
    assert cosines.min() > 0.98
    assert original.embed(["x"], query=True).shape == (1, 384)


def test_an_endpoint_is_asked_in_batches_and_its_order_restored(endpoint: StubEngine) -> None:
    embedder = load_embedder("stub-embedder", url=endpoint.url)
    texts = ["x" * length for length in range(1, 71)]
    vectors = embedder.embed(texts)
    assert embedder.dim == 3
    assert np.allclose(vectors[:, 0] / vectors[:, 1], range(1, 71))
    assert max(len(asked["input"]) for asked in endpoint.asked) == 32


def test_an_endpoint_that_is_away_says_what_to_check() -> None:
    embedder = load_embedder("m", url=f"http://127.0.0.1:{free_port()}/v1", timeout_s=2)
    with pytest.raises(EmbedderUnavailable, match=r"Check embedder\.url"):
        embedder.embed(["x"])


def test_a_model_that_cannot_be_loaded_says_how_to_mend_it(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"cannot be loaded[\s\S]*embedder\.model"):
        load_embedder(str(tmp_path))
    with pytest.raises(EmbedderUnavailable, match=r'embedder\.backend = "torch"'):
        load_embedder(str(tmp_path), backend="onnx")
    with pytest.raises(EmbedderUnavailable, match=r"cannot be downloaded[\s\S]*local folder"):
        load_embedder("no/such-model")


def test_a_question_and_a_passage_get_their_own_prompts() -> None:
    own, bare = load_embedder(), load_embedder(prompts=Prompts(query="", document=""))
    text = ["When can I return a broken lamp?"]
    assert np.allclose(own.embed(text, query=True), bare.embed(["query: " + text[0]]))
    assert np.allclose(own.embed(text), bare.embed(["passage: " + text[0]]))
    assert not np.allclose(own.embed(text), bare.embed(text), atol=0.01)


def test_an_endpoint_gets_the_prompts_that_are_configured(endpoint: StubEngine) -> None:
    embedder = load_embedder("stub-embedder", url=endpoint.url, prompts=Prompts(query="query: "))
    embedder.embed(["who?"], query=True)
    embedder.embed(["a text"])
    assert [asked["input"] for asked in list(endpoint.asked)[-2:]] == [["query: who?"], ["a text"]]


def test_the_bundled_model_tells_what_answers_from_what_does_not_in_many_languages() -> None:
    likeness = measure_likeness(load_embedder())
    assert all(scale_for(likeness, language).counts for language in ("en", "zh", "de", "ja"))
    assert scale_for(measure_likeness(HashEmbedder()), "en") == NO_SCALE


def test_an_export_that_was_refused_is_not_tried_again_and_torch_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = unpacked_model()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    refused = tmp_path / "citewell" / "onnx" / f"{stamp_of(model / 'model.safetensors')}.refused"
    refused.parent.mkdir(parents=True)
    refused.write_text("it differs")
    with pytest.raises(EmbedderUnavailable, match="it differs"):
        load_embedder(str(model), backend="onnx")
    assert isinstance(load_embedder(str(model)), SentenceTransformersEmbedder)

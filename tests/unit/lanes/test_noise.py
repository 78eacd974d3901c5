import numpy as np

from rag.fakes import HashEmbedder
from tests.noise.vectors import Disturbed, disturbed, disturbing

TEXTS = ["When does the Edmonton store open?", "员工每年有多少天年假？", "\ud800", ""]
EXACT = HashEmbedder(dim=384)


def test_the_noise_leaves_unit_vectors_as_near_as_another_processor_s() -> None:
    vectors = EXACT.embed(TEXTS)
    noisy = disturbed(vectors, TEXTS, seed="1")
    assert noisy.dtype == np.float32
    assert np.allclose(np.linalg.norm(noisy, axis=1), 1, atol=1e-5)
    cosines = np.sum(vectors * noisy, axis=1)
    assert 0.99 < cosines.min() <= cosines.max() < 0.996


def test_the_noise_of_a_text_is_the_same_whatever_stands_beside_it() -> None:
    together = disturbed(EXACT.embed(TEXTS), TEXTS, seed="1")
    alone = [disturbed(EXACT.embed([text]), [text], seed="1")[0] for text in TEXTS]
    assert np.array_equal(together, alone)


def test_another_seed_and_a_question_get_another_noise() -> None:
    vectors = EXACT.embed(TEXTS)
    first = disturbed(vectors, TEXTS, seed="1")
    for other in (disturbed(vectors, TEXTS, seed="2"), disturbed(vectors, TEXTS, seed="1", query=True)):
        assert np.sum(first * other, axis=1).max() < 0.995


def test_noise_is_only_where_there_is_a_seed_and_on_no_endpoint() -> None:
    def load(*, url: str = "") -> HashEmbedder:
        return EXACT

    seed = "1"
    embedder = disturbing(load, lambda: seed)()
    assert isinstance(embedder, Disturbed)
    assert (embedder.name, embedder.dim) == (EXACT.name, EXACT.dim)
    assert not np.allclose(embedder.embed(TEXTS), EXACT.embed(TEXTS))
    assert disturbing(load, lambda: seed)(url="http://127.0.0.1/v1") is EXACT
    seed = ""
    assert np.array_equal(embedder.embed(TEXTS), EXACT.embed(TEXTS))
    assert disturbing(load, lambda: seed)() is EXACT


def test_no_text_gives_no_vector() -> None:
    assert disturbed(EXACT.embed([]), [], seed="1").shape == (0, 384)

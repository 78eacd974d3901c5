"""The bundled encoder: the same vectors on every machine and in any company, and files that build themselves.

tests/data/reference_vectors.npz holds texts and their vectors, as `python -m tests.support.reference_vectors` wrote
them. With another processor's instructions their cosines are .999 and more, with 8-bit weights they were .993.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from indexes.embedders import bundled
from indexes.embedders.bundled import LIKENESS, bundled_embedder
from indexes.embedders.load import load_embedder
from indexes.embedders.unpacked import unpacked_model
from rag.boundary import child
from rag.errors import EmbedderUnavailable
from rag.ports import Vectors
from rag.retrieval.likeness import measure_likeness
from tests.support.command import ROOT

pytestmark = pytest.mark.usefixtures("exact_vectors")
REFERENCE = ROOT / "tests" / "data" / "reference_vectors.npz"
LEAST = 0.998  # of a cosine with a reference; those of two texts that differ in a word are .99


@pytest.fixture(scope="module")
def texts() -> list[str]:
    with np.load(REFERENCE) as reference:
        return [str(text) for text in reference["texts"]]


def cosines(some: Vectors, others: Vectors) -> Vectors:
    return np.asarray(np.sum(some * others, axis=1))


def test_vectors_are_those_of_every_other_machine(texts: list[str]) -> None:
    with np.load(REFERENCE) as reference:
        expected = reference["vectors"].astype(np.float32)
    assert len(texts) >= 40
    assert cosines(bundled_embedder().embed(texts), expected).min() > LEAST


def test_a_vector_is_the_same_alone_and_in_any_batch(texts: list[str]) -> None:
    embedder = bundled_embedder()
    alone = np.vstack([embedder.embed([text]) for text in texts])
    for order in (texts, texts[::-1], [*texts[20:], *texts[:20]]):
        of = [texts.index(text) for text in order]
        assert cosines(embedder.embed(order), alone[of]).min() > 0.99999


def test_vectors_agree_with_the_model_s_own_arithmetic(texts: list[str]) -> None:
    original = load_embedder(backend="torch")
    assert cosines(bundled_embedder().embed(texts), original.embed(texts)).min() > 0.99
    asked = texts[:8]
    assert cosines(bundled_embedder().embed(asked, query=True), original.embed(asked, query=True)).min() > 0.99


def test_tokens_are_those_that_transformers_makes(texts: list[str]) -> None:
    tokenizer = Tokenizer.from_file(str(unpacked_model() / "tokenizer.json"))
    tokenizer.no_padding()
    ours = bundled_embedder()._model.tokenize(texts)
    assert ours == [tokenizer.encode(text).ids for text in texts]


@pytest.mark.parametrize("text", ["</s><mask>", "<s>", "a\0b", "\ud800", "​​", "x" * 100_000, "\n" * 1000])
def test_odd_texts_have_a_vector_and_no_special_tokens(text: str) -> None:
    embedder = bundled_embedder()
    assert np.linalg.norm(embedder.embed([text])[0]) == pytest.approx(1, abs=1e-5)
    (ids,) = embedder._model.tokenize([text])
    assert len(ids) <= 512
    assert not {0, 1, 2, 250001} & set(ids[1:-1])


def test_what_its_cosines_mean_is_what_is_measured() -> None:
    for language, scale in measure_likeness(bundled_embedder()).items():
        assert scale.floor == pytest.approx(LIKENESS[language].floor, abs=0.01)
        assert scale.top == pytest.approx(LIKENESS[language].top, abs=0.01)


def test_processes_that_build_it_at_once_all_get_it_and_the_cache_stays_small(tmp_path: Path) -> None:
    command = [
        sys.executable, "-c",
        "from indexes.embedders.bundled import bundled_embedder; print(bundled_embedder().embed(['x']).shape)",
    ]  # fmt: skip
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(ROOT)}

    def build(_: int) -> str:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT).stdout

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(build, range(2))) == ["(1, 384)\n"] * 2
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100e6
    assert len(files) == 3


def test_a_cache_that_cannot_be_written_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EmbedderUnavailable, match=r"cannot be built in [\s\S]*XDG_CACHE_HOME"):
        bundled_embedder().embed(["x"])


@pytest.mark.parametrize("name", ["model.onnx", "model.weights", "tokenizer.model"])
def test_files_that_are_broken_are_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bundled_embedder().embed(["builds it"])
    (whole,) = (bundled.cache_folder() / "models").glob("*-int7")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = tmp_path / "citewell" / "models" / whole.name
    broken.mkdir(parents=True)
    for path in whole.iterdir():
        (broken / path.name).write_bytes(path.read_bytes()[: 1000 if path.name == name else None])
    with pytest.raises(EmbedderUnavailable, match=r"cannot be loaded from .*int7: [\s\S]*Delete that folder"):
        bundled_embedder().embed(["x"])


def test_what_the_builder_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(child, "python_child", lambda *_: [sys.executable, "-c", "raise OSError('no space left')"])
    with pytest.raises(EmbedderUnavailable, match="no space left"):
        bundled_embedder().embed(["x"])
    assert list((tmp_path / "citewell" / "models").iterdir()) == []

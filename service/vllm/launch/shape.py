"""The shape of a model: the numbers of its config.json that its memory depends on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rag.boundary.extras import needs_extra
from rag.errors import ConfigError

Quantization = Literal["none", "fp8", "awq", "gptq", "int8"]

_LINEAR_BYTES: Mapping[Quantization, float] = {"none": 2.0, "fp8": 1.0, "int8": 1.0, "awq": 0.56, "gptq": 0.56}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """native_tokens: the context that the model was trained for."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tied: bool
    head_dim: int
    native_tokens: int = 32_768
    rope_theta: float = 1_000_000.0

    def weight_bytes(self, quantization: Quantization) -> int:
        """Embeddings stay in 16 bits; the linear layers are quantized."""
        width, inner = self.heads * self.head_dim, self.kv_heads * self.head_dim
        linear = self.layers * (2 * self.hidden * width + 2 * self.hidden * inner + 3 * self.hidden * self.intermediate)
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return int(2 * embeddings + _LINEAR_BYTES[quantization] * linear)

    def kv_bytes(self, *, fp8: bool) -> int:
        """Of one token."""
        return 2 * self.layers * self.kv_heads * self.head_dim * (1 if fp8 else 2)

    def splits(self, gpus: int) -> bool:
        """Whether the attention heads can be split over so many GPUs."""
        return self.heads % gpus == 0 and (self.kv_heads % gpus == 0 or gpus % self.kv_heads == 0)


def _qwen(hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int) -> Shape:
    """A Qwen2.5 model: config.json of its Instruct variant."""
    is_small = hidden < 3000
    return Shape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        intermediate=intermediate,
        vocabulary=151_936 if is_small else 152_064,
        tied=is_small,
        head_dim=hidden // heads,
    )


# The models that are asked for most, so that no hub is needed.
_QWEN25: Mapping[str, Shape] = {
    "0.5b": _qwen(896, 24, 14, 2, 4864),
    "1.5b": _qwen(1536, 28, 12, 2, 8960),
    "3b": _qwen(2048, 36, 16, 2, 11008),
    "7b": _qwen(3584, 28, 28, 4, 18944),
    "14b": _qwen(5120, 48, 40, 8, 13824),
    "32b": _qwen(5120, 64, 40, 8, 27648),
    "72b": _qwen(8192, 80, 64, 8, 29568),
}


def read_shape(model: str) -> Shape:
    """The shape of a model by its folder, its name, or its config.json on the hub. Raises ConfigError for none."""
    config = Path(model).expanduser() / "config.json"
    if config.exists():
        return shape_of(json.loads(config.read_text(encoding="utf-8")))
    known = known_shape(model)
    if known is not None:
        return known
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as err:
        raise ConfigError(
            f"{model} is neither a folder with a config.json nor the name of a Qwen2.5 model. "
            f"{needs_extra('A model of the hub needs', 'models')}"
        ) from err
    try:
        return shape_of(json.loads(Path(hf_hub_download(model, "config.json")).read_text(encoding="utf-8")))
    except (HfHubHTTPError, OSError, ValueError) as err:
        raise ConfigError(
            f"{model} is neither a folder with a config.json nor the name of a Qwen2.5 model, and its "
            f"config.json cannot be fetched from the hub: {str(err).splitlines()[0][:160]}"
        ) from err


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape in a model folder's config.json. Raises ConfigError naming what is missing."""
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        rope = config.get("rope_parameters") or {}
        return Shape(
            hidden=hidden,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads", heads)),
            intermediate=int(config["intermediate_size"]),
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            head_dim=int(config.get("head_dim") or hidden // heads),
            native_tokens=int(config.get("max_position_embeddings", 32_768)),
            rope_theta=float(config.get("rope_theta") or rope.get("rope_theta") or 1_000_000.0),
        )
    except KeyError as err:
        raise ConfigError(f"The model's config.json has no {err.args[0]!r}; without it its memory is unknown.") from err


def known_shape(model: str) -> Shape | None:
    """The shape of a Qwen2.5 model by its name; None for others."""
    name = model.rpartition("/")[2].lower()
    if not name.startswith("qwen2.5-"):
        return None
    return next((shape for size, shape in _QWEN25.items() if f"-{size}" in name), None)

"""How vLLM should be started for a model, its GPUs and the questions that are asked: flags, and whether it fits.

Standard library and our own constants only, so that it runs on a GPU machine as it is. Flags are those of vLLM 0.24
to 0.33.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from rag.errors import ConfigError
from rag.prompt.profiles import PROFILES

Load = Literal["questions", "documents", "conversations"]
Quantization = Literal["none", "fp8", "awq", "gptq", "int8"]
Parallel = Literal["auto", "tensor", "data"]

GIB = 2**30
# What vLLM takes besides weights and KV cache: activations of a prefill step, CUDA graphs, NCCL. On one H100 with a 7B
# model it was 3.1 GiB (docs/vllm.md).
_OVERHEAD_GIB = 3.5
# Sequences at once, and tokens that one step works on.
_LOADS: Mapping[Load, tuple[int, int]] = {
    "questions": (256, 8_192),
    "documents": (16, 16_384),
    "conversations": (128, 8_192),
}
_LINEAR_BYTES: Mapping[Quantization, float] = {"none": 2.0, "fp8": 1.0, "int8": 1.0, "awq": 0.56, "gptq": 0.56}
_READY_MADE: Mapping[Quantization, str] = {"awq": "awq", "gptq": "gptq", "int8": "compressed-tensors"}
# Shapes of the models that are asked for most, so that no hub is needed: their config.json, abridged.
_KNOWN: Mapping[str, tuple[int, int, int, int, int, int, bool]] = {
    "0.5B": (896, 24, 14, 2, 4864, 151936, True),
    "1.5B": (1536, 28, 12, 2, 8960, 151936, True),
    "3B": (2048, 36, 16, 2, 11008, 151936, True),
    "7B": (3584, 28, 28, 4, 18944, 152064, False),
    "14B": (5120, 48, 40, 8, 13824, 152064, False),
    "32B": (5120, 64, 40, 8, 27648, 152064, False),
    "72B": (8192, 80, 64, 8, 29568, 152064, False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a model's memory depends on. native_tokens: the context that it was trained for."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked of an engine. gpu_gib: memory of each GPU."""

    model: str
    served_name: str
    shape: Shape
    gpus: int
    gpu_gib: float
    window_tokens: int
    load: Load = "questions"
    parallel: Parallel = "auto"
    quantization: Quantization = "none"
    fp8_cache: bool = False
    memory_share: float = 0.92
    fast_load: bool = False
    host: str = "127.0.0.1"
    port: int = 8001
    cache_folder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One vLLM process: its arguments after `vllm serve`, and its environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    engines: tuple[Engine, ...]
    reasons: tuple[str, ...]
    figures: Mapping[str, float] = field(default_factory=dict)


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
        raise ConfigError(f"The model's config.json has no {err.args[0]!r}, so its memory cannot be reckoned.") from err


def known_shape(model: str) -> Shape | None:
    """The shape of a Qwen2.5 model by its name; None for others."""
    name = model.rpartition("/")[2].lower()
    if not name.startswith("qwen2.5-"):
        return None
    size = next((size for size in _KNOWN if f"-{size.lower()}" in name), None)
    if size is None:
        return None
    hidden, layers, heads, kv_heads, intermediate, vocabulary, tied = _KNOWN[size]
    return Shape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        intermediate=intermediate,
        vocabulary=vocabulary,
        tied=tied,
        head_dim=hidden // heads,
    )


def wish_of(choices: Mapping[str, str], *, profile: str, **wish: Any) -> Wish:
    """A wish from words of the command line. Raises ConfigError for a word that there is not."""
    allowed = {"load": get_args(Load), "parallel": get_args(Parallel), "quantization": get_args(Quantization)}
    for name, value in {**choices, "profile": profile}.items():
        known = allowed.get(name, tuple(PROFILES))
        if value not in known:
            raise ConfigError(f"There is no {name} {value!r}. Choose from: {', '.join(known)}.")
    return Wish(window_tokens=PROFILES[profile], **choices, **wish)  # type: ignore[arg-type]


def plan(wish: Wish) -> Plan:
    """The processes to start. Raises ConfigError, with the arithmetic, where the model or the window does not fit."""
    tensor, reasons = _split(wish)
    room = (
        wish.gpu_gib * wish.memory_share * GIB
        - _OVERHEAD_GIB * GIB
        - wish.shape.weight_bytes(wish.quantization) / tensor
    )
    per_token = wish.shape.kv_bytes(fp8=wish.fp8_cache) / min(tensor, wish.shape.kv_heads)
    cache_tokens = int(room / per_token)
    if cache_tokens < wish.window_tokens:
        raise ConfigError(_too_large(wish, tensor, room, per_token))
    at_once = cache_tokens / wish.window_tokens
    reasons.append(
        f"{_arithmetic(wish, tensor)}, so the KV cache holds about {cache_tokens:,} tokens: "
        f"{at_once:.1f} requests of the full {wish.window_tokens:,}. Tell Citewell: llm.cache_tokens = {cache_tokens}"
    )
    replicas = wish.gpus // tensor
    engines = tuple(_engine(wish, tensor, replica) for replica in range(replicas))
    figures = {"tensor_parallel": tensor, "replicas": replicas, "cache_tokens": cache_tokens, "full_windows": at_once}
    if wish.window_tokens > wish.shape.native_tokens:
        reasons.append(
            f"The window is longer than the {wish.shape.native_tokens:,} tokens that the model was trained for, so "
            "YaRN stretches it; that costs short texts a little, and is why the long profiles are engines of their own."
        )
    if replicas > 1:
        urls = json.dumps([engine.url for engine in engines])
        reasons.append(f"Put all of them into the configuration: llm.urls = {urls}")
    return Plan(engines=engines, reasons=tuple(reasons), figures=figures)


def _split(wish: Wish) -> tuple[int, list[str]]:
    """GPUs of one replica, and why."""
    least = _least_gpus(wish)
    if wish.parallel == "tensor" and wish.gpus > 1:
        tensor = _divisor(wish, wish.gpus)
        return tensor, [f"Tensor parallel over {tensor} GPUs, as asked."]
    if least > 1:
        return least, [f"Tensor parallel over {least} GPUs: on fewer, weights and four full windows do not fit."]
    if wish.gpus == 1:
        return 1, ["One GPU: nothing to split."]
    if wish.parallel == "auto" and wish.load == "documents":
        tensor = _divisor(wish, wish.gpus)
        return tensor, [f"Tensor parallel over {tensor} GPUs: few long prompts, and each is answered sooner."]
    why = "as asked" if wish.parallel == "data" else "many requests, and replicas answer more of them a second"
    return 1, [
        f"{wish.gpus} replicas of one GPU each ({why}); Citewell sends a conversation, or a topic, to the same "
        "replica, so that each keeps its own prefix cache."
    ]


def _least_gpus(wish: Wish) -> int:
    """The fewest GPUs of a replica that hold weights and four windows, or one; all there are when even those do not."""
    for windows in (4, 1):
        for tensor in filter(lambda n: _splits(wish.shape, n), range(1, wish.gpus + 1)):
            weights = wish.shape.weight_bytes(wish.quantization) / tensor
            token = wish.shape.kv_bytes(fp8=wish.fp8_cache) / min(tensor, wish.shape.kv_heads)
            room = wish.gpu_gib * wish.memory_share * GIB - _OVERHEAD_GIB * GIB - weights
            if windows * wish.window_tokens * token <= room:
                return tensor
    return _divisor(wish, wish.gpus)


def _splits(shape: Shape, gpus: int) -> bool:
    """Whether the attention heads can be split over so many GPUs."""
    return shape.heads % gpus == 0 and (shape.kv_heads % gpus == 0 or gpus % shape.kv_heads == 0)


def _divisor(wish: Wish, gpus: int) -> int:
    """The most GPUs, up to those there are, that the attention heads can be split over."""
    return next(n for n in range(gpus, 0, -1) if _splits(wish.shape, n))


def _arithmetic(wish: Wish, tensor: int) -> str:
    weights = wish.shape.weight_bytes(wish.quantization) / tensor / GIB
    kv = wish.shape.kv_bytes(fp8=wish.fp8_cache) / 1024
    return (
        f"{wish.gpu_gib:.0f} GiB x {wish.memory_share:g} less {weights:.1f} GiB of weights and {_OVERHEAD_GIB} GiB for "
        f"the engine, at {kv:.0f} KiB a token"
    )


def _too_large(wish: Wish, tensor: int, room: float, per_token: float) -> str:
    arithmetic = f"On each GPU: {_arithmetic(wish, tensor)}"
    if room <= 0:
        lack = "there is no room for any KV cache"
    else:
        lack = f"that leaves {int(room / per_token):,} tokens, and the window has {wish.window_tokens:,}"
    return (
        f"{wish.served_name} does not fit on {tensor} of {wish.gpus} GPU(s). {arithmetic}: {lack}. Use more or larger "
        "GPUs, a smaller profile, --quantization fp8 (or an awq, gptq or int8 checkpoint), or --fp8-cache."
    )


def _engine(wish: Wish, tensor: int, replica: int) -> Engine:
    sequences, batched = _LOADS[wish.load]
    port = wish.port + replica
    arguments = [
        wish.model,
        *("--served-model-name", wish.served_name),
        *("--host", wish.host),
        *("--port", str(port)),
        *("--max-model-len", str(wish.window_tokens)),
        *("--gpu-memory-utilization", f"{wish.memory_share:g}"),
        *("--max-num-seqs", str(sequences)),
        *("--max-num-batched-tokens", str(batched)),
        *("--max-cudagraph-capture-size", str(min(sequences, 256))),
        "--enable-prefix-caching",
        "--enable-chunked-prefill",
        "--enable-prompt-tokens-details",
        *("--generation-config", "vllm"),
    ]
    if tensor > 1:
        arguments += ["--tensor-parallel-size", str(tensor)]
    if wish.window_tokens > wish.shape.native_tokens:
        arguments += ["--hf-overrides", json.dumps(_yarn(wish))]
    if wish.quantization != "none":
        arguments += ["--quantization", _READY_MADE.get(wish.quantization, wish.quantization)]
    if wish.fp8_cache:
        arguments += ["--kv-cache-dtype", "fp8"]
    if wish.fast_load:
        arguments += ["--load-format", "fastsafetensors"]
    environment = {"VLLM_NO_USAGE_STATS": "1"}
    if wish.cache_folder:
        environment["VLLM_CACHE_ROOT"] = wish.cache_folder
    if wish.gpus > tensor:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(str(replica * tensor + i) for i in range(tensor))
    return Engine(arguments=tuple(arguments), environment=environment, url=f"http://{wish.host}:{port}/v1")


def _yarn(wish: Wish) -> dict[str, Any]:
    """YaRN's parameters (arXiv 2309.00071) as vLLM takes them from 0.24 on."""
    native = wish.shape.native_tokens
    return {
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": wish.shape.rope_theta,
            "factor": float(-(-wish.window_tokens // native)),
            "original_max_position_embeddings": native,
        },
        "max_position_embeddings": wish.window_tokens,
    }

"""The command of one vLLM process: its flags are those of vLLM 0.24 to 0.33."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.vllm.launch.shape import Quantization
from service.vllm.launch.wish import Load, Wish

# Sequences at once, and tokens that one step works on.
_LOADS: Mapping[Load, tuple[int, int]] = {
    "questions": (256, 8_192),
    "documents": (16, 16_384),
    "conversations": (128, 8_192),
}
_READY_MADE: Mapping[Quantization, str] = {"awq": "awq", "gptq": "gptq", "int8": "compressed-tensors"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One vLLM process: its arguments after `vllm serve`, and its environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    url: str

    def shell(self) -> str:
        """As a line for a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*variables, "vllm", "serve", *(shlex.quote(argument) for argument in self.arguments)])


def engine_of(wish: Wish, *, gpus: int, replica: int) -> Engine:
    """The process of a replica, counted from 0, that is split over so many GPUs."""
    port = wish.port + replica
    environment = {"VLLM_NO_USAGE_STATS": "1"}
    if wish.cache_folder:
        environment["VLLM_CACHE_ROOT"] = wish.cache_folder
    if wish.gpus > gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(str(replica * gpus + i) for i in range(gpus))
    return Engine(
        arguments=tuple(_arguments(wish, gpus, port)), environment=environment, url=f"http://{wish.host}:{port}/v1"
    )


def _arguments(wish: Wish, gpus: int, port: int) -> list[str]:
    sequences, batched = _LOADS[wish.load]
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
    if gpus > 1:
        arguments += ["--tensor-parallel-size", str(gpus)]
    if wish.is_stretched:
        arguments += ["--hf-overrides", json.dumps(_yarn(wish))]
    if wish.quantization != "none":
        arguments += ["--quantization", _READY_MADE.get(wish.quantization, wish.quantization)]
    if wish.fp8_cache:
        arguments += ["--kv-cache-dtype", "fp8"]
    if wish.fast_load:
        arguments += ["--load-format", "fastsafetensors"]
    return arguments


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

"""The memory of a GPU: weights, what vLLM takes itself, and what is left for the KV cache."""

from dataclasses import dataclass

from rag.errors import ConfigError
from service.vllm.launch.wish import Wish

_GIB = 2**30
# What vLLM takes besides weights and KV cache: activations of a prefill step, CUDA graphs, NCCL. On one H100 with a 7B
# model it was 3.1 GiB (docs/vllm.md).
_OVERHEAD_GIB = 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of each GPU of a replica. room_bytes: left for the KV cache, below 0 where the weights alone do not fit."""

    weight_bytes: float
    room_bytes: float
    token_bytes: float

    @property
    def cache_tokens(self) -> int:
        """Tokens that the KV cache holds."""
        return int(self.room_bytes / self.token_bytes)


def memory_of(wish: Wish, gpus: int) -> Memory:
    """The memory of each GPU when a replica is split over so many."""
    weights = wish.shape.weight_bytes(wish.quantization) / gpus
    return Memory(
        weight_bytes=weights,
        room_bytes=wish.gpu_gib * wish.memory_share * _GIB - _OVERHEAD_GIB * _GIB - weights,
        token_bytes=wish.shape.kv_bytes(fp8=wish.fp8_cache) / min(gpus, wish.shape.kv_heads),
    )


def arithmetic(wish: Wish, memory: Memory) -> str:
    kv = wish.shape.kv_bytes(fp8=wish.fp8_cache) / 1024
    return (
        f"{wish.gpu_gib:.0f} GiB x {wish.memory_share:g} less {memory.weight_bytes / _GIB:.1f} GiB of weights and "
        f"{_OVERHEAD_GIB} GiB for the engine, at {kv:.0f} KiB a token"
    )


def check_fits(wish: Wish, gpus: int) -> None:
    """Raises ConfigError, with the arithmetic, where the weights or one full window do not fit on so many GPUs."""
    memory = memory_of(wish, gpus)
    if memory.cache_tokens >= wish.window_tokens:
        return
    if memory.room_bytes <= 0:
        lack = "there is no room for any KV cache"
    else:
        lack = f"that leaves {memory.cache_tokens:,} tokens, and the window has {wish.window_tokens:,}"
    raise ConfigError(
        f"{wish.served_name} does not fit on {gpus} of {wish.gpus} GPU(s). On each GPU: {arithmetic(wish, memory)}: "
        f"{lack}. Use more or larger GPUs, a smaller profile, --quantization fp8 (or an awq, gptq or int8 checkpoint), "
        "or --fp8-cache."
    )

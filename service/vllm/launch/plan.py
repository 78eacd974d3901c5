"""How a model is spread over GPUs: one engine over several, or replicas; and whether it fits."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.vllm.launch.command import Engine, engine_of
from service.vllm.launch.memory import arithmetic, check_fits, memory_of
from service.vllm.launch.wish import Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The processes to start, why so, and the numbers that they were chosen by."""

    engines: tuple[Engine, ...]
    reasons: tuple[str, ...]
    figures: Mapping[str, float] = field(default_factory=dict)


def plan(wish: Wish) -> Plan:
    """The processes to start. Raises ConfigError, with the arithmetic, where the model or the window does not fit."""
    gpus, why = _split(wish)
    check_fits(wish, gpus)
    memory = memory_of(wish, gpus)
    full_windows = memory.cache_tokens / wish.window_tokens
    engines = tuple(engine_of(wish, gpus=gpus, replica=replica) for replica in range(wish.gpus // gpus))
    reasons = [
        why,
        f"{arithmetic(wish, memory)}, so the KV cache holds about {memory.cache_tokens:,} tokens: "
        f"{full_windows:.1f} requests of the full {wish.window_tokens:,}. "
        f"Tell Citewell: llm.cache_tokens = {memory.cache_tokens}",
    ]
    if wish.is_stretched:
        reasons.append(
            f"The window is longer than the {wish.shape.native_tokens:,} tokens that the model was trained for, so "
            "YaRN extends it; that costs short texts a little, so the long profiles have engines of their own."
        )
    if len(engines) > 1:
        urls = json.dumps([engine.url for engine in engines])
        reasons.append(f"Put all of them in the configuration: llm.urls = {urls}")
    figures = {
        "tensor_parallel": gpus,
        "replicas": len(engines),
        "cache_tokens": memory.cache_tokens,
        "full_windows": full_windows,
    }
    return Plan(engines=engines, reasons=tuple(reasons), figures=figures)


def _split(wish: Wish) -> tuple[int, str]:
    """GPUs of one replica, and why."""
    if wish.parallel == "tensor" and wish.gpus > 1:
        gpus = _most_gpus(wish)
        return gpus, f"Tensor parallel over {gpus} GPUs, as asked."
    least = _least_gpus(wish)
    if least > 1:
        return least, f"Tensor parallel over {least} GPUs: on fewer, weights and four full windows do not fit."
    if wish.gpus == 1:
        return 1, "One GPU: nothing to split."
    if wish.parallel == "auto" and wish.load == "documents":
        gpus = _most_gpus(wish)
        return gpus, f"Tensor parallel over {gpus} GPUs: few long prompts, and each is answered sooner."
    why = "as asked" if wish.parallel == "data" else "many requests, and replicas answer more of them a second"
    return 1, (
        f"{wish.gpus} replicas of one GPU each ({why}); Citewell sends a conversation, or a topic, to the same "
        "replica, so that each keeps its own prefix cache."
    )


def _least_gpus(wish: Wish) -> int:
    """The fewest GPUs of a replica that hold weights and four windows, or one; the most when even those do not fit."""
    for windows in (4, 1):
        for gpus in filter(wish.shape.splits, range(1, wish.gpus + 1)):
            if windows * wish.window_tokens <= memory_of(wish, gpus).cache_tokens:
                return gpus
    return _most_gpus(wish)


def _most_gpus(wish: Wish) -> int:
    """The most GPUs, of those there are, that the attention heads can be split over."""
    return next(gpus for gpus in range(wish.gpus, 0, -1) if wish.shape.splits(gpus))

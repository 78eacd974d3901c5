"""What is asked of vLLM: which model, on which GPUs, for what kind of questions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rag.errors import ConfigError
from rag.prompt.profiles import PROFILES
from service.vllm.launch.shape import Quantization, Shape

Load = Literal["questions", "documents", "conversations"]
Parallel = Literal["auto", "tensor", "data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """gpu_gib: memory of each GPU. memory_share: how much of it vLLM may take. port: of the first process."""

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

    @property
    def is_stretched(self) -> bool:
        """Whether the window is longer than what the model was trained for."""
        return self.window_tokens > self.shape.native_tokens


def wish_of(choices: Mapping[str, str], *, profile: str, **wish: Any) -> Wish:
    """A wish from words of the command line. Raises ConfigError for a word that there is not."""
    allowed = {"load": get_args(Load), "parallel": get_args(Parallel), "quantization": get_args(Quantization)}
    for name, value in {**choices, "profile": profile}.items():
        known = allowed.get(name, tuple(PROFILES))
        if value not in known:
            raise ConfigError(f"There is no {name} {value!r}. Choose from: {', '.join(known)}.")
    return Wish(window_tokens=PROFILES[profile], **choices, **wish)  # type: ignore[arg-type]

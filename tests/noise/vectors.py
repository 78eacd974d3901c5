"""Noise on an embedder's vectors, which takes them as far from the true ones as another processor does.

ONNX Runtime gave other vectors for 8-bit weights with AVX-512 VNNI than without, with a cosine of about .993 between
the two; the bundled encoder's 7-bit weights give .999, so this is more noise than there is. A
test that passes with any seed stands on no score that lies near a threshold.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

COSINE = 0.993


def disturbed(vectors: np.ndarray, texts: Sequence[str], *, seed: str, query: bool = False) -> np.ndarray:
    """Unit vectors with a cosine of COSINE to the ones given; the same seed, text and `query` give the same noise."""
    if not len(texts):
        return vectors
    drawn = np.array([_drawn(f"{seed}\0{query:d}\0{text}", vectors.shape[1]) for text in texts])
    across = drawn - np.sum(drawn * vectors, axis=1, keepdims=True) * vectors
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return np.asarray(COSINE * vectors + math.sqrt(1 - COSINE**2) * across, dtype=np.float32)


def _drawn(key: str, dim: int) -> np.ndarray:
    """Numbers about 0 from a hash, which no library's next version draws otherwise."""
    digest = hashlib.shake_256(key.encode("utf-8", "surrogatepass")).digest(dim)
    return np.frombuffer(digest, dtype=np.uint8) - 127.5


class Disturbed:
    """An embedder with noise on its vectors, as long as there is a seed."""

    def __init__(self, embedder: Any, seed: Callable[[], str]) -> None:
        self._embedder, self._seed = embedder, seed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        vectors, seed = self._embedder.embed(texts, query=query), self._seed()
        return disturbed(vectors, texts, seed=seed, query=query) if seed else vectors


def disturbing(load: Callable[..., Any], seed: Callable[[], str]) -> Callable[..., Any]:
    """`load_embedder` with noise on what it gives out, but for endpoints, whose vectors are another machine's."""

    def load_disturbed(*args: Any, **options: Any) -> Any:
        embedder = load(*args, **options)
        return Disturbed(embedder, seed) if seed() and not options.get("url") else embedder

    return load_disturbed

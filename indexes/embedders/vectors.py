"""What every backend does with vectors."""

from typing import Any

import numpy as np

from rag.ports import Vectors


def unit(vectors: Any) -> Vectors:
    """Rows scaled to length 1, as float32; a row of zeros stays one."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)

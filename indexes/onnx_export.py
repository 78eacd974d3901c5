"""Export a BERT-like sentence-transformers model to int8 ONNX, once, into the user's cache.

ONNX Runtime on int8 embeds about 2.5 times as fast as PyTorch on a CPU and starts in a tenth of the time
(docs/benchmarks.md). The export is checked against the original before it is used.
"""

import hashlib
import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from rag.errors import EmbedderUnavailable

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MIN_COSINE = 0.98
_PROBES = (
    "Which albums did AC/DC release?",
    "Customer: Luís Gonçalves; city: São José dos Campos; support rep: Jane Peacock",
    "Records can be returned within thirty days when the seal is not broken.",
)


def exported_model(model_dir: Path) -> Path:
    """Path of the int8 model for a model folder, exported on first use (about 10 s)."""
    weights = model_dir / "model.safetensors"
    stamp = hashlib.sha256(f"{weights.stat().st_size}\0{_digest(weights)}\0int8-2".encode()).hexdigest()[:16]
    target = Path(platformdirs.user_cache_dir("citewell")) / "onnx" / f"{stamp}.onnx"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            os.replace(_export(model_dir, Path(scratch)), target)
    return target


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(1 << 20)).hexdigest()


def _export(model_dir: Path, scratch: Path) -> Path:
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    model = AutoModel.from_pretrained(model_dir, attn_implementation="eager").eval()

    class Encoder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return self.model(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state

    ids = torch.ones(2, 8, dtype=torch.long)
    axes = {name: {0: "batch", 1: "tokens"} for name in (*INPUTS, "hidden")}
    logging.getLogger("root").setLevel(logging.ERROR)  # quantize_dynamic advises on every call
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Encoder(), (ids, ids, torch.zeros_like(ids)), str(scratch / "fp32.onnx"), dynamo=False, opset_version=17,
            input_names=list(INPUTS), output_names=["hidden"], dynamic_axes=axes,
        )  # fmt: skip
    quantize_dynamic(scratch / "fp32.onnx", scratch / "int8.onnx", weight_type=QuantType.QInt8, per_channel=True)
    _check(model_dir, scratch / "int8.onnx")
    return scratch / "int8.onnx"


def _check(model_dir: Path, exported: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from indexes.embedders import OnnxEmbedder

    original = SentenceTransformer(str(model_dir), device="cpu").encode(list(_PROBES), normalize_embeddings=True)
    cosines = np.sum(original * OnnxEmbedder(model_dir, exported).embed(_PROBES), axis=1)
    if cosines.min() < MIN_COSINE:
        raise EmbedderUnavailable(
            f"The int8 export of {model_dir.name} differs from the original (cosine {cosines.min():.3f}, at least "
            f'{MIN_COSINE} is needed). Set embedder.backend = "torch" to use the original.'
        )

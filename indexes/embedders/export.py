"""Export a BERT-like sentence-transformers model to int8 ONNX, once, into the user's cache.

ONNX Runtime on int8 embeds about 2.5 times as fast as PyTorch on a CPU and starts in a tenth of the time
(docs/benchmarks.md). The export is checked against the original before it is used.
"""

import hashlib
import importlib.util
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from indexes.embedders.bundled import cache_folder
from indexes.embedders.onnx_backend import INPUTS, exported_embedder
from rag.boundary.child import run_child
from rag.boundary.extras import needs_extra
from rag.errors import EmbedderUnavailable
from rag.language.languages import known_pairs
from rag.ports import Vectors

MIN_COSINE, MAX_LOST = 0.98, 1
_FORMAT = "int8-3"


def exported_model(folder: Path) -> Path:
    """Path of the int8 model for a model folder, exported on first use (about 15 s).

    A process of its own exports, so that this one never holds the 2 GB that it takes.
    Raises EmbedderUnavailable when the export does not agree with the original.
    """
    cache = cache_folder() / "onnx"
    target, refused = (cache / f"{stamp_of(folder / 'model.safetensors')}{ending}" for ending in (".onnx", ".refused"))
    if not target.exists() and not refused.exists():
        if importlib.util.find_spec("torch") is None:
            raise EmbedderUnavailable(needs_extra(f"The embedding model {folder.name!r} needs", "models"))
        cache.mkdir(parents=True, exist_ok=True)
        if reason := run_child("indexes.embedders.export", str(folder), str(target), str(refused)):
            raise EmbedderUnavailable(
                f'{folder.name} cannot be exported to ONNX: {reason}\nSet embedder.backend = "torch".'
            )
    if refused.exists():
        raise EmbedderUnavailable(refused.read_text())
    return target


def stamp_of(weights: Path) -> str:
    """A name for weights: their size and 64 places of them, because fine-tuned models may begin alike."""
    size = weights.stat().st_size
    digest = hashlib.sha256(f"{size}\0{_FORMAT}".encode())
    with weights.open("rb") as file:
        for place in range(64):
            file.seek(size * place // 64)
            digest.update(file.read(1 << 14))
    return digest.hexdigest()[:16]


def main() -> None:
    """Export a folder to a file, or write why the export is of no use to another."""
    folder, target, refused = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        try:
            os.replace(_export(folder, Path(scratch)), target)
        except EmbedderUnavailable as err:
            refused.write_text(str(err))


def _export(folder: Path, scratch: Path) -> Path:
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # a model without a pooler says so on every load
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    class Encoder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.ones(2, 8, dtype=torch.long)
    axes = {name: {0: "batch", 1: "tokens"} for name in (*INPUTS, "hidden")}
    logging.getLogger("root").setLevel(logging.ERROR)  # quantize_dynamic advises on every call
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Encoder(), (ids, ids), str(scratch / "fp32.onnx"), dynamo=False, opset_version=17,
            input_names=list(INPUTS), output_names=["hidden"], dynamic_axes=axes,
        )  # fmt: skip
    quantize_dynamic(scratch / "fp32.onnx", scratch / "int8.onnx", weight_type=QuantType.QInt8, per_channel=True)
    _check(folder, scratch / "int8.onnx")
    return scratch / "int8.onnx"


def _check(folder: Path, exported: Path) -> None:
    """Compare with the original: the vectors, and which passage is found for which question."""
    from sentence_transformers import SentenceTransformer

    pairs = [pair for of_language in known_pairs().values() for pair in of_language]
    questions, passages = (list(texts) for texts in zip(*pairs, strict=True))
    original, fast = SentenceTransformer(str(folder), device="cpu"), exported_embedder(folder, exported)
    asked = original.encode_query(questions, normalize_embeddings=True, show_progress_bar=False)
    held = original.encode_document(passages, normalize_embeddings=True, show_progress_bar=False)
    if reason := disagreement((asked, held), (fast.embed(questions, query=True), fast.embed(passages))):
        raise EmbedderUnavailable(
            f"The int8 export of {folder.name} differs from the original: {reason}. "
            'Set embedder.backend = "torch" to use the original.'
        )


def disagreement(original: tuple[Vectors, Vectors], fast: tuple[Vectors, Vectors]) -> str:
    """Why an export is too far from its original to be used, or nothing.

    Both give unit vectors of questions and of the passages that answer them, in the same order.
    """
    (asked, held), (asked_fast, held_fast) = original, fast
    cosine = float(min(np.sum(asked * asked_fast, axis=1).min(), np.sum(held * held_fast, axis=1).min()))
    own = range(len(asked))
    found, found_fast = np.argmax(asked @ held.T, axis=1) == own, np.argmax(asked_fast @ held_fast.T, axis=1) == own
    lost = int(np.sum(found & ~found_fast))
    if cosine >= MIN_COSINE and lost <= MAX_LOST:
        return ""
    return (
        f"its lowest cosine is {cosine:.3f} (at least {MIN_COSINE} is needed), and it loses {lost} of {found.sum()} "
        f"probes (at most {MAX_LOST} may be lost)"
    )


if __name__ == "__main__":
    main()

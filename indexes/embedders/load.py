"""Which embedder serves a model: ONNX Runtime, sentence-transformers, or an endpoint."""

import importlib.util
import logging
import shutil

from indexes.embedders.bundled import NAME, bundled_embedder
from indexes.embedders.endpoint import EndpointEmbedder
from indexes.embedders.export import exported_model
from indexes.embedders.model_folder import MODEL, Prompts, is_bundled, locate, unexportable
from indexes.embedders.onnx_backend import exported_embedder
from indexes.embedders.torch_backend import SentenceTransformersEmbedder
from indexes.embedders.unpacked import unpacked_model
from rag.errors import EmbedderUnavailable
from rag.ports import Embedder

# Embedders of earlier versions whose vectors are as near (a cosine of .99): what they built goes on to be used.
OLDER = {NAME: (f"{MODEL}/int8",)}

_log = logging.getLogger("citewell")


def load_embedder(
    model: str = MODEL,
    *,
    url: str = "",
    api_key: str = "",
    backend: str = "auto",
    timeout_s: float = 60.0,
    prompts: Prompts = Prompts(),
) -> Embedder:
    """The embedder for a model name or folder, or for an OpenAI-compatible endpoint when `url` is given.

    backend: "onnx" (8 bits on the CPU), "torch" (sentence-transformers), or "auto": ONNX for a BERT-like model where
    there is no GPU, and torch for what ONNX cannot do. All but the bundled model on ONNX need the extra `models`.
    Raises EmbedderUnavailable when the model cannot be loaded or the endpoint does not answer.
    """
    if url:
        return EndpointEmbedder(model, url=url, api_key=api_key, timeout_s=timeout_s, prompts=prompts)
    on_cpu = backend == "onnx" or (backend == "auto" and not shutil.which("nvidia-smi"))
    if is_bundled(model):
        has_torch = importlib.util.find_spec("sentence_transformers") is not None
        if on_cpu or (backend == "auto" and not has_torch):
            return bundled_embedder(prompts)
        return SentenceTransformersEmbedder(str(unpacked_model()), name=MODEL, prompts=prompts)
    name, folder = locate(model)
    if on_cpu:
        reason = unexportable(folder)
        if not reason:
            try:
                return exported_embedder(folder, exported_model(folder), name=name, prompts=prompts)
            except EmbedderUnavailable as err:
                if backend == "onnx":
                    raise
                _log.warning("%s", err)
        elif backend == "onnx":
            raise EmbedderUnavailable(
                f'embedder.backend = "onnx" cannot serve {model!r}: {reason}. Set embedder.backend = "torch".'
            )
    return SentenceTransformersEmbedder(str(folder), name=name, prompts=prompts)

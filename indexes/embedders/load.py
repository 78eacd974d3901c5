"""Which embedder serves a model: ONNX Runtime, sentence-transformers, or an endpoint."""

import logging
import shutil

from indexes.embedders.bundled import MODEL as BUNDLED
from indexes.embedders.endpoint import EndpointEmbedder
from indexes.embedders.export import exported_model
from indexes.embedders.model_folder import Prompts, locate, unexportable
from indexes.embedders.onnx_backend import OnnxEmbedder
from indexes.embedders.torch_backend import SentenceTransformersEmbedder
from rag.errors import EmbedderUnavailable
from rag.ports import Embedder

_log = logging.getLogger("citewell")


def load_embedder(
    model: str = BUNDLED,
    *,
    url: str = "",
    api_key: str = "",
    backend: str = "auto",
    timeout_s: float = 60.0,
    prompts: Prompts = Prompts(),
) -> Embedder:
    """The embedder for a model name or folder, or for an OpenAI-compatible endpoint when `url` is given.

    backend: "onnx" (int8 on the CPU), "torch" (sentence-transformers), or "auto": ONNX for a BERT-like model where
    there is no GPU, and torch for what ONNX cannot do.
    Raises EmbedderUnavailable when the model cannot be loaded or the endpoint does not answer.
    """
    if url:
        return EndpointEmbedder(model, url=url, api_key=api_key, timeout_s=timeout_s, prompts=prompts)
    name, folder = locate(model)
    if backend == "onnx" or (backend == "auto" and not shutil.which("nvidia-smi")):
        reason = unexportable(folder)
        if not reason:
            try:
                return OnnxEmbedder(folder, exported_model(folder), name=name, prompts=prompts)
            except EmbedderUnavailable as err:
                if backend == "onnx":
                    raise
                _log.warning("%s", err)
        elif backend == "onnx":
            raise EmbedderUnavailable(
                f'embedder.backend = "onnx" cannot serve {model!r}: {reason}. Set embedder.backend = "torch".'
            )
    return SentenceTransformersEmbedder(str(folder), name=name, prompts=prompts)

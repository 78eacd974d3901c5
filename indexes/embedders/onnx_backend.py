"""BERT-like encoders on ONNX Runtime, in int8 on the CPU (export.py writes their files)."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from indexes.embedders.model_folder import Prompts, config_of, max_tokens_of, pooling_of, prompts_of
from indexes.embedders.vectors import unit
from rag.ports import Vectors

_BATCH_CHARS = 4096  # about 1,000 tokens: a batch that stays in a core's cache


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
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            tokenizer.enable_truncation(max_tokens_of(folder))
            tokenizer.enable_padding(pad_id=int(config_of(folder).get("pad_token_id") or 0))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1  # one batch a core is a third faster than one batch on all
            session = onnxruntime.InferenceSession(str(onnx_path), options, providers=["CPUExecutionProvider"])
            model = _in_use[onnx_path] = _OnnxModel(tokenizer=tokenizer, session=session)
        return model


class OnnxEmbedder:
    """A BERT-like encoder on ONNX Runtime; 3 ms a query on one core, and a batch a core at a time."""

    def __init__(self, folder: Path, onnx_path: Path, *, name: str = "", prompts: Prompts = Prompts()) -> None:
        config = config_of(folder)
        self.name = f"{name or folder.name}/int8"
        self.dim = int(config.get("hidden_size") or config["dim"])
        self._prompts = prompts_of(folder, prompts)
        self._pooling = pooling_of(folder)
        self._folder, self._onnx_path = folder, onnx_path
        self._pool = ThreadPoolExecutor(_cores(), thread_name_prefix="citewell-embed")

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        prompt = self._prompts[query]
        if len(texts) == 1:
            return self._embed_batch([prompt + texts[0]])
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        batches = batches_of_like_length(texts)
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
        return unit(pooled(hidden, mask, self._pooling))


def pooled(hidden: npt.NDArray[Any], mask: npt.NDArray[Any], pooling: str) -> npt.NDArray[Any]:
    """One vector a text, of (texts, tokens, dim): its first token's (cls), or the mean of those that are no padding."""
    if pooling == "cls":
        return hidden[:, 0]
    return np.asarray((hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def batches_of_like_length(texts: Sequence[str]) -> list[list[int]]:
    """Indices in batches of texts of like length, so that little of a batch is padding, the long ones first."""
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    batches: list[list[int]] = []
    for i in order:
        if batches and (len(batches[-1]) + 1) * len(texts[batches[-1][0]]) <= _BATCH_CHARS:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches

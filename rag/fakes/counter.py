"""A token counter without a vocabulary."""

from collections.abc import Sequence

from rag.types import Message

_AROUND, _REPLY = 3, 3  # as many as Qwen's template puts around a message, and at the opened reply


class CharacterCounter:
    """A character is a token. additive: False is a tokenizer that may join tokens across a line break."""

    def __init__(self, *, additive: bool = True) -> None:
        self.additive = additive

    def count_text(self, text: str) -> int:
        return len(text)

    def count(self, messages: Sequence[Message]) -> int:
        return sum(_AROUND + len(f"{m.role}\n{m.content}") for m in messages) + _REPLY

"""Counting tokens with another model's tokenizer."""

import itertools
from collections.abc import Sequence
from typing import Any

from rag.boundary.extras import needs_extra
from rag.errors import ConfigError
from rag.types import Message


class TransformersTokenCounter:
    """Counts tokens with another model's own tokenizer and chat template, from its folder or the hub."""

    additive = False

    def __init__(self, model: str) -> None:
        try:
            from transformers import AutoTokenizer
        except ImportError as err:
            raise ConfigError(needs_extra(f"llm.tokenizer = {model!r} needs", "models")) from err
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        except (OSError, ValueError) as err:
            reason = (str(err).strip().splitlines() or [type(err).__name__])[0][:300]
            raise ConfigError(f"llm.tokenizer = {model!r} cannot be loaded: {reason}") from err

    def count_text(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def count(self, messages: Sequence[Message]) -> int:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        made = self._tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)
        ids = made["input_ids"]
        return len(list(itertools.chain.from_iterable(ids)) if ids and isinstance(ids[0], list) else ids)

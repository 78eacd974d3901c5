"""A chat completion as a language model's server streams it, event by event."""

import json
from typing import Any


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(content: object = None, *, finish: object = None, **more: object) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 9,
    "total_tokens": 109,
    "prompt_tokens_details": {"cached_tokens": 64},
}


def stream_of(text: str) -> list[bytes]:
    """An answer as vLLM streams it."""
    middle = len(text) // 2
    parts = [chunk(""), chunk(text[:middle]), chunk(text[middle:]), chunk("", finish="stop")]
    return [*map(event, parts), event(chunk() | {"choices": [], "usage": USAGE}), b"data: [DONE]\n\n"]

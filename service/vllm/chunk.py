"""One chunk of a streamed chat completion, as servers really send it; what it may hold is decided here, once."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from rag.errors import AnswerFiltered, GeneratorUnavailable, RequestRefused
from rag.types import Usage
from service.vllm.events import ServerSentEvent

# https://platform.openai.com/docs/api-reference/chat-streaming, and what TGI, llama.cpp and proxies say for the same
_WHOLE = {"stop", "eos", "eos_token", "stop_sequence", "end_turn", "tool_calls", "function_call"}
_LENGTH = {"length", "max_tokens"}
_FILTERED = {"content_filter", "safety", "refusal"}
_ABORTED = {"abort", "aborted", "cancelled", "canceled", "error"}
_MOST_TOKENS = 2**31
REFUSED = {400, 413, 422}  # what a request is refused with by a server that works
_GAVE_UP = "The language model gave up its answer before the end. Ask again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """text: of the answer. thinks: it holds reasoning, which is not kept. reason: why the answer ended, or empty."""

    text: str = ""
    thinks: bool = False
    reason: str = ""
    usage: Usage | None = None

    @property
    def is_cut(self) -> bool:
        """Whether max_tokens ended the answer."""
        return self.reason in _LENGTH


def chunks_of(event: ServerSentEvent) -> Iterator[Chunk]:
    """The chunks of an event: one, or none for the mark of the end.

    Raises GeneratorUnavailable for what is none, and what an error among them says: RequestRefused, AnswerFiltered.
    """
    data = event.data.strip()
    if data and data != b"[DONE]":
        for value in _values(data):
            yield _chunk(value, is_error=event.name == b"error")


def _values(data: bytes) -> list[object]:
    """What an event's data say; several objects, where a server does not part its events by empty lines."""
    try:
        return [orjson.loads(data)]
    except orjson.JSONDecodeError:
        pieces = data.split(b"\n")
    try:
        if len(pieces) == 1:
            return [json.loads(data)]  # which knows halves of characters
        return [orjson.loads(piece) for piece in pieces if piece and piece != b"[DONE]"]
    except (ValueError, RecursionError) as err:
        raise GeneratorUnavailable(f"The language model sent an event that is not JSON: {_shown(data)}") from err


def _chunk(value: object, *, is_error: bool) -> Chunk:
    if not isinstance(value, dict):
        raise GeneratorUnavailable(f"The language model sent an event that is not an object: {_shown(value)}")
    error = value.get("error")
    if error is not None or is_error:
        raise error_of(error if error is not None else value)
    choices = value.get("choices")
    if not isinstance(choices, list | None):
        raise GeneratorUnavailable(f"The language model sent choices that are not a list: {_shown(choices)}")
    text, thinks, reason = "", False, ""
    for choice in choices or ():
        if choice is None or (isinstance(choice, dict) and choice.get("index") not in (0, None)):
            continue
        if not isinstance(choice, dict):
            raise GeneratorUnavailable(f"The language model sent a choice that is not an object: {_shown(choice)}")
        delta = choice.get("delta") or choice.get("message") or {}
        if not isinstance(delta, dict):
            raise GeneratorUnavailable(f"The language model sent a delta that is not an object: {_shown(delta)}")
        text += _text(delta.get("content"))
        thinks = thinks or bool(delta.get("reasoning_content") or delta.get("reasoning"))
        reason = _reason(choice.get("finish_reason")) or reason
    return Chunk(text=text, thinks=thinks, reason=reason, usage=_usage(value.get("usage")))


def error_of(error: object, status: int | None = None) -> GeneratorUnavailable:
    """What a server says went wrong, as our error. status: of its answer; else as the error itself says."""
    fields: Mapping[str, Any] = error if isinstance(error, dict) else {}
    if status is None:
        named = fields.get("status", fields.get("code"))
        status = named if isinstance(named, int) else None
    message = fields.get("message") if fields else error
    detail = _shown(message if message is not None else error)
    if fields.get("code") == "content_filter":
        return AnswerFiltered(f"A content filter refused the request: {detail}")
    if status in REFUSED:
        return RequestRefused(f"The language model refused the request ({status}): {detail}")
    return GeneratorUnavailable(f"The language model failed: {detail}")


def _text(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else part for part in content]
        if all(isinstance(text, str) for text in texts):
            return "".join(map(str, texts))
    raise GeneratorUnavailable(f"The language model sent content that is not text: {_shown(content)}")


def _reason(value: object) -> str:
    """Raises AnswerFiltered, or GeneratorUnavailable, where the answer was not ended by the model or max_tokens."""
    if value is None or value == "":
        return ""
    reason = value.lower() if isinstance(value, str) else ""
    if reason in _WHOLE or reason in _LENGTH:
        return reason
    if reason in _FILTERED:
        raise AnswerFiltered(f"A content filter ended the answer ({reason}).")
    what = "gave the answer up" if reason in _ABORTED else "ended the answer for an unknown reason"
    raise GeneratorUnavailable(f"The language model {what} ({_shown(value)}).", public=_GAVE_UP)


def _usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    return Usage(
        prompt_tokens=_count(value.get("prompt_tokens")),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        completion_tokens=_count(value.get("completion_tokens")),
    )


def _count(value: object) -> int:
    """A number of tokens; 0 for what is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS else 0


def _shown(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
    shown = (text or repr(value)).strip()[:120]
    return shown.encode("utf-8", "replace").decode().replace("\n", " ")

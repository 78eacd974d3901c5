"""One request to one server of the language model, and what comes back."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import httpx
import orjson

from rag.errors import EngineBusy, GeneratorUnavailable, QuestionError, RequestRefused
from rag.types import Delta, Message, Route, Sampling
from service.vllm.chunk import REFUSED, Chunk, chunks_of, error_of
from service.vllm.events import ServerSentEvent, TooLong, server_sent_events
from service.vllm.reasoning import AnswerText

_BUSY = {429, 503}
_EVENT_BYTES = 256 << 10
_STREAM_BYTES = 64 << 20
_ERROR_BYTES = 64 << 10
_TOKEN_CHARS = 64  # no answer has more of them for each token that it may have
_PIECE_CHARS = 2_000  # what is looked at on end, while others wait
_CUT_OFF = "The language model's answer was cut off before its end. Ask again."


def body_of(model: str, messages: Sequence[Message], sampling: Sampling, route: Route) -> bytes:
    """A request's body. Raises QuestionError for what JSON cannot carry."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stream": True,
        "stream_options": {"include_usage": True},
        **sampling.options,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if route.cache_salt:
        body["cache_salt"] = route.cache_salt
    if sampling.json_schema is not None:
        body["response_format"] = _response_format(sampling.json_schema)
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as err:
        raise QuestionError(f"The request contains something that JSON cannot represent: {err}") from err


class Replica:
    """One of the language model's equal servers."""

    def __init__(self, client: httpx.AsyncClient, url: str, *, name: str, api_key: str) -> None:
        self._client, self._url, self._name = client, url.rstrip("/"), name
        self._headers = {"Authorization": f"Bearer {api_key}", "Accept-Encoding": "identity"}

    async def stream(self, body: bytes, *, max_tokens: int, is_json: bool) -> AsyncGenerator[Delta, None]:
        """An answer in pieces of a few thousand characters at most.

        A piece without text says that the model is thinking. Text past what max_tokens tokens can have is not read: the
        answer is cut there.
        Raises GeneratorUnavailable for all that goes wrong: EngineBusy, RequestRefused and AnswerFiltered among it.
        """
        try:
            async with aclosing(self._deltas(body, max_tokens * _TOKEN_CHARS, AnswerText(is_json=is_json))) as deltas:
                async for delta in deltas:
                    yield delta
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as err:
            what = "sent more than the limit" if isinstance(err, TooLong) else "does not answer"
            raise GeneratorUnavailable(f"{self._name} {what} ({_first_line(err)}).") from err

    async def window_tokens(self, model: str) -> int | None:
        """The context that the server serves a model with; None where it does not say."""
        try:
            async with self._client.stream("GET", f"{self._url}/models", headers=self._headers) as response:
                found: Any = orjson.loads(b"".join([part async for part in _bytes(response, most=_EVENT_BYTES)]))
            rows = [row for row in found["data"] if row["id"] == model] if response.status_code == 200 else []
            length = rows[0].get("max_model_len") if rows else None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return length if isinstance(length, int) and not isinstance(length, bool) and length > 0 else None

    async def _deltas(self, body: bytes, most_chars: int, text: AnswerText) -> AsyncGenerator[Delta, None]:
        headers = {**self._headers, "Content-Type": "application/json", "Accept": "text/event-stream"}
        url = f"{self._url}/chat/completions"
        begun = ended = is_cut = False
        async with self._client.stream("POST", url, content=body, headers=headers) as response:
            if response.status_code != 200:
                raise await self._problem(response)
            async with aclosing(_chunks(response)) as chunks:
                async for chunk in chunks:
                    ended, is_cut = ended or bool(chunk.reason), is_cut or chunk.is_cut
                    if (chunk.thinks or chunk.text) and not begun:
                        begun = True
                        yield Delta()
                    most_chars -= len(chunk.text)
                    if most_chars < 0:
                        is_cut = ended = True
                        break
                    for start in range(0, len(chunk.text), _PIECE_CHARS):
                        if piece := text.feed(chunk.text[start : start + _PIECE_CHARS]):
                            yield Delta(text=piece)
                        if start:
                            await asyncio.sleep(0)
                    if chunk.usage is not None:
                        yield Delta(usage=chunk.usage)
        if not ended:
            raise GeneratorUnavailable(f"{self._name} cut off its answer before the end.", public=_CUT_OFF)
        yield Delta(text=text.finish(), cut=is_cut)

    async def _problem(self, response: httpx.Response) -> GeneratorUnavailable:
        """What an answer with another status than 200 says."""
        status = response.status_code
        try:
            async with asyncio.timeout(1):
                said = b"".join([part async for part in _bytes(response, most=_ERROR_BYTES)])
        except (ValueError, TimeoutError, httpx.HTTPError):  # too long, or packed: the status says enough
            said = b""
        detail = error_of(_error_in(said), status)
        if status in _BUSY:
            return EngineBusy(f"The queue of {self._name} is full ({status}: {detail}).")
        if status in REFUSED:
            return detail if not isinstance(detail, RequestRefused) else RequestRefused(f"{self._name}: {detail}")
        if response.is_redirect:
            return GeneratorUnavailable(
                f"{self._name} redirects to another address, which Citewell does not follow ({status})."
            )
        return GeneratorUnavailable(f"{self._name} answered with the status {status} ({detail}).")


async def _chunks(response: httpx.Response) -> AsyncGenerator[Chunk, None]:
    if response.headers.get("content-type", "").lower().startswith("application/json"):  # it does not stream
        whole = b"".join([part async for part in _bytes(response, most=_EVENT_BYTES)])
        for chunk in chunks_of(ServerSentEvent(b"", whole)):
            yield chunk
        return
    parts = _bytes(response, most=_STREAM_BYTES)
    async with aclosing(server_sent_events(parts, most_bytes=_EVENT_BYTES)) as events:
        async for event in events:
            for chunk in chunks_of(event):
                yield chunk


async def _bytes(response: httpx.Response, *, most: int) -> AsyncIterator[bytes]:
    """A body's bytes as they come. Raises TooLong; nothing is unpacked, which could be longer than it looks."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ValueError("it compresses its answers, although it was asked not to")
    async for part in response.aiter_raw():
        most -= len(part)
        if most < 0:
            raise TooLong("too many bytes")
        yield part


def _error_in(said: bytes) -> object:
    """The error of a body, whatever its form."""
    try:
        found = orjson.loads(said)
    except orjson.JSONDecodeError:
        return said.decode("utf-8", "replace").strip() or "it said nothing"
    if isinstance(found, dict):
        return found.get("error") or found.get("detail") or found
    return found


def _response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    if not schema:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema), "strict": True}}


def _first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]

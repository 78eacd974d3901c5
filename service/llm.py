"""The language model: an OpenAI-compatible server such as vLLM, through the official client."""

import asyncio
import hashlib
import itertools
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from weakref import WeakKeyDictionary

import httpx
import openai
import openai.resources.chat.completions  # the client would import it on the event loop, with the first question
import orjson

from rag.breaker import Breaker
from rag.deadline import until
from rag.errors import ConfigError, EngineBusy, GeneratorUnavailable
from rag.types import Delta, Message, Route, Sampling, Usage
from service.tracing import chat_span, end_chat

_CONNECT_S = 3.0
_ASK_AGAIN_S = 15.0  # for the window, where a server did not tell it
_WINDOW_KEPT_S = 300.0


class OpenAIGenerator:
    """Streams answers from one of several equal servers.

    Requests with the same affinity go to the same server (rendezvous hashing), so that each keeps its own prefix
    cache; those without one go where the fewest are under way. A server that fails is passed over, and one that fails
    again and again is left alone for a while (rag/breaker.py).
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        model: str,
        api_key: str = "",
        timeout_s: float = 60.0,
        first_token_s: float | None = None,
    ) -> None:
        self._urls = tuple(urls)
        self._model = model
        self._api_key = api_key or "none"
        self._timeout_s = timeout_s
        self._first_token_s = timeout_s if first_token_s is None else min(first_token_s, timeout_s)
        # An HTTP pool belongs to one event loop; the service and the synchronous calls have one each.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, openai.AsyncOpenAI]] = WeakKeyDictionary()
        self._breakers = {url: Breaker() for url in self._urls}
        self._under_way: Counter[str] = Counter()
        self._window: tuple[float, int | None] = (0.0, None)

    def _name(self, url: str) -> str:
        """What a server is called in texts: its place in llm.urls."""
        return engine_name(self._urls.index(url))

    def replica(self, affinity: str) -> str:
        """The server that requests with this affinity go to while it answers."""
        return self._ranked(affinity)[0]

    def _ranked(self, affinity: str) -> list[str]:
        """The servers in the order in which they are tried."""

        def rank(url: str) -> tuple[bool, int, int]:
            weight = int.from_bytes(hashlib.blake2b(f"{affinity}\0{url}".encode(), digest_size=8).digest())
            return self._breakers[url].is_open, 0 if affinity else self._under_way[url], -weight

        return sorted(self._urls, key=rank)

    async def window_tokens(self) -> int | None:
        """The smallest context that one of the servers was started with; None when none says."""
        until, window = self._window
        if time.monotonic() >= until:
            self._window = (time.monotonic() + _ASK_AGAIN_S, window)  # what others go by until it is known
            found = await asyncio.gather(*(self._window_of(url) for url in self._urls))
            window = min((tokens for tokens in found if tokens is not None), default=None)
            self._window = (time.monotonic() + (_ASK_AGAIN_S if None in found else _WINDOW_KEPT_S), window)
        return window

    async def _window_of(self, url: str) -> int | None:
        try:
            async with asyncio.timeout(min(self._timeout_s, 5)):
                models = await self._client(url).models.list()
        except (openai.OpenAIError, TimeoutError, ValueError):
            return None
        served = [m for m in models.data or () if m.id == self._model]
        length = getattr(served[0], "max_model_len", None) if served else None
        return length if isinstance(length, int) else None

    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, route: Route = Route()
    ) -> AsyncGenerator[Delta, None]:
        """Stream an answer.

        Raises GeneratorUnavailable when no server answers, or the answer is late or cut; EngineBusy when all that
        answer have a full queue.
        """
        problem: GeneratorUnavailable | None = None
        for url in self._ranked(route.affinity):
            breaker = self._breakers[url]
            if not breaker.allow():
                problem = problem or GeneratorUnavailable(
                    f"{self._name(url)} failed {breaker.failures} times in a row, and is asked again soon."
                )
                continue
            started = False
            self._under_way[url] += 1
            try:
                async with aclosing(self._answer_of(url, messages, sampling, route)) as deltas:
                    async for delta in deltas:
                        started = True
                        yield delta
                breaker.succeeded()
                return
            except EngineBusy as err:
                problem = err
            except GeneratorUnavailable as err:
                if _is_refusal(err):
                    raise
                breaker.failed()
                problem = err
                if started:
                    break
            finally:
                self._under_way[url] -= 1
        raise problem or GeneratorUnavailable("No language model is configured.")

    async def _answer_of(
        self, url: str, messages: Sequence[Message], sampling: Sampling, route: Route
    ) -> AsyncGenerator[Delta, None]:
        """One server's answer, every failure as an error of ours."""
        begun, started = time.monotonic(), False

        def late() -> float:
            return begun + (self._timeout_s if started else self._first_token_s)

        span, usage, reason = chat_span(self._model, url, sampling), None, ""
        try:
            async with aclosing(until(self._stream_from(self._client(url), messages, sampling, route), late)) as deltas:
                async for delta in deltas:
                    started = True
                    usage, reason = delta.usage or usage, "length" if delta.cut else reason or "stop"
                    yield delta
        except (TimeoutError, openai.APITimeoutError) as err:
            what, limit_s = ("whole answer", self._timeout_s) if started else ("first token", self._first_token_s)
            raise GeneratorUnavailable(f"{self._name(url)} gave no {what} in {limit_s:g} s.") from err
        except openai.APIStatusError as err:
            if err.status_code in (429, 503):
                raise EngineBusy(f"The queue of {self._name(url)} is full ({_first_line(err)}).") from err
            verb = "failed" if err.status_code >= 500 else "refused the request"
            raise GeneratorUnavailable(f"{self._name(url)} {verb} ({_first_line(err)}).") from err
        except (openai.OpenAIError, httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise GeneratorUnavailable(f"{self._name(url)} does not answer ({_first_line(err)}).") from err
        finally:
            end_chat(span, usage=usage, reason=reason, error=sys.exception())

    async def _stream_from(
        self, client: openai.AsyncOpenAI, messages: Sequence[Message], sampling: Sampling, route: Route
    ) -> AsyncGenerator[Delta, None]:
        more: dict[str, Any] = {"extra_body": {"cache_salt": route.cache_salt}} if route.cache_salt else {}
        if sampling.json_schema is not None:
            more["response_format"] = _response_format(sampling.json_schema)
        # The raw lines: the client's own objects for each token cost a third of the service's time under load.
        request = client.chat.completions.with_streaming_response.create(
            model=self._model,
            messages=_chat(messages),
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stream=True,
            stream_options={"include_usage": True},
            **more,
        )
        finished = False
        async with request as response, aclosing(_events(response.iter_lines())) as events:
            async for event in events:
                for choice in event.get("choices") or ():
                    reason, text = choice.get("finish_reason"), choice["delta"].get("content") or ""
                    finished = finished or reason is not None
                    if text or reason == "length":
                        yield Delta(text=text, cut=reason == "length")
                if usage := event.get("usage"):
                    details = usage.get("prompt_tokens_details") or {}
                    yield Delta(
                        usage=Usage(
                            prompt_tokens=usage["prompt_tokens"],
                            cached_tokens=details.get("cached_tokens") or 0,
                            completion_tokens=usage["completion_tokens"],
                        )
                    )
        if not finished:
            raise GeneratorUnavailable("The language model's answer was cut off before its end.")

    def _client(self, url: str) -> openai.AsyncOpenAI:
        clients = self._clients.setdefault(asyncio.get_running_loop(), {})
        if url not in clients:
            clients[url] = openai.AsyncOpenAI(
                base_url=url,
                api_key=self._api_key,
                timeout=httpx.Timeout(self._timeout_s, connect=min(_CONNECT_S, self._first_token_s)),
                max_retries=0,
            )
        return clients[url]

    async def check(self) -> str:
        """Generate one token on every server. Raises GeneratorUnavailable when one does not."""
        tiny = Sampling(max_tokens=1)
        for url in self._urls:
            try:
                async with asyncio.timeout(min(self._timeout_s, 20)):
                    async for _ in self._stream_from(
                        self._client(url), [Message(role="user", content="Hi")], tiny, Route()
                    ):
                        pass
            except (openai.OpenAIError, TimeoutError) as err:
                reason = f"{self._name(url)} does not serve {self._model!r}: {_first_line(err)}"
                raise GeneratorUnavailable(reason) from err
        return f"{self._model} answers at {', '.join(map(self._name, self._urls))}"


def engine_name(place: int) -> str:
    """What the language model's server at a place in llm.urls is called, where its URL does not belong."""
    return f"engine {place + 1}"


async def _events(lines: AsyncIterator[str]) -> AsyncGenerator[dict[str, Any], None]:
    """The objects of a stream of chat completion chunks. Raises GeneratorUnavailable for an error among them."""
    async for line in lines:
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        event: dict[str, Any] = orjson.loads(line[6:])
        if "error" in event:
            told = event["error"]
            reason = told.get("message", "") if isinstance(told, dict) else told
            raise GeneratorUnavailable(f"The language model failed while it wrote: {str(reason)[:300]}")
        yield event


def _response_format(schema: Mapping[str, Any]) -> Any:
    if not schema:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema), "strict": True}}


def _is_refusal(err: GeneratorUnavailable) -> bool:
    """Whether a server that works did not like the request, so that no other one would."""
    return isinstance(err.__cause__, openai.APIStatusError) and err.__cause__.status_code < 500


def _chat(messages: Sequence[Message]) -> Any:
    return [{"role": message.role, "content": message.content} for message in messages]


def _first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]


class TransformersTokenCounter:
    """Counts tokens with another model's own tokenizer and chat template, from its folder or the hub."""

    additive = False

    def __init__(self, model: str) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        except (OSError, ValueError) as err:
            raise ConfigError(f"llm.tokenizer = {model!r} cannot be loaded: {_first_line(err)}") from err

    def count_text(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def count(self, messages: Sequence[Message]) -> int:
        ids = self._tokenizer.apply_chat_template(_chat(messages), add_generation_prompt=True, return_dict=True)[
            "input_ids"
        ]
        return len(list(itertools.chain.from_iterable(ids)) if ids and isinstance(ids[0], list) else ids)

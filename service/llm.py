"""The language model: an OpenAI-compatible server such as vLLM, through the official client."""

import asyncio
import hashlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import openai

from rag.errors import ConfigError, GeneratorUnavailable
from rag.types import Delta, Message, Route, Sampling, Usage

_DOWN_S = 15.0  # how long a replica that did not answer is asked last
_WINDOW_KEPT_S = 300.0


class OpenAIGenerator:
    """Streams answers from one of several equal servers.

    Requests with the same affinity go to the same server (rendezvous hashing), so that each keeps its own prefix
    cache; those without one go where the fewest are under way. A server that cannot be reached is passed over.
    """

    def __init__(self, urls: Sequence[str], *, model: str, api_key: str = "", timeout_s: float = 60.0) -> None:
        self._urls = tuple(urls)
        self._model = model
        self._api_key = api_key or "none"
        self._timeout_s = timeout_s
        # An HTTP pool belongs to one event loop; the service and the synchronous calls have one each.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, openai.AsyncOpenAI]] = WeakKeyDictionary()
        self._down_until: dict[str, float] = {}
        self._under_way: Counter[str] = Counter()
        self._window: tuple[float, int | None] = (0.0, None)

    def replica(self, affinity: str) -> str:
        """The server that requests with this affinity go to while it answers."""
        return self._ranked(affinity)[0]

    def _ranked(self, affinity: str) -> list[str]:
        """The servers in the order in which they are tried."""
        now = time.monotonic()

        def rank(url: str) -> tuple[bool, int, int]:
            weight = int.from_bytes(hashlib.blake2b(f"{affinity}\0{url}".encode(), digest_size=8).digest())
            return self._down_until.get(url, 0.0) > now, 0 if affinity else self._under_way[url], -weight

        return sorted(self._urls, key=rank)

    async def window_tokens(self) -> int | None:
        """The smallest context that one of the servers was started with; None when none says."""
        until, window = self._window
        if time.monotonic() >= until:
            self._window = (time.monotonic() + _DOWN_S, window)  # what others go by until it is known
            found = await asyncio.gather(*(self._window_of(url) for url in self._urls))
            window = min((tokens for tokens in found if tokens is not None), default=None)
            self._window = (time.monotonic() + (_DOWN_S if None in found else _WINDOW_KEPT_S), window)
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
    ) -> AsyncIterator[Delta]:
        """Stream an answer. Raises GeneratorUnavailable when no server answers, or the answer is late or cut."""
        started = False
        urls = self._ranked(route.affinity)
        for url in urls:
            self._under_way[url] += 1
            try:
                async with asyncio.timeout(self._timeout_s):
                    async for delta in self._stream_from(self._client(url), messages, sampling, route):
                        started = True
                        yield delta
                return
            except (openai.APIConnectionError, openai.InternalServerError) as err:
                self._down_until[url] = time.monotonic() + _DOWN_S
                reason = f"{url}: {_first_line(err)}"
                if started or url == urls[-1]:
                    raise GeneratorUnavailable(f"The language model does not answer ({reason}).") from err
            except TimeoutError as err:
                raise GeneratorUnavailable(
                    f"The language model gave no whole answer in {self._timeout_s:.0f} s ({url})."
                ) from err
            except (openai.OpenAIError, ValueError) as err:
                raise GeneratorUnavailable(
                    f"The language model refused the request ({url}): {_first_line(err)}"
                ) from err
            finally:
                self._under_way[url] -= 1

    async def _stream_from(
        self, client: openai.AsyncOpenAI, messages: Sequence[Message], sampling: Sampling, route: Route
    ) -> AsyncIterator[Delta]:
        more: dict[str, Any] = {"extra_body": {"cache_salt": route.cache_salt}} if route.cache_salt else {}
        if sampling.json_schema is not None:
            more["response_format"] = _response_format(sampling.json_schema)
        response = await client.chat.completions.create(
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
        async with response:
            async for chunk in response:
                for choice in chunk.choices:
                    finished = finished or choice.finish_reason is not None
                    if choice.delta.content or choice.finish_reason == "length":
                        yield Delta(text=choice.delta.content or "", cut=choice.finish_reason == "length")
                if chunk.usage is not None:
                    details = chunk.usage.prompt_tokens_details
                    yield Delta(
                        usage=Usage(
                            prompt_tokens=chunk.usage.prompt_tokens,
                            cached_tokens=(details.cached_tokens or 0) if details else 0,
                            completion_tokens=chunk.usage.completion_tokens,
                        )
                    )
        if not finished:
            raise GeneratorUnavailable("The language model's answer was cut off before its end.")

    def _client(self, url: str) -> openai.AsyncOpenAI:
        clients = self._clients.setdefault(asyncio.get_running_loop(), {})
        if url not in clients:
            clients[url] = openai.AsyncOpenAI(
                base_url=url, api_key=self._api_key, timeout=self._timeout_s, max_retries=0
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
                raise GeneratorUnavailable(f"{url} does not serve {self._model!r}: {_first_line(err)}") from err
        return f"{self._model} answers at {', '.join(self._urls)}"


def _response_format(schema: Mapping[str, Any]) -> Any:
    if not schema:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema), "strict": True}}


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

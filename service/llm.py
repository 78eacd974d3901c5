"""The language model: an OpenAI-compatible server such as vLLM, through the official client."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import openai

from rag.errors import ConfigError, GeneratorUnavailable
from rag.types import Delta, Message, Sampling, Usage


class OpenAIGenerator:
    """Streams answers from one of several equal servers; when one cannot be reached the next one is tried."""

    def __init__(self, urls: Sequence[str], *, model: str, api_key: str = "", timeout_s: float = 60.0) -> None:
        self._urls = tuple(urls)
        self._model = model
        self._api_key = api_key or "none"
        self._timeout_s = timeout_s
        # An HTTP pool belongs to one event loop; the service and the synchronous calls have one each.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, list[openai.AsyncOpenAI]] = WeakKeyDictionary()

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Stream an answer. Raises GeneratorUnavailable when no server answers, or the answer is late or cut."""
        started = False
        for client, url in zip(self._loop_clients(), self._urls, strict=True):
            try:
                async with asyncio.timeout(self._timeout_s):
                    async for delta in self._stream_from(client, messages, sampling):
                        started = True
                        yield delta
                return
            except (openai.APIConnectionError, openai.InternalServerError) as err:
                reason = f"{url}: {_first_line(err)}"
                if started or url == self._urls[-1]:
                    raise GeneratorUnavailable(f"The language model does not answer ({reason}).") from err
            except TimeoutError as err:
                raise GeneratorUnavailable(
                    f"The language model gave no whole answer in {self._timeout_s:.0f} s ({url})."
                ) from err
            except (openai.OpenAIError, ValueError) as err:
                raise GeneratorUnavailable(
                    f"The language model refused the request ({url}): {_first_line(err)}"
                ) from err

    async def _stream_from(
        self, client: openai.AsyncOpenAI, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncIterator[Delta]:
        response = await client.chat.completions.create(
            model=self._model,
            messages=_chat(messages),
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stream=True,
            stream_options={"include_usage": True},
        )
        finished = False
        async with response:
            async for chunk in response:
                for choice in chunk.choices:
                    finished = finished or choice.finish_reason is not None
                    if choice.delta.content:
                        yield Delta(text=choice.delta.content)
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

    def _loop_clients(self) -> list[openai.AsyncOpenAI]:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = [
                openai.AsyncOpenAI(base_url=url, api_key=self._api_key, timeout=self._timeout_s, max_retries=0)
                for url in self._urls
            ]
        return self._clients[loop]

    async def check(self) -> str:
        """Generate one token on every server. Raises GeneratorUnavailable when one does not."""
        tiny = Sampling(max_tokens=1)
        for client, url in zip(self._loop_clients(), self._urls, strict=True):
            try:
                async with asyncio.timeout(min(self._timeout_s, 20)):
                    async for _ in self._stream_from(client, [Message(role="user", content="Hi")], tiny):
                        pass
            except (openai.OpenAIError, TimeoutError) as err:
                raise GeneratorUnavailable(f"{url} does not serve {self._model!r}: {_first_line(err)}") from err
        return f"{self._model} answers at {', '.join(self._urls)}"


def _chat(messages: Sequence[Message]) -> Any:
    return [{"role": message.role, "content": message.content} for message in messages]


def _first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]


class TransformersTokenCounter:
    """Counts tokens with another model's own tokenizer and chat template, from its folder or the hub."""

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

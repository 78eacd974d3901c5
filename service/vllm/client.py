"""The language model: one or several equal OpenAI-compatible servers, such as vLLM."""

import asyncio
import hashlib
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import httpx

from rag.deadline import until
from rag.errors import AnswerFiltered, EngineBusy, GeneratorUnavailable, RequestRefused
from rag.ports import Generator
from rag.retrieval.breaker import Breaker
from rag.types import Delta, Message, Route, Sampling
from service.telemetry.tracing import chat_span, end_chat
from service.vllm.replica import Replica, body_of

_CONNECT_S = 3.0
_ASK_AGAIN_S = 15.0  # for the window, where a server did not tell it
_WINDOW_KEPT_S = 300.0
_CHECK_S = 20.0
_SHORT_CHARS = 32_000  # of a prompt that any server that works begins to answer in time
_POOL = httpx.Limits(max_connections=1000, max_keepalive_connections=100)


class OpenAIGenerator:
    """Streams answers from one of several equal servers.

    Requests with the same affinity go to the same server (rendezvous hashing), so that each keeps its own prefix
    cache; those without one go where the fewest are under way. A server that fails is passed over, and one that fails
    again and again is left alone for a while (rag/retrieval/breaker.py). Only what is the server's fault counts for
    that: not a request that it refuses, not a full queue, nothing once an answer has begun, and no first token that is
    late because the prompt is long or others are being answered.
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
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
        self._breakers = {url: Breaker() for url in self._urls}
        self._trials: set[asyncio.Task[None]] = set()
        self._under_way: Counter[str] = Counter()
        self._wrote_at = dict.fromkeys(self._urls, 0.0)
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
                return await self._replica_at(url).window_tokens(self._model)
        except (GeneratorUnavailable, TimeoutError):
            return None

    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, route: Route = Route()
    ) -> AsyncGenerator[Delta, None]:
        """Stream an answer.

        Raises QuestionError for what JSON cannot carry; GeneratorUnavailable when no server answers, or the answer is
        late or cut; EngineBusy when all that answer have a full queue; RequestRefused, once two have refused it or
        there is only one.
        """
        body = body_of(self._model, messages, sampling, route)
        is_short = sum(len(message.content) for message in messages) <= _SHORT_CHARS
        problem: GeneratorUnavailable | None = None
        refused_by: Breaker | None = None
        self._try_those_left_alone()
        for url in self._ranked(route.affinity):
            breaker = self._breakers[url]
            if (breaker.is_open and self._one_works) or not breaker.allow():
                problem = problem or GeneratorUnavailable(
                    f"{self._name(url)} failed {breaker.failures} times in a row, and is asked again soon."
                )
                continue
            begun, started = time.monotonic(), False
            self._under_way[url] += 1
            try:
                async with aclosing(self._answer_of(url, body, sampling)) as deltas:
                    async for delta in deltas:
                        started = True
                        yield delta
                breaker.succeeded()
                if refused_by is not None:
                    refused_by.failed()  # what one server refuses and another answers is the fault of the first
                return
            except EngineBusy as err:
                problem = err
            except AnswerFiltered:
                raise
            except RequestRefused as err:
                if started or refused_by is not None:
                    raise
                problem, refused_by = err, breaker
            except GeneratorUnavailable as err:
                if started:
                    raise
                if not isinstance(err, _NoFirstToken) or (is_short and self._wrote_at[url] < begun):
                    breaker.failed()
                problem = problem if refused_by is not None else err
            finally:
                self._under_way[url] -= 1
        raise problem or GeneratorUnavailable("No language model is configured.")

    @property
    def _one_works(self) -> bool:
        return not all(breaker.is_open for breaker in self._breakers.values())

    def _try_those_left_alone(self) -> None:
        """Beside the questions while another server answers them; where none does, a question tries each."""
        for url, breaker in self._breakers.items():
            if breaker.is_open and self._one_works and breaker.allow():
                trial = asyncio.get_running_loop().create_task(self._try(url))
                self._trials.add(trial)
                trial.add_done_callback(self._trials.discard)

    async def _try(self, url: str) -> None:
        if not await self._check(url):
            self._breakers[url].succeeded()

    async def _answer_of(self, url: str, body: bytes, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """One server's answer, every failure as an error of ours."""
        begun, started = time.monotonic(), False

        def late() -> float:
            return begun + (self._timeout_s if started else self._first_token_s)

        span, usage, reason = chat_span(self._model, url, sampling), None, ""
        try:
            stream = self._replica_at(url).stream(body, max_tokens=sampling.max_tokens, is_json=_wants_json(sampling))
            async with aclosing(until(stream, late)) as deltas:
                async for delta in deltas:
                    started, self._wrote_at[url] = True, time.monotonic()
                    usage, reason = delta.usage or usage, "length" if delta.cut else reason or "stop"
                    yield delta
        except TimeoutError as err:
            if not started:
                raise _NoFirstToken(f"{self._name(url)} gave no first token in {self._first_token_s:g} s.") from err
            raise GeneratorUnavailable(f"{self._name(url)} gave no whole answer in {self._timeout_s:g} s.") from err
        finally:
            end_chat(span, usage=usage, reason=reason, error=sys.exception())

    def _replica_at(self, url: str) -> Replica:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            timeout = httpx.Timeout(self._timeout_s, connect=min(_CONNECT_S, self._first_token_s))
            # No redirects: nobody but the configured servers gets a prompt.
            self._clients[loop] = httpx.AsyncClient(
                timeout=timeout, limits=_POOL, follow_redirects=False, verify=_certificates()
            )
        return Replica(self._clients[loop], url, name=self._name(url), api_key=self._api_key)

    async def check(self, longest_s: float = _CHECK_S) -> Mapping[str, str]:
        """Generate one token on every server. By a server's name what is wrong with it; empty where nothing is."""
        checks: list[Coroutine[Any, Any, str]] = [self._check(url, longest_s) for url in self._urls]
        return dict(zip(map(self._name, self._urls), await asyncio.gather(*checks), strict=True))

    async def _check(self, url: str, longest_s: float = _CHECK_S) -> str:
        body = body_of(self._model, [Message(role="user", content="Hi")], Sampling(max_tokens=1), Route())
        longest_s = min(self._timeout_s, longest_s)
        try:
            async with asyncio.timeout(longest_s):
                stream = self._replica_at(url).stream(body, max_tokens=1, is_json=False)
                async with aclosing(stream) as deltas:
                    async for _ in deltas:
                        pass
        except TimeoutError:
            return f"it gave no token in {longest_s:g} s"
        except GeneratorUnavailable as err:
            return f"it does not serve {self._model!r}: {err}"
        return ""


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """The authorities that are trusted, read once: 20 ms and a megabyte that each client would take."""
    return httpx.create_ssl_context()


class _NoFirstToken(GeneratorUnavailable):
    pass


async def all_answer(generator: Generator) -> str:
    """That every replica wrote a token, in words. Raises GeneratorUnavailable when one did not."""
    found = await generator.check()
    if wrong := [f"{name}: {reason}" for name, reason in found.items() if reason]:
        raise GeneratorUnavailable("; ".join(wrong))
    return f"a token from {', '.join(found)}"


def engine_name(place: int) -> str:
    """What the language model's server at a place in llm.urls is called, where its URL does not belong."""
    return f"engine {place + 1}"


def _wants_json(sampling: Sampling) -> bool:
    return sampling.json_schema is not None

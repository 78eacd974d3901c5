"""The language model: one or several equal OpenAI-compatible servers, such as vLLM."""

import asyncio
import ssl
import sys
import time
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import httpx

from rag.deadline import until
from rag.errors import AnswerFiltered, EngineBusy, GeneratorUnavailable, RequestRefused
from rag.ports import Generator
from rag.types import Delta, Message, Route, Sampling
from service.telemetry.tracing import chat_span, end_chat
from service.vllm.replica import Replica, body_of
from service.vllm.routing import Routing, Server

_CONNECT_S = 3.0
_ASK_AGAIN_S = 15.0  # for the window, where a server did not tell it
_WINDOW_KEPT_S = 300.0
_CHECK_S = 20.0
_SHORT_CHARS = 32_000  # of a prompt that any server that works begins to answer in time
_POOL = httpx.Limits(max_connections=1000, max_keepalive_connections=100)


class OpenAIGenerator:
    """Streams answers from one of several equal servers.

    Requests with the same affinity go to the same server, so that each keeps its own prefix cache. A server that fails
    is passed over, and one that fails again and again is left alone for a while (service/vllm/routing.py). Only what is
    the server's fault counts for that: not a request that it refuses, not a full queue, nothing once an answer has
    begun, and no first token that is late because the prompt is long or others are being answered.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        model: str,
        api_key: str = "",
        timeout_s: float = 60.0,
        first_token_s: float | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._routing = Routing(urls)
        self._model = model
        self._api_key = api_key or "none"
        self._timeout_s = timeout_s
        self._first_token_s = timeout_s if first_token_s is None else min(first_token_s, timeout_s)
        # An HTTP pool belongs to one event loop; the service and the synchronous calls have one each.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
        self._transport = transport
        self._trials: set[asyncio.Task[None]] = set()
        self._window: tuple[float, int | None] = (0.0, None)

    def replica(self, affinity: str) -> str:
        """The server that requests with this affinity go to while it answers."""
        return self._routing.ranked(affinity)[0].url

    @property
    def left_alone(self) -> tuple[str, ...]:
        """The addresses of the servers that failed so often that they are only tried now and then."""
        return tuple(server.url for server in self._routing.servers if server.breaker.is_open)

    async def window_tokens(self) -> int | None:
        """The smallest context that one of the servers was started with; None when none says."""
        until, window = self._window
        if time.monotonic() >= until:
            self._window = (time.monotonic() + _ASK_AGAIN_S, window)  # what others go by until it is known
            found = await asyncio.gather(*map(self._window_of, self._routing.servers))
            window = min((tokens for tokens in found if tokens is not None), default=None)
            self._window = (time.monotonic() + (_ASK_AGAIN_S if None in found else _WINDOW_KEPT_S), window)
        return window

    async def _window_of(self, server: Server) -> int | None:
        try:
            async with asyncio.timeout(min(self._timeout_s, 5)):
                return await self._replica(server).window_tokens(self._model)
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
        refused_by: Server | None = None
        self._try_those_left_alone()
        for server in self._routing.ranked(route.affinity):
            if not self._routing.takes(server):
                problem = problem or GeneratorUnavailable(
                    f"{server.name} failed {server.breaker.failures} times in a row, and will be tried again soon."
                )
                continue
            begun, started = time.monotonic(), False
            server.under_way += 1
            try:
                async with aclosing(self._answer_of(server, body, sampling)) as deltas:
                    async for delta in deltas:
                        started = True
                        yield delta
                server.breaker.succeeded()
                if refused_by is not None:
                    refused_by.breaker.failed()  # what one server refuses and another answers is the fault of the first
                return
            except EngineBusy as err:
                problem = err
            except AnswerFiltered:
                raise
            except RequestRefused as err:
                if started or refused_by is not None:
                    raise
                problem, refused_by = err, server
            except GeneratorUnavailable as err:
                if started:
                    raise
                if not isinstance(err, _NoFirstToken) or (is_short and server.wrote_at < begun):
                    server.breaker.failed()
                problem = problem if refused_by is not None else err
            finally:
                server.under_way -= 1
        raise problem or GeneratorUnavailable("No language model is configured.")

    def _try_those_left_alone(self) -> None:
        for server in self._routing.trials():
            trial = asyncio.get_running_loop().create_task(self._try(server))
            self._trials.add(trial)
            trial.add_done_callback(self._trials.discard)

    async def _try(self, server: Server) -> None:
        if not await self._check(server):
            server.breaker.succeeded()

    async def _answer_of(self, server: Server, body: bytes, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """One server's answer, every failure as an error of ours."""
        begun, started = time.monotonic(), False

        def late() -> float:
            return begun + (self._timeout_s if started else self._first_token_s)

        span, usage, reason = chat_span(self._model, server.url, sampling), None, ""
        try:
            is_json = sampling.json_schema is not None
            stream = self._replica(server).stream(body, max_tokens=sampling.max_tokens, is_json=is_json)
            async with aclosing(until(stream, late)) as deltas:
                async for delta in deltas:
                    started, server.wrote_at = True, time.monotonic()
                    usage, reason = delta.usage or usage, "length" if delta.cut else reason or "stop"
                    yield delta
        except TimeoutError as err:
            if not started:
                raise _NoFirstToken(f"{server.name} gave no first token in {self._first_token_s:g} s.") from err
            raise GeneratorUnavailable(f"{server.name} did not finish its answer in {self._timeout_s:g} s.") from err
        finally:
            end_chat(span, usage=usage, reason=reason, error=sys.exception())

    def _replica(self, server: Server) -> Replica:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            timeout = httpx.Timeout(self._timeout_s, connect=min(_CONNECT_S, self._first_token_s))
            # No redirects: nobody but the configured servers gets a prompt.
            self._clients[loop] = httpx.AsyncClient(
                timeout=timeout,
                limits=_POOL,
                follow_redirects=False,
                verify=_certificates(),
                transport=self._transport,
            )
        return Replica(self._clients[loop], server.url, name=server.name, api_key=self._api_key)

    async def check(self, longest_s: float = _CHECK_S) -> Mapping[str, str]:
        """Generate one token on every server. By a server's name what is wrong with it; empty where nothing is."""
        checks: list[Coroutine[Any, Any, str]] = [self._check(server, longest_s) for server in self._routing.servers]
        names = [server.name for server in self._routing.servers]
        return dict(zip(names, await asyncio.gather(*checks), strict=True))

    async def _check(self, server: Server, longest_s: float = _CHECK_S) -> str:
        body = body_of(self._model, [Message(role="user", content="Hi")], Sampling(max_tokens=1), Route())
        longest_s = min(self._timeout_s, longest_s)
        try:
            async with asyncio.timeout(longest_s):
                stream = self._replica(server).stream(body, max_tokens=1, is_json=False)
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

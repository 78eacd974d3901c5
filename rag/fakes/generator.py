"""A language model that says what it is given."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from rag.fakes.counter import CharacterCounter
from rag.types import Delta, Message, Route, Sampling, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as the generator got it."""

    messages: tuple[Message, ...]
    sampling: Sampling
    route: Route


class ScriptedGenerator:
    """Says its lines to every request, and raises where an exception stands among them.

    Usage counts characters, unless a line has one. asked: the requests so far, oldest first.
    """

    def __init__(self, *lines: str | Delta | Exception, window_tokens: int | None = None) -> None:
        self.lines = lines
        self.asked: list[Request] = []
        self._window_tokens = window_tokens

    def replica(self, affinity: str) -> str:
        return "scripted"

    async def window_tokens(self) -> int | None:
        return self._window_tokens

    async def check(self, longest_s: float = 20.0) -> Mapping[str, str]:
        """What is wrong: the first exception among the lines."""
        wrong = next((str(line) for line in self.lines if isinstance(line, Exception)), "")
        return {"scripted": wrong}

    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, route: Route
    ) -> AsyncGenerator[Delta, None]:
        self.asked.append(Request(messages=tuple(messages), sampling=sampling, route=route))
        written, has_usage = 0, False
        for line in self.lines:
            if isinstance(line, Exception):
                raise line
            delta = line if isinstance(line, Delta) else Delta(text=line)
            written += len(delta.text)
            has_usage = has_usage or delta.usage is not None
            yield delta
        if not has_usage:
            yield Delta(usage=Usage(prompt_tokens=CharacterCounter().count(messages), completion_tokens=written))

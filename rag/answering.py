"""From passages to an answer: gate on the evidence, generate or quote, check every citation."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from rag import prompt
from rag.citations import CitationWriter
from rag.errors import GeneratorUnavailable
from rag.evidence import THRESHOLD, Question, admissible, refusal, supported
from rag.extract import extract
from rag.likeness import NO_SCALE, Scale
from rag.ports import Generator, TokenCounter
from rag.types import Answer, Citation, Message, Passage, Sampling, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class PassagesFound:
    """The passages that the answer may cite, best first."""

    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """A piece of the answer, its citations already checked."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """What was streamed so far is void: the engine failed, and quoting starts."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    answer: Answer


Event = PassagesFound | TextDelta | Restarted | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """How answers are made. Without a generator they are extractive."""

    counter: TokenCounter
    generator: Generator | None = None
    window_tokens: int = prompt.PROFILES["chat"]
    sampling: Sampling = Sampling()
    threshold: float = THRESHOLD


@dataclass(slots=True)
class Clock:
    """Seconds from the question's arrival to each stage: retrieval, first_token, total."""

    started: float = field(default_factory=time.perf_counter)
    timings_s: dict[str, float] = field(default_factory=dict)

    def mark(self, name: str) -> None:
        self.timings_s.setdefault(name, time.perf_counter() - self.started)


async def answer(
    question: Question,
    passages: Sequence[Passage],
    settings: Answering,
    *,
    history: Sequence[Message] = (),
    scale: Scale = NO_SCALE,
    clock: Clock | None = None,
) -> AsyncIterator[Event]:
    """Stream an answer's events; the last one is Finished.

    Refuses when no passage clears the evidence threshold. When the engine fails, the extractive answer takes over,
    marked as degraded; text streamed until then is voided by Restarted.
    """
    clock = clock or Clock()
    backing = supported(question, admissible(question, passages), scale=scale, threshold=settings.threshold)
    chosen = tuple(passage for _, passage in backing)
    yield PassagesFound(passages=chosen)
    if not backing:
        text = refusal(question, aggregate=bool(question.aggregate))
        yield TextDelta(text=text)
        yield Finished(answer=_finished(question, text, clock, refused=True))
        return
    reason = ""
    if settings.generator is not None:
        streamed = False
        try:
            async for event in _generate(question, chosen, settings, history, clock):
                streamed = streamed or isinstance(event, TextDelta)
                yield event
            return
        except GeneratorUnavailable as err:
            reason = str(err)
        if streamed:
            yield Restarted(reason=reason)
    text, citations = "", []
    for sentence, citation in extract(question, backing):
        piece = f"\n{sentence}" if text else sentence
        text += piece
        if citation is not None:
            citations.append(citation)
        clock.mark("first_token")
        yield TextDelta(text=piece)
    done = _finished(question, text, clock, citations=citations, passages=chosen, degraded_reason=reason)
    yield Finished(answer=done)


async def _generate(
    question: Question, passages: Sequence[Passage], settings: Answering, history: Sequence[Message], clock: Clock
) -> AsyncIterator[Event]:
    if settings.generator is None:
        return
    budget = settings.window_tokens - settings.sampling.max_tokens
    messages, used = prompt.build(question.text, passages, settings.counter, history=history, budget_tokens=budget)
    writer = CitationWriter(used)
    usage, text = Usage(), ""
    async for delta in settings.generator.stream(messages, settings.sampling):
        usage = delta.usage or usage
        if delta.text:
            clock.mark("first_token")
            piece = writer.feed(delta.text)
            text += piece
            if piece:
                yield TextDelta(text=piece)
    rest = writer.finish()
    text += rest
    if rest:
        yield TextDelta(text=rest)
    if not text.strip():
        raise GeneratorUnavailable("The language model gave an empty answer.")
    yield Finished(
        answer=_finished(
            question, text, clock, citations=writer.citations, passages=used, usage=usage, uncited=writer.uncited
        )
    )


def _finished(
    question: Question,
    text: str,
    clock: Clock,
    *,
    citations: Sequence[Citation] = (),
    passages: Sequence[Passage] = (),
    usage: Usage = Usage(),
    refused: bool = False,
    degraded_reason: str = "",
    uncited: int = 0,
) -> Answer:
    clock.mark("total")
    return Answer(
        text=text,
        language=question.language,
        citations=tuple(citations),
        passages=tuple(passages),
        usage=usage,
        timings_s=clock.timings_s,
        refused=refused,
        degraded=bool(degraded_reason),
        degraded_reason=degraded_reason,
        uncited=uncited,
    )

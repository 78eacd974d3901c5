"""From passages to an answer: gate on the evidence, generate or quote, check every citation."""

import asyncio
import json
import math
import time
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from rag.answer.citations import CitationWriter
from rag.answer.claims import json_citations, json_leaves
from rag.answer.extract import extract
from rag.answer.label_forms import unlabelled
from rag.boundary.json_values import parsed
from rag.deadline import until
from rag.documents import Passage
from rag.errors import AnswerCut, EngineBusy, GeneratorUnavailable, QuestionError
from rag.ports import Generator, TokenCounter
from rag.prompt import prompt
from rag.prompt.ordering import PrefixOrder
from rag.prompt.profiles import DEFAULT_PROFILE, PROFILES
from rag.prompt.templates import Templates, load_templates
from rag.question.evidence import THRESHOLD, admissible, supported
from rag.question.question import Question
from rag.question.refusals import refusal
from rag.retrieval.likeness import NO_SCALE, Scale
from rag.types import Answer, Citation, Route, Sampling, Turn, Usage

_KEPT_SHARE = 0.5  # of the room that one turn's passages may take where later turns follow
_A_PASSAGE, _AN_ANSWER = 128, 16  # tokens for which there has to be room
_BESIDE = 0.5  # of the threshold: passages with this much evidence are shown to the model beside those over it


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
    """What was streamed so far is void: the engine failed, and quoting starts. public: the reason for callers."""

    reason: str
    public: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The answer, and the turn as it goes on in a conversation."""

    answer: Answer
    turn: Turn


Event = PassagesFound | TextDelta | Restarted | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSettings:
    """How answers are made. Without a generator they are extractive; without ordering, in the retrieval's order.

    generate_until: the time, on time.monotonic()'s clock, past which the engine is not waited for.
    """

    counter: TokenCounter
    generator: Generator | None = None
    templates: Templates = load_templates()
    ordering: PrefixOrder | None = None
    window_tokens: int = PROFILES[DEFAULT_PROFILE]
    sampling: Sampling = Sampling()
    threshold: float = THRESHOLD
    generate_until: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an answer is made from.

    question: as it was searched for; text: as it was asked. passages: found for it, best first, those of earlier turns
    among them where they were found again. conversation: the id under which turns are kept, so that later ones build
    on this one; empty where none are. salt: what separates the tenants in the engine's prefix cache.
    """

    question: Question
    text: str
    passages: Sequence[Passage]
    turns: Sequence[Turn] = ()
    conversation: str = ""
    tenant: str = "default"
    salt: str = ""
    scale: Scale = NO_SCALE


@dataclass(slots=True)
class Clock:
    """Seconds from the question's arrival to each stage: retrieval, first_token, total."""

    started: float = field(default_factory=time.perf_counter)
    timings_s: dict[str, float] = field(default_factory=dict)

    def mark(self, name: str) -> None:
        self.timings_s.setdefault(name, time.perf_counter() - self.started)


async def answer(asked: Asked, settings: AnswerSettings, *, clock: Clock | None = None) -> AsyncGenerator[Event, None]:
    """Stream an answer's events; the last one is Finished.

    Refuses when no passage clears the evidence threshold. When the engine fails, the extractive answer takes over,
    marked as degraded; text streamed until then is voided by Restarted. An answer in JSON has no such stand-in:
    GeneratorUnavailable is raised, and AnswerCut when max_tokens ended it. EngineBusy is raised where the engine's
    queue is full: the same question can be answered in full a little later.
    """
    clock = clock or Clock()
    question, wants_json = asked.question, settings.sampling.json_schema is not None
    prepared = await asyncio.to_thread(_prepare, asked, settings)
    backing = prepared.backing
    if not backing:
        yield PassagesFound(passages=())
        text = refusal(question)
        yield TextDelta(text=text)
        yield _finished(asked, clock, Answer(text=text, language=question.language, refused=True))
        return
    failed: GeneratorUnavailable | None = None
    if settings.generator is not None:
        streamed = False
        try:
            async with aclosing(_generate(asked, prepared, settings, clock)) as events:
                async for event in events:
                    streamed = streamed or isinstance(event, TextDelta)
                    yield event
            return
        except GeneratorUnavailable as err:
            if wants_json or isinstance(err, EngineBusy):
                raise
            failed = err
        if streamed:
            yield Restarted(reason=str(failed), public=failed.public)
    elif wants_json:
        raise QuestionError("An answer in JSON needs a language model. Set llm.urls to a vLLM server.")
    async with aclosing(_quote(asked, backing, failed, clock)) as events:
        async for event in events:
            yield event


async def _quote(
    asked: Asked, backing: list[tuple[float, Passage]], failed: GeneratorUnavailable | None, clock: Clock
) -> AsyncGenerator[Event, None]:
    """The extractive answer. failed: why the model did not give one, where it was asked."""
    chosen = tuple(passage for _, passage in backing)
    yield PassagesFound(passages=chosen)
    text, citations = "", list[Citation]()
    for sentence, citation in await asyncio.to_thread(lambda: list(extract(asked.question, backing))):
        piece = f"\n{sentence}" if text else sentence
        text += piece
        if citation is not None:
            citations.append(citation)
        clock.mark("first_token")
        yield TextDelta(text=piece)
    quoted = Answer(
        text=text,
        language=asked.question.language,
        citations=tuple(citations),
        marks=tuple(range(len(citations))),
        passages=chosen,
        degraded=failed is not None,
        degraded_reason=str(failed or ""),
        degraded_public=failed.public if failed is not None else "",
    )
    yield _finished(asked, clock, quoted)


def weighed(asked: Asked, threshold: float) -> tuple[list[Passage], list[tuple[float, Passage]]]:
    """The passages that a model is shown, and those that clear the threshold, with their evidence."""
    fit = admissible(asked.question, asked.passages)
    scored = supported(asked.question, fit, scale=asked.scale, threshold=_BESIDE * threshold)
    return [passage for _, passage in scored], [pair for pair in scored if pair[0] >= threshold]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """What is made before the model is asked. made: the prompt; None without a model, or without evidence."""

    backing: list[tuple[float, Passage]]
    affinity: str = ""
    made: prompt.Prompt | None = None


def _prepare(asked: Asked, settings: AnswerSettings) -> _Prepared:
    """All at once, because each time in a thread costs a wait for it."""
    beside, backing = weighed(asked, settings.threshold)
    if settings.generator is None or not backing:
        return _Prepared(backing=backing)
    affinity = asked.conversation or beside[0].label
    made = prompt_for(asked, beside, settings, settings.generator.replica(affinity))
    return _Prepared(backing=backing, affinity=affinity, made=made)


async def _generate(
    asked: Asked, prepared: _Prepared, settings: AnswerSettings, clock: Clock
) -> AsyncGenerator[Event, None]:
    generator, made = settings.generator, prepared.made
    if generator is None or made is None:
        return
    standing = [*(passage for turn in made.turns for passage in turn.passages), *reversed(made.passages)]
    citable = list({passage.label: passage for passage in standing}.values())[::-1]
    yield PassagesFound(passages=tuple(citable))
    clock.mark("prompt")
    answer = _Json(asked, citable) if settings.sampling.json_schema is not None else _Words(asked, citable)
    usage, cut = Usage(), False
    route = Route(affinity=prepared.affinity, cache_salt=asked.salt)
    written = until(generator.stream(made.messages, settings.sampling, route), lambda: settings.generate_until)
    try:
        async with aclosing(written) as deltas:
            async for delta in deltas:
                usage, cut = delta.usage or usage, cut or delta.cut
                if delta.text:
                    clock.mark("first_token")
                    if piece := answer.feed(delta.text):
                        yield TextDelta(text=piece)
    except TimeoutError as err:
        raise GeneratorUnavailable(
            "The language model did not finish its answer before the request's deadline."
        ) from err
    if settings.ordering is not None and made.arrangement is not None:
        settings.ordering.answered(made.arrangement, cached_tokens=usage.cached_tokens, fixed_tokens=made.fixed_tokens)
    rest, found = await answer.finish(cut=cut)
    if rest:
        yield TextDelta(text=rest)
    found = replace(found, usage=usage, cut=cut, template=settings.templates.version)
    yield _finished(asked, clock, found, sent=made)


def prompt_for(asked: Asked, passages: Sequence[Passage], settings: AnswerSettings, replica: str) -> prompt.Prompt:
    """The prompt for a question with the passages that the model is shown, ordered for one replica's cache."""
    layout = prompt.PromptPlan(
        counter=settings.counter,
        templates=settings.templates,
        ordering=settings.ordering,
        replica=replica,
        tenant=asked.tenant,
        share=_KEPT_SHARE if asked.conversation else 1.0,
        json_schema=settings.sampling.json_schema,
    )
    window, answer_tokens = settings.window_tokens, settings.sampling.max_tokens
    least = prompt.least_tokens(asked.text, layout) + _A_PASSAGE
    if least > window - answer_tokens and least + _AN_ANSWER <= window:
        raise QuestionError(
            f"max_tokens = {answer_tokens} leaves {max(window - answer_tokens, 0)} of {window} tokens; the question "
            f"with a passage takes {least}. Ask for at most {window - least}, or choose a longer profile."
        )
    return prompt.build(asked.text, passages, layout, budget_tokens=window - answer_tokens, turns=asked.turns)


class _Words:
    """An answer in sentences, with labels."""

    def __init__(self, asked: Asked, passages: Sequence[Passage]) -> None:
        self._asked = asked
        self._passages = tuple(passages)
        self._writer = CitationWriter(passages)
        self._text = ""

    def feed(self, text: str) -> str:
        piece = self._writer.feed(text)
        self._text += piece
        return piece

    async def finish(self, *, cut: bool) -> tuple[str, Answer]:
        rest = self._writer.finish()
        text = self._text + rest
        if not text.strip():
            raise GeneratorUnavailable("The language model gave an empty answer.")
        return rest, Answer(
            text=text,
            language=self._asked.question.language,
            citations=tuple(self._writer.citations),
            marks=tuple(self._writer.marks),
            passages=self._passages,
            uncited=self._writer.uncited,
            dropped=self._writer.dropped,
        )


class _Json:
    """An answer in JSON: nothing leaves before it is whole, and the citations stand beside it."""

    def __init__(self, asked: Asked, passages: Sequence[Passage]) -> None:
        self._asked = asked
        self._passages = tuple(passages)
        self._text = ""

    def feed(self, text: str) -> str:
        self._text += text
        return ""

    async def finish(self, *, cut: bool) -> tuple[str, Answer]:
        try:
            value: Any = parsed(self._text)
        except ValueError as err:
            if cut:
                raise AnswerCut("The answer in JSON was cut off by max_tokens. Ask with a higher max_tokens.") from err
            reason = f"The language model's answer is not JSON ({err}): {self._text[:80]!r}"
            raise GeneratorUnavailable(reason) from err
        return await asyncio.to_thread(self._cited, value)  # where each value stands is looked for, which takes time

    def _cited(self, value: Any) -> tuple[str, Answer]:
        text, bare = self._text, _unlabelled(value, {passage.label for passage in self._passages})
        if bare != value:
            value, text = bare, json.dumps(bare, ensure_ascii=False)
        citations = json_citations(value, self._passages)
        cited = {citation.pointer for citation in citations}
        return text, Answer(
            text=text,
            language=self._asked.question.language,
            citations=tuple(citations),
            passages=self._passages,
            uncited=sum(pointer not in cited for pointer, _ in json_leaves(value)),
            value=value,
        )


def _unlabelled(value: Any, labels: Collection[str]) -> Any:
    """A JSON value, in whose texts no label stands: citations stand beside them."""
    if isinstance(value, str):
        return unlabelled(value, labels)
    if isinstance(value, dict):
        return {unlabelled(name, labels): _unlabelled(inner, labels) for name, inner in value.items()}
    return [_unlabelled(inner, labels) for inner in value] if isinstance(value, list) else value


def _finished(asked: Asked, clock: Clock, found: Answer, *, sent: prompt.Prompt | None = None) -> Finished:
    clock.mark("total")
    standalone = asked.question.text if asked.question.text != asked.text else ""
    placed = sent.passages if sent else ()
    cited = {citation.label for citation in found.citations}
    under = [*placed, *(passage for passage in found.passages if passage.label in cited)]
    turn = Turn(
        question=asked.text,
        asked=sent.messages[-1].content if sent else asked.text,
        answer=found.text,
        passages=placed,
        stands_on=tuple(dict.fromkeys(chunk_id for passage in under for chunk_id in passage.chunk_ids)),
    )
    return Finished(answer=replace(found, timings_s=clock.timings_s, standalone=standalone), turn=turn)

"""From a question to the events of its answer."""

import asyncio
import hashlib
import logging
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from rag.answer import answering
from rag.boundary.json_values import flaw
from rag.deadline import Deadline
from rag.errors import GeneratorUnavailable, QuestionError, StateUnavailable
from rag.lazy import Lazy
from rag.ports import Generator, Identity, Scope, TokenCounter
from rag.prompt.ordering import PrefixOrder
from rag.prompt.profiles import PROFILES
from rag.prompt.templates import Templates
from rag.question.follow_up import Rewriter, joined, passages_beside, turns_of
from rag.types import Answer, Message, Route, Sampling, Turn
from service.asking.searcher import Searcher
from service.settings.sections import LlmSettings, Settings
from service.store.conversations import Conversations, without_lost
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import TRACER
from service.threads import Threads

_log = logging.getLogger("citewell")
_MOST_HITS = 500
_KEEP_S, _TO_END_S = 2.0, 0.2  # for keeping a turn, and what is left of a request's time after it
_MOST_TURNS_WAITING = 64
_TO_QUOTE_S = 0.5  # what is left of a request's time for quoting when the engine has taken the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a caller asks.

    history: earlier turns, oldest first, as the caller has them; conversation: an id under which they are kept instead.
    sampling: as configured where None.
    """

    question: str
    scope: Scope
    profile: str
    history: Sequence[Message] = ()
    conversation: str = ""
    sampling: Sampling | None = None
    max_passages: int | None = None
    deadline: Deadline | None = None


def sampling_of(
    llm: LlmSettings,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    json_schema: Mapping[str, Any] | None = None,
) -> Sampling:
    """How an answer is written: as asked for, and as configured where nothing is."""
    return Sampling(
        max_tokens=max_tokens or llm.max_tokens,
        temperature=llm.temperature if temperature is None else temperature,
        top_p=top_p or llm.top_p,
        json_schema=json_schema,
    )


async def whole(events: AsyncGenerator[answering.Event, None]) -> Answer:
    """The answer that its events lead to."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, answering.Finished):
                return event.answer
    raise GeneratorUnavailable("The answer ended before it was finished.")


class Asker:
    """Answers questions: searches, writes, and keeps conversations."""

    def __init__(
        self,
        searcher: Searcher,
        settings: Settings,
        *,
        conversations: Lazy[Conversations],
        counter: Lazy[TokenCounter],
        templates: Lazy[Templates],
        generator: Lazy[Generator | None],
        turns: Threads,
        metrics: Lazy[Metrics],
    ) -> None:
        """turns: threads that keep turns, so that a locked state store holds up nothing else."""
        self._searcher, self._settings = searcher, settings
        self._conversations, self._counter, self._templates = conversations, counter, templates
        self._generator, self._turns, self._metrics = generator, turns, metrics
        self._ordering = PrefixOrder(capacity_tokens=settings.llm.cache_tokens)
        self._rewriter = Lazy(self._make_rewriter)

    def prepare(self) -> None:
        """Make what a first question would wait for. Raises what the index or a model raises where it fails."""
        self._counter().count([Message(role="user", content="ready?")])
        found = self._searcher.search(self._searcher.understand("ready?"), limit=1, scope=Scope())
        found.binding.scale("en")
        self._rewriter()
        self._conversations()

    def check(self, question: str) -> None:
        """Raises QuestionError for a question that is empty or too long."""
        self._searcher.clean(question)

    async def events(self, ask: Ask) -> AsyncGenerator[answering.Event, None]:
        """The events of an answer; a kept conversation has its turn before the last one leaves.

        The search runs outside the event loop. Raises QuestionError for a question, or a profile, that cannot be
        answered as it is.
        """
        text = self._searcher.clean(ask.question)
        if ask.history and ask.conversation:
            raise QuestionError("Give either a history or a conversation's id.")
        if ask.sampling is not None and (wrong := flaw(ask.sampling.json_schema)):
            raise QuestionError(f"The JSON Schema cannot be sent: {wrong}.")
        settings = self._answer_settings(ask)
        await _check_window(settings, ask.profile)
        clock = answering.Clock()
        kept = bool(ask.conversation)
        turns = await self._searcher.in_thread(self._kept_turns, ask) if kept else turns_of(ask.history)
        wanted = await self._standalone(text, turns, ask)
        with TRACER.start_as_current_span("retrieval", attributes={"gen_ai.operation.name": "retrieval"}) as span:
            asked = await self._searcher.in_thread(self._search, wanted, text, turns, ask)
            span.set_attribute("citewell.passages", len(asked.passages))
            if self._settings.telemetry.content:
                span.set_attribute("gen_ai.retrieval.query.text", wanted)
        clock.mark("retrieval")
        async with aclosing(answering.answer(asked, settings, clock=clock)) as events:
            async for event in events:
                if isinstance(event, answering.Finished):
                    self._metrics().count(event.answer)
                    if kept:
                        await self._keep(ask, event.turn)
                yield event

    def _answer_settings(self, ask: Ask) -> answering.AnswerSettings:
        if ask.profile not in PROFILES:
            raise QuestionError(f"There is no profile {ask.profile!r}. Profiles: {', '.join(PROFILES)}.")
        llm = self._settings.llm
        return answering.AnswerSettings(
            counter=self._counter(),
            generator=self._generator(),
            templates=self._templates(),
            ordering=self._ordering if llm.order_passages else None,
            window_tokens=PROFILES[ask.profile],
            sampling=ask.sampling or sampling_of(llm),
            threshold=self._settings.retrieval.threshold,
            generate_until=ask.deadline.at - _TO_QUOTE_S if ask.deadline is not None else math.inf,
        )

    def _kept_turns(self, ask: Ask) -> list[Turn]:
        """The kept turns whose passages are still there, and in scope."""
        turns = self._conversations().turns(ask.conversation, ask.scope.identity)
        ids = list({chunk_id for turn in turns for chunk_id in turn.stands_on})
        return without_lost(turns, self._searcher.visible(ids, ask.scope)) if ids else turns

    def _make_rewriter(self) -> Rewriter | None:
        """Makes follow-ups stand alone; none without a language model."""
        generator = self._generator()
        return Rewriter(generator, self._templates()) if generator is not None else None

    async def _standalone(self, question: str, turns: Sequence[Turn], ask: Ask) -> str:
        """The question as it is searched for."""
        rewriter = self._rewriter() if turns else None
        if rewriter is None:
            return joined(question, turns)
        route = Route(affinity=ask.conversation, cache_salt=_salt(ask.scope.identity))
        return await rewriter.rewrite(question, turns, route)

    def _search(self, wanted: str, text: str, turns: Sequence[Turn], ask: Ask) -> answering.Asked:
        """The question understood, with passages for it; a longer profile fetches more chunks."""
        question = self._searcher.understand(wanted)
        chunks = min(_MOST_HITS, PROFILES[ask.profile] // self._settings.chunking.max_tokens)
        limit = max(self._settings.retrieval.limit, chunks)
        found = self._searcher.search(question, limit=limit, scope=ask.scope)
        return answering.Asked(
            question=question,
            text=text,
            passages=passages_beside(turns, found.hits)[: ask.max_passages],
            turns=turns,
            conversation=ask.conversation,
            tenant=ask.scope.identity.tenant,
            salt=_salt(ask.scope.identity),
            scale=found.binding.scale(question.language),
        )

    async def _keep(self, ask: Ask, turn: Turn) -> None:
        """Keep a turn. Where that fails the answer is not lost with it; the conversation goes on without the turn.

        It is not waited for longer than a moment, and no more than a few wait: the store may be locked.
        """
        left_s = ask.deadline.left_s if ask.deadline is not None else math.inf
        try:
            if self._turns.waiting >= _MOST_TURNS_WAITING:
                raise TimeoutError("too many turns are waiting already")
            async with asyncio.timeout(max(0.0, min(_KEEP_S, left_s - _TO_END_S))):
                await self._turns.run(self._conversations().add, ask.conversation, ask.scope.identity, turn)
        except (StateUnavailable, TimeoutError) as err:
            _log.warning(
                "a turn of a conversation could not be kept in time: %s", str(err) or "the state store is busy"
            )


async def _check_window(settings: answering.AnswerSettings, profile: str) -> None:
    """Raises QuestionError for a profile that is longer than the engine's context."""
    longest = await settings.generator.window_tokens() if settings.generator is not None else None
    if longest is not None and settings.window_tokens > longest:
        raise QuestionError(
            f"The profile {profile!r} needs a context of {settings.window_tokens:,} tokens, but the engine was started "
            f"with {longest:,}. Choose a smaller profile, or start it with `citewell engine --profile {profile}`."
        )


def _salt(identity: Identity) -> str:
    """What parts a tenant's cached tokens from the others'. None for the only tenant: other servers know no salt."""
    return "" if identity.tenant == "default" else hashlib.sha256(identity.tenant.encode()).hexdigest()[:16]

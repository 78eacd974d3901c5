"""From a question to the events of its answer, with the parts of a knowledge base."""

import asyncio
import hashlib
import logging
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from rag.answer import answering
from rag.boundary.json_values import flaw
from rag.deadline import Deadline
from rag.errors import GeneratorUnavailable, IndexMoved, QuestionError, StateUnavailable
from rag.ports import Generator, Identity, Scope
from rag.prompt.profiles import PROFILES
from rag.question.evidence import understand
from rag.question.follow_up import Rewriter, joined, passages_beside, turns_of
from rag.types import Answer, Message, Route, Sampling, Turn
from service.settings.sections import LlmSettings
from service.store.conversations import Conversations, without_lost
from service.telemetry.tracing import TRACER
from service.threads import Threads

if TYPE_CHECKING:
    from service.knowledge_base import KnowledgeBase

_log = logging.getLogger("citewell")
_MOST_HITS = 500
_KEEP_S, _TO_END_S = 2.0, 0.2  # for keeping a turn, and what is left of a request's time after it
_MOST_TURNS_WAITING = 64
_TO_QUOTE_S = 0.5  # what is left of a request's time for quoting when the engine has taken the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a caller asks, as in `KnowledgeBase.stream`."""

    question: str
    history: Sequence[Message]
    conversation: str
    scope: Scope
    profile: str
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


async def answer_events(kb: "KnowledgeBase", ask: Ask) -> AsyncGenerator[answering.Event, None]:
    """The events of an answer; a kept conversation has its turn before the last one leaves."""
    text = kb.clean(ask.question)
    if ask.history and ask.conversation:
        raise QuestionError("Give either a history or a conversation's id.")
    if ask.sampling is not None and (wrong := flaw(ask.sampling.json_schema)):
        raise QuestionError(f"The JSON Schema cannot be sent: {wrong}.")
    settings = _answering(kb, ask)
    await _check_window(settings, ask.profile)
    clock = answering.Clock()
    turns = await kb.in_search_thread(_turns, kb, ask) if ask.conversation else turns_of(ask.history)
    wanted = await _standalone(kb, text, turns, ask)
    with TRACER.start_as_current_span("retrieval", attributes={"gen_ai.operation.name": "retrieval"}) as span:
        asked = await kb.in_search_thread(_search, kb, wanted, text, turns, ask)
        span.set_attribute("citewell.passages", len(asked.passages))
        if kb.settings.telemetry.content:
            span.set_attribute("gen_ai.retrieval.query.text", wanted)
    clock.mark("retrieval")
    async with aclosing(answering.answer(asked, settings, clock=clock)) as events:
        async for event in events:
            if isinstance(event, answering.Finished):
                kb.metrics.count(event.answer)
                if ask.conversation:
                    await _keep(kb, ask, event.turn)
            yield event


async def _keep(kb: "KnowledgeBase", ask: Ask, turn: Turn) -> None:
    """Keep a turn. Where that fails the answer is not lost with it; the conversation goes on without the turn.

    It is not waited for longer than a moment, and no more than a few wait: the store may be locked.
    """
    threads: Threads = kb.turns_kept
    left_s = ask.deadline.left_s if ask.deadline is not None else math.inf
    try:
        if threads.waiting >= _MOST_TURNS_WAITING:
            raise TimeoutError("others wait already")
        async with asyncio.timeout(max(0.0, min(_KEEP_S, left_s - _TO_END_S))):
            await threads.run(kb.conversations.add, ask.conversation, ask.scope.identity, turn)
    except (StateUnavailable, SQLAlchemyError, TimeoutError) as err:
        _log.warning("a turn of a conversation could not be kept in time: %s", err or "the state store is busy")


def _answering(kb: "KnowledgeBase", ask: Ask) -> answering.AnswerSettings:
    if ask.profile not in PROFILES:
        raise QuestionError(f"There is no profile {ask.profile!r}. Profiles: {', '.join(PROFILES)}.")
    llm = kb.settings.llm
    return answering.AnswerSettings(
        counter=kb.counter,
        generator=kb.generator,
        templates=kb.templates,
        ordering=kb.ordering if llm.order_passages else None,
        window_tokens=PROFILES[ask.profile],
        sampling=ask.sampling or sampling_of(llm),
        threshold=kb.settings.retrieval.threshold,
        generate_until=ask.deadline.at - _TO_QUOTE_S if ask.deadline is not None else math.inf,
    )


async def _check_window(settings: answering.AnswerSettings, profile: str) -> None:
    """Raises QuestionError for a profile that is longer than the engine's context."""
    generator: Generator | None = settings.generator
    longest = await generator.window_tokens() if generator is not None else None
    if longest is not None and settings.window_tokens > longest:
        raise QuestionError(
            f"The profile {profile!r} needs a context of {settings.window_tokens:,} tokens, but the engine was started "
            f"with {longest:,}. Choose a smaller profile, or start it with `citewell engine --profile {profile}`."
        )


def _turns(kb: "KnowledgeBase", ask: Ask) -> list[Turn]:
    """The kept turns whose passages are still there, and in scope."""
    store: Conversations = kb.conversations
    turns = store.turns(ask.conversation, ask.scope.identity)
    ids = list({chunk_id for turn in turns for chunk_id in turn.stands_on})
    if not ids:
        return turns
    index = kb.index
    try:
        return without_lost(turns, index.visible(ids, ask.scope))
    except IndexMoved:
        if not kb.reopen(index):
            raise
        return without_lost(turns, kb.index.visible(ids, ask.scope))


async def _standalone(kb: "KnowledgeBase", question: str, turns: Sequence[Turn], ask: Ask) -> str:
    """The question as it is searched for."""
    rewriter: Rewriter | None = kb.rewriter if turns else None
    if rewriter is None:
        return joined(question, turns)
    route = Route(affinity=ask.conversation, cache_salt=_salt(ask.scope.identity))
    return await rewriter.rewrite(question, turns, route)


def _search(kb: "KnowledgeBase", wanted: str, text: str, turns: Sequence[Turn], ask: Ask) -> answering.Asked:
    """The question understood, with passages for it; a longer profile fetches more chunks."""
    understood = understand(wanted, kb.settings.synonyms)
    chunks = min(_MOST_HITS, PROFILES[ask.profile] // kb.settings.chunking.max_tokens)
    hits = kb.hits_for(understood, max(kb.settings.retrieval.limit, chunks), ask.scope)
    return answering.Asked(
        question=understood,
        text=text,
        passages=passages_beside(turns, hits)[: ask.max_passages],
        turns=turns,
        conversation=ask.conversation,
        tenant=ask.scope.identity.tenant,
        salt=_salt(ask.scope.identity),
        scale=kb.scale_of(understood.language),
    )


def _salt(identity: Identity) -> str:
    """What parts a tenant's cached tokens from the others'. None for the only tenant: other servers know no salt."""
    return "" if identity.tenant == "default" else hashlib.sha256(identity.tenant.encode()).hexdigest()[:16]

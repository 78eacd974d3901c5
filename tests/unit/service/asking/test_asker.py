"""From a question to its answer: what is refused before any work, what is kept, and what a deadline leaves."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from rag.answer.answering import Event, Finished, PassagesFound
from rag.deadline import Deadline
from rag.documents import Hit
from rag.errors import CitewellError, GeneratorUnavailable, IndexUnavailable, QuestionError, StateUnavailable
from rag.fakes import ScriptedGenerator
from rag.lazy import Lazy
from rag.ports import Identity, Scope
from rag.prompt.profiles import PROFILES
from rag.types import Answer, Delta, Message, Route, Sampling, Turn
from service.asking.asker import Ask, Asker, sampling_of, whole
from service.settings.sections import LlmSettings
from service.store.conversations import Conversations
from service.threads import Threads
from service.wiring import Services
from tests.unit.service.conftest import (
    STORES,
    MemoryCollection,
    binding,
    memory_database,
    memory_of,
    services_of,
    settings_of,
)

OPENS, SELLS = "When does the Edmonton store open?", "What does the Calgary store sell?"
SAID = "It opens at eleven."


def ask(question: str = OPENS, **fields: Any) -> Ask:
    return Ask(**{"question": question, "scope": Scope(), "profile": "chat", **fields})


def answered(services: Services, asked: Ask | None = None) -> Answer:
    return asyncio.run(whole(services.asker.events(asked or ask())))


def events_of(services: Services, asked: Ask) -> list[Event]:
    async def collect() -> list[Event]:
        return [event async for event in services.asker.events(asked)]

    return asyncio.run(collect())


def with_conversations(services: Services, conversations: Conversations, turns: Threads | None = None) -> Services:
    """The services whose asker keeps turns there."""
    asker = Asker(
        services.searcher,
        services.settings,
        conversations=Lazy(lambda: conversations),
        counter=services.counter,
        templates=services.templates,
        generator=services.generator,
        turns=turns or services.turns,
        metrics=services.metrics,
    )
    return replace(services, asker=asker)


def test_without_a_language_model_the_best_sentence_is_quoted() -> None:
    answer = answered(services_of())
    assert answer.text.startswith(STORES[0])
    assert [citation.document_id for citation in answer.citations] == ["0.md"]
    assert not answer.degraded


def test_with_one_its_answer_is_given_with_the_passages_first() -> None:
    events = events_of(services_of(generator=ScriptedGenerator(SAID)), ask())
    assert isinstance(events[0], PassagesFound)
    assert isinstance(events[-1], Finished)
    assert events[-1].answer.text.startswith(SAID)


def test_a_question_without_evidence_is_refused_and_the_model_is_not_asked() -> None:
    generator = ScriptedGenerator(SAID)
    assert answered(services_of(generator=generator), ask("Who wrote Hamlet?")).refused
    assert generator.asked == []


@pytest.mark.parametrize(("threshold", "refused"), [(0.01, False), (0.99, True)])
def test_a_question_with_some_evidence_is_refused_by_the_configured_threshold(threshold: float, refused: bool) -> None:
    services = services_of(settings_of(retrieval={"threshold": threshold}))
    assert answered(services, ask("Does the Edmonton store open for a wedding in Paris?")).refused is refused


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (ask("  "), "The question is empty"),
        (ask(9000 * "x"), "8000 are allowed"),
        (
            ask(history=[Message(role="user", content="Hi")], conversation="c"),
            "Give either a history or a conversation",
        ),
        (ask(sampling=Sampling(json_schema={"x": float("nan")})), r"The JSON Schema cannot be sent: nan is not"),
        (ask(profile="huge"), r"There is no profile 'huge'\. Profiles: chat, document, log, book\."),
        (ask(profile="book"), r"needs a context of 131,072 tokens, but the engine was started with 9,000"),
    ],
)
def test_what_cannot_be_answered_is_refused_before_any_work(asked: Ask, told: str) -> None:
    bound, generator = binding(), ScriptedGenerator(SAID, window_tokens=9000)
    services = services_of(bound=bound, generator=generator)
    with pytest.raises(QuestionError, match=told):
        answered(services, asked)
    assert (memory_of(bound).requests, generator.asked, services.database.is_made) == ([], [], False)


def test_a_question_can_be_checked_alone() -> None:
    asker = services_of().asker
    asker.check(OPENS)
    with pytest.raises(QuestionError, match="empty"):
        asker.check(" ")


@pytest.mark.parametrize("window_tokens", [None, PROFILES["chat"], 1_000_000])
def test_a_profile_that_fits_the_engine_or_that_it_does_not_tell_of_is_taken(window_tokens: int | None) -> None:
    generator = ScriptedGenerator(SAID, window_tokens=window_tokens)
    assert answered(services_of(generator=generator)).text.startswith(SAID)


def test_a_longer_profile_fetches_more_chunks_and_none_fetches_more_than_five_hundred() -> None:
    limits: list[int] = []

    class Noting(MemoryCollection):
        def query(self, dense: Any, sparse: Any, *, scope: Scope, limit: int) -> list[Hit]:
            limits.append(limit)
            return super().query(dense, sparse, scope=scope, limit=limit)

    services = services_of(settings_of(chunking={"max_tokens": 128}), bound=binding(index=Noting(STORES)))
    for profile in ("chat", "document", "book"):
        answered(services, ask(profile=profile))
    assert limits == [64, 256, 500]


def test_no_more_passages_are_shown_than_the_caller_wants() -> None:
    services = services_of(generator=ScriptedGenerator(SAID))
    both = "When do the Edmonton and the Calgary store open and sell records?"
    assert len(answered(services, ask(both)).passages) == 2
    assert len(answered(services, ask(both, max_passages=1)).passages) == 1


def test_a_follow_up_is_written_again_by_the_model_and_then_searched_for() -> None:
    generator = ScriptedGenerator("When does the Edmonton store open?")
    history = [
        Message(role="user", content="Where is the Edmonton store?"),
        Message(role="assistant", content="North."),
    ]
    answer = answered(services_of(generator=generator), ask("When does it open?", history=history))
    assert answer.standalone == "When does the Edmonton store open?"
    assert len(generator.asked) == 2


def test_without_a_model_a_follow_up_is_joined_to_the_question_before_it() -> None:
    history = [Message(role="user", content=OPENS)]
    answer = answered(services_of(), ask("And when?", history=history))
    assert answer.standalone == f"{OPENS} And when?"


def test_a_first_question_is_not_written_again() -> None:
    generator = ScriptedGenerator(SAID)
    assert answered(services_of(generator=generator)).standalone == ""
    assert len(generator.asked) == 1


def test_the_turns_of_a_conversation_are_kept_and_the_next_prompt_begins_with_them() -> None:
    generator = ScriptedGenerator(SAID)
    services = services_of(generator=generator)
    answered(services, ask(conversation="c"))
    answered(services, ask(SELLS, conversation="c"))
    assert [turn.question for turn in services.conversations().turns("c", Identity())] == [OPENS, SELLS]
    first, last = generator.asked[0], generator.asked[-1]
    assert last.messages[1] == first.messages[1]
    assert last.messages[2].content.startswith(SAID)


def test_a_turn_is_kept_before_the_answer_leaves() -> None:
    services = services_of()

    async def main() -> list[Turn]:
        async for event in services.asker.events(ask(conversation="c")):
            if isinstance(event, Finished):
                return services.conversations().turns("c", Identity())
        return []

    assert len(asyncio.run(main())) == 1


def test_a_question_without_a_conversation_keeps_nothing() -> None:
    services = services_of()
    answered(services)
    assert not services.database.is_made


def test_a_conversation_belongs_to_who_began_it() -> None:
    services, other = services_of(), Scope(identity=Identity(subject="another key"))
    answered(services, ask(conversation="c"))
    answered(services, ask("And when?", conversation="c", scope=other))
    assert [turn.question for turn in services.conversations().turns("c", other.identity)] == ["And when?"]


def test_a_turn_whose_passage_is_gone_is_not_shown_to_the_model() -> None:
    bound, generator = binding(), ScriptedGenerator(SAID)
    services = services_of(bound=bound, generator=generator)
    answered(services, ask(conversation="c"))
    bound.index.delete([chunk for page in bound.index.pages("docs") for chunk, name in page.items() if name == "0.md"])
    answered(services, ask(SELLS, conversation="c"))
    assert [message.role for message in generator.asked[-1].messages] == ["system", "user"]


def test_a_turn_outside_the_scope_of_the_question_is_not_shown_to_the_model() -> None:
    generator = ScriptedGenerator(SAID)
    services = services_of(generator=generator)
    answered(services, ask(conversation="c"))
    answered(services, ask(OPENS, conversation="c", scope=Scope(sources=("elsewhere",))))
    assert len(generator.asked) == 1


class Failing(Conversations):
    """fails: what keeping a turn raises; None: it waits until it may go on."""

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__(memory_database(), keep_s=100)
        self._fails = fails
        self.may_go_on = threading.Event()

    def add(self, conversation_id: str, identity: Identity, turn: Turn) -> None:
        if self._fails is not None:
            raise self._fails
        self.may_go_on.wait(5)


def test_a_turn_that_cannot_be_kept_does_not_cost_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    services = with_conversations(services_of(), Failing(StateUnavailable("disk full")))
    assert answered(services, ask(conversation="c")).text.startswith(STORES[0])
    assert "a turn of a conversation could not be kept in time: disk full" in caplog.text


def test_another_error_while_a_turn_is_kept_is_not_hidden() -> None:
    services = with_conversations(services_of(), Failing(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        answered(services, ask(conversation="c"))


def test_a_turn_is_given_up_where_the_request_has_no_time_left(caplog: pytest.LogCaptureFixture) -> None:
    locked = Failing()
    services = with_conversations(services_of(), locked)
    assert answered(services, ask(conversation="c", deadline=Deadline(0.1))).text.startswith(STORES[0])
    locked.may_go_on.set()
    assert "could not be kept in time: the state store is busy" in caplog.text


class Waited(Threads):
    """Threads for which so many calls wait."""

    waiting = 64


def test_a_turn_is_given_up_where_too_many_wait_already(caplog: pytest.LogCaptureFixture) -> None:
    services = with_conversations(services_of(), Failing(ZeroDivisionError("was tried")), Waited("turns", 1))
    assert answered(services, ask(conversation="c")).text.startswith(STORES[0])
    assert "too many turns are waiting already" in caplog.text


class Silent(ScriptedGenerator):
    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, route: Route
    ) -> AsyncGenerator[Delta, None]:
        await asyncio.Event().wait()
        yield Delta(text=SAID)


def test_half_a_second_of_the_requests_time_is_left_to_quote_in() -> None:
    services = services_of(generator=Silent())
    answered(services_of())
    deadline = Deadline(0.55)
    answer = answered(services, ask(deadline=deadline))
    assert answer.degraded
    assert answer.text.startswith(STORES[0])
    assert deadline.left_s > 0


def test_tenants_do_not_share_the_engines_cache() -> None:
    generator = ScriptedGenerator(SAID)
    index = MemoryCollection(STORES)
    services = services_of(bound=binding(index=index), generator=generator)
    answered(services)
    salts = {generator.asked[-1].route.cache_salt}
    for tenant in ("acme", "umbrella"):
        asker_salt = _salt_of(services, tenant)
        salts.add(asker_salt)
        assert len(asker_salt) == 16
        assert tenant not in asker_salt
    assert len(salts) == 3
    assert "" in salts


def _salt_of(services: Services, tenant: str) -> str:
    """With which a tenant's follow-up is written again: that is asked whatever is found."""
    scope = Scope(identity=Identity(tenant=tenant))
    answered(services, ask("And when?", history=[Message(role="user", content=OPENS)], scope=scope))
    generator = services.generator()
    assert isinstance(generator, ScriptedGenerator)
    return generator.asked[-1].route.cache_salt


def test_an_answer_is_counted() -> None:
    services = services_of()
    answered(services)
    assert b'citewell_answers_total{outcome="answered"} 1.0' in services.metrics().exposition({})


def test_what_a_first_question_would_wait_for_is_made_ahead() -> None:
    services = services_of(generator=ScriptedGenerator(SAID))
    services.asker.prepare()
    assert services.counter.is_made
    assert services.generator.is_made
    assert services.conversations.is_made
    assert services.collection.current().likeness.is_made


def test_what_is_wrong_with_the_index_is_told_by_the_preparation() -> None:
    services = services_of(bound=binding(index=MemoryCollection(fails=IndexUnavailable("away"))))
    with pytest.raises(IndexUnavailable, match="away"):
        services.asker.prepare()


def test_sampling_is_as_asked_for_and_else_as_configured() -> None:
    llm = LlmSettings(max_tokens=100, temperature=0.5, top_p=0.9)
    assert sampling_of(llm) == Sampling(max_tokens=100, temperature=0.5, top_p=0.9)
    asked = sampling_of(llm, max_tokens=20, temperature=0.0, top_p=0.1, json_schema={})
    assert asked == Sampling(max_tokens=20, temperature=0.0, top_p=0.1, json_schema={})


def test_the_configured_sampling_is_sent_where_a_caller_wants_none() -> None:
    generator = ScriptedGenerator(SAID)
    answered(services_of(settings_of(llm={"max_tokens": 77}), generator=generator))
    assert generator.asked[-1].sampling.max_tokens == 77


def test_events_that_end_early_are_no_answer() -> None:
    async def nothing() -> AsyncGenerator[Event, None]:
        yield PassagesFound(passages=())

    with pytest.raises(GeneratorUnavailable, match="ended before it was finished"):
        asyncio.run(whole(nothing()))


def test_an_error_of_the_search_is_the_questions_error() -> None:
    services = services_of(bound=binding(index=MemoryCollection(fails=IndexUnavailable("away"))))
    with pytest.raises(CitewellError, match="away"):
        answered(services)

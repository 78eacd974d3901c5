import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from rag.answer.answering import (
    AnswerSettings,
    Asked,
    Event,
    Finished,
    PassagesFound,
    Restarted,
    TextDelta,
    answer,
    weighed,
)
from rag.documents import Document, Passage
from rag.errors import AnswerCut, EngineBusy, GeneratorUnavailable, QuestionError
from rag.fakes import CharacterCounter, ScriptedGenerator
from rag.prompt.ordering import PrefixOrder
from rag.question.question import understand
from rag.types import Answer, Delta, Message, Route, Sampling, Turn, Usage

TEXT = "The Edmonton store opens at 11:00 and closes at 20:00. Parking is free."
DOCUMENT = Document(id="stores.md", source="docs", title="Stores", text=TEXT, uri="file:///s", scope="stores.md")
PASSAGE = Passage(
    label="k7f2",
    document=DOCUMENT,
    text=TEXT,
    start=0,
    end=len(TEXT),
    page=1,
    context="Stores",
    score=1,
    scores={"dense": 0.7},
)
QUESTION = understand("When does the Edmonton store open?")


def run(
    generator: ScriptedGenerator | None,
    passages: Sequence[Passage] = (PASSAGE,),
    *,
    sampling: Sampling = Sampling(),
    asked: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[list[Event], Answer]:
    settings = AnswerSettings(counter=CharacterCounter(), generator=generator, sampling=sampling, **options)
    fields: dict[str, Any] = {"question": QUESTION, "text": QUESTION.text, "passages": passages}
    question = Asked(**fields | (asked or {}))

    async def collect() -> list[Event]:
        return [event async for event in answer(question, settings)]

    events = asyncio.run(collect())
    assert isinstance(events[-1], Finished)
    return events, events[-1].answer


def test_a_written_answer_carries_checked_citations_and_usage() -> None:
    events, done = run(ScriptedGenerator("It opens at ", "11:00 [k7", "f2]. [z9z9]"))
    assert done.text == "It opens at 11:00 [k7f2]."
    assert done.text == "".join(event.text for event in events if isinstance(event, TextDelta))
    assert done.citations[0].quote.startswith("The Edmonton store opens")
    assert done.usage.completion_tokens == len("It opens at 11:00 [k7f2]. [z9z9]")
    assert not done.degraded


def test_without_a_language_model_the_best_sentence_is_quoted() -> None:
    _, done = run(None)
    assert done.text == "The Edmonton store opens at 11:00 and closes at 20:00. [k7f2]"
    assert not done.degraded


def test_when_the_engine_is_down_the_answer_is_quoted_and_marked() -> None:
    _, done = run(ScriptedGenerator(GeneratorUnavailable("connection refused")))
    assert done.degraded
    assert done.degraded_reason == "connection refused"
    assert done.citations


def test_an_answer_cut_off_after_text_is_voided_before_quoting() -> None:
    events, done = run(ScriptedGenerator("It opens soon. Then", GeneratorUnavailable("cut")))
    assert any(isinstance(event, Restarted) for event in events)
    assert done.text.startswith("The Edmonton store opens")


def test_an_empty_answer_counts_as_a_failed_engine() -> None:
    assert run(ScriptedGenerator())[1].degraded


def test_without_evidence_nothing_is_asked_of_the_model() -> None:
    generator = ScriptedGenerator("I guess 42.")
    _, done = run(generator, passages=())
    assert done.refused
    assert generator.asked == []
    assert done.citations == ()


def test_a_label_whose_passage_does_not_hold_the_sentence_is_taken_out() -> None:
    _, done = run(ScriptedGenerator("The manager of the shop is called Ms Harper [k7f2]."))
    assert done.text == "The manager of the shop is called Ms Harper."
    assert (done.dropped, done.uncited, done.citations) == (1, 1, ())


def test_an_answer_in_json_leaves_whole_with_its_citations_beside_it() -> None:
    events, done = run(
        ScriptedGenerator('{"opens": "11:00", ', '"parking": true}'), sampling=Sampling(json_schema={"type": "object"})
    )
    assert [event.text for event in events if isinstance(event, TextDelta)] == ['{"opens": "11:00", "parking": true}']
    assert done.value == {"opens": "11:00", "parking": True}
    assert [(c.pointer, c.label) for c in done.citations] == [("/opens", "k7f2")]
    assert TEXT[done.citations[0].start : done.citations[0].end] == done.citations[0].quote


def test_json_that_is_cut_or_none_is_an_error_and_no_answer() -> None:
    asked = Sampling(json_schema={})
    with pytest.raises(GeneratorUnavailable, match="not JSON"):
        run(ScriptedGenerator("It opens at eleven."), sampling=asked)
    with pytest.raises(AnswerCut, match="max_tokens"):
        run(ScriptedGenerator(Delta(text='{"opens": "11', cut=True)), sampling=asked)
    with pytest.raises(QuestionError, match=r"llm\.urls"):
        run(None, sampling=asked)


def test_an_answer_that_max_tokens_ended_says_so() -> None:
    assert run(ScriptedGenerator("It opens at 11:00 [k7f2]", Delta(cut=True)))[1].cut


@pytest.mark.parametrize("max_tokens", [8_000, 8_192, 100_000])
def test_max_tokens_over_the_window_says_how_many_would_fit(max_tokens: int) -> None:
    with pytest.raises(QuestionError, match=r"at most (\d+)") as raised:
        run(ScriptedGenerator("At ten."), sampling=Sampling(max_tokens=max_tokens))
    most = int(str(raised.value).partition("at most ")[2].partition(",")[0])
    generator = ScriptedGenerator("At ten [k7f2].")
    run(generator, sampling=Sampling(max_tokens=most))
    assert "k7f2" in generator.asked[0].messages[-1].content


def test_a_full_engine_is_an_error_and_no_quote() -> None:
    with pytest.raises(EngineBusy):
        run(ScriptedGenerator(EngineBusy("full")))


def test_nothing_is_voided_where_nothing_was_streamed() -> None:
    events, done = run(ScriptedGenerator(GeneratorUnavailable("down", public="Later.")))
    assert not any(isinstance(event, Restarted) for event in events)
    assert (done.degraded_reason, done.degraded_public) == ("down", "Later.")


def test_what_was_voided_is_told_with_its_reason() -> None:
    events, _ = run(ScriptedGenerator("It opens soon. Then", GeneratorUnavailable("cut", public="Later.")))
    assert [event for event in events if isinstance(event, Restarted)] == [Restarted(reason="cut", public="Later.")]


class Silent(ScriptedGenerator):
    """A generator that never begins."""

    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, route: Route
    ) -> AsyncGenerator[Delta, None]:
        await asyncio.Event().wait()
        yield Delta()


def test_a_model_that_is_late_is_not_waited_for() -> None:
    _, done = run(Silent(), generate_until=time.monotonic() + 0.01)
    assert done.degraded
    assert "deadline" in done.degraded_reason


def test_a_failing_engine_fails_an_answer_in_json() -> None:
    with pytest.raises(GeneratorUnavailable, match="down"):
        run(ScriptedGenerator(GeneratorUnavailable("down")), sampling=Sampling(json_schema={}))


def test_json_that_is_none_is_not_laid_to_max_tokens_where_it_was_not_cut() -> None:
    with pytest.raises(GeneratorUnavailable, match="not JSON"):
        run(ScriptedGenerator('{"opens": "11'), sampling=Sampling(json_schema={}))


def test_labels_inside_an_answer_in_json_stand_beside_it() -> None:
    generator = ScriptedGenerator('{"opens [k7f2]": ["at 11:00 [k7f2]", 20, null]}')
    _, done = run(generator, sampling=Sampling(json_schema={}))
    assert done.value == {"opens": ["at 11:00", 20, None]}
    assert done.text == '{"opens": ["at 11:00", 20, null]}'
    assert (done.uncited, [citation.pointer for citation in done.citations]) == (0, ["/opens/0", "/opens/1"])


def test_a_value_that_no_passage_has_is_uncited() -> None:
    assert run(ScriptedGenerator('{"tea": "Assam"}'), sampling=Sampling(json_schema={}))[1].uncited == 1


FAR = replace(PASSAGE, label="z1z1", text="The moon is green.", document=replace(DOCUMENT, id="moon.md"), scores={})


def test_a_passage_without_evidence_is_neither_shown_nor_quoted() -> None:
    generator = ScriptedGenerator("It opens at 11:00 [k7f2].")
    run(generator, [PASSAGE, FAR])
    assert "moon" not in generator.asked[0].messages[-1].content


def test_the_model_is_shown_passages_with_half_the_evidence_that_an_answer_needs() -> None:
    passages = [PASSAGE, replace(PASSAGE, label="b2b2", text="A store opens in May."), FAR]
    shown, enough = weighed(Asked(question=QUESTION, text=QUESTION.text, passages=passages), 0.7)
    assert [passage.label for passage in shown] == ["k7f2", "b2b2"]
    assert [passage.label for _, passage in enough] == ["k7f2"]


def test_requests_of_a_conversation_go_to_one_replica_and_others_by_their_best_passage() -> None:
    generator = ScriptedGenerator("It opens at 11:00 [k7f2].")
    run(generator)
    run(generator, asked={"conversation": "c1", "salt": "acme"})
    assert [(each.route.affinity, each.route.cache_salt) for each in generator.asked] == [("k7f2", ""), ("c1", "acme")]


def finished(events: list[Event]) -> Finished:
    found = events[-1]
    assert isinstance(found, Finished)
    return found


def test_a_turn_holds_what_was_sent_and_what_its_answer_stands_on() -> None:
    generator = ScriptedGenerator("It opens at 11:00 [k7f2].")
    passages = [replace(PASSAGE, chunk_ids=("c1", "c2"))]
    events, _ = run(generator, passages)
    turn = finished(events).turn
    assert (turn.question, turn.answer) == (QUESTION.text, "It opens at 11:00 [k7f2].")
    assert turn.asked == generator.asked[0].messages[-1].content
    assert (turn.passages, turn.stands_on) == (tuple(passages), ("c1", "c2"))


def test_a_quoted_turn_stands_on_what_it_cites_only() -> None:
    unquoted = replace(PASSAGE, label="b2b2", text="Edmonton has a store, open.", chunk_ids=("c9",), score=0)
    events, done = run(None, [replace(PASSAGE, chunk_ids=("c1",)), unquoted], threshold=0.3)
    cited = {citation.label for citation in done.citations}
    turn = finished(events).turn
    assert turn.passages == ()
    assert turn.stands_on == (("c1", "c9") if "b2b2" in cited else ("c1",))


def test_a_passage_of_an_earlier_turn_may_be_cited() -> None:
    turn = Turn(question="?", asked="[k7f2] Stores\n" + TEXT, answer="Yes.", passages=(PASSAGE,))
    new = replace(
        PASSAGE, label="b2b2", text="The Edmonton store opens on Mondays.", document=replace(DOCUMENT, id="x.md")
    )
    events, done = run(ScriptedGenerator("It opens at 11:00 [k7f2]."), [new], asked={"turns": [turn]})
    assert [citation.label for citation in done.citations] == ["k7f2"]
    assert next(event for event in events if isinstance(event, PassagesFound)).passages == (new, PASSAGE)


def test_a_question_made_to_stand_alone_is_told() -> None:
    assert run(None)[1].standalone == ""
    assert run(None, asked={"text": "When does it open?"})[1].standalone == QUESTION.text


def test_an_ordering_learns_what_the_engine_has_evicted() -> None:
    places = {name: PASSAGE.text + f" {name}. " * 100 for name in ("one", "two", "three")}
    one, two, three = (replace(PASSAGE, label=f"{name[0]}1{name[1]}2", text=text) for name, text in places.items())
    ordering = PrefixOrder()

    def order(*passages: Passage, cached_tokens: int = 1) -> str:
        generator = ScriptedGenerator("Yes.", Delta(usage=Usage(cached_tokens=cached_tokens)))
        run(generator, passages, ordering=ordering)
        return generator.asked[0].messages[-1].content

    first, again = order(one, two), order(two, one)
    assert again.startswith(first.partition("Most relevant")[0])
    order(three)
    order(three, cached_tokens=0)
    forgotten = order(two, one)
    assert forgotten.index(two.label) < forgotten.index(one.label)


def test_stages_are_timed_in_their_order() -> None:
    timings = run(ScriptedGenerator("It opens at 11:00 [k7f2]."))[1].timings_s
    assert list(timings) == ["prompt", "first_token", "total"]
    assert sorted(timings.values()) == list(timings.values())
    assert list(run(None)[1].timings_s) == ["first_token", "total"]

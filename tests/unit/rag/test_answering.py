import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from rag.answer.answering import AnswerSettings, Asked, Event, Finished, Restarted, TextDelta, answer
from rag.documents import Document, Passage
from rag.errors import AnswerCut, GeneratorUnavailable, QuestionError
from rag.language.tokens import QwenTokenCounter
from rag.question.question import understand
from rag.types import Answer, Delta, Message, Route, Sampling, Usage

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


class Scripted:
    """A generator that says its lines, and fails where an exception stands among them."""

    def __init__(self, *lines: str | Delta | Exception) -> None:
        self.lines = lines
        self.asked: list[Message] = []

    def replica(self, affinity: str) -> str:
        return "one"

    async def window_tokens(self) -> int | None:
        return None

    async def stream(self, messages: Sequence[Message], sampling: Sampling, route: Route) -> AsyncIterator[Delta]:
        self.asked = list(messages)
        for line in self.lines:
            if isinstance(line, Exception):
                raise line
            yield line if isinstance(line, Delta) else Delta(text=line)
        yield Delta(usage=Usage(prompt_tokens=10, completion_tokens=3))


def run(
    generator: Scripted | None, passages: Sequence[Passage] = (PASSAGE,), *, sampling: Sampling = Sampling()
) -> tuple[list[Event], Answer]:
    settings = AnswerSettings(counter=QwenTokenCounter(), generator=generator, sampling=sampling)

    async def collect() -> list[Event]:
        return [
            event async for event in answer(Asked(question=QUESTION, text=QUESTION.text, passages=passages), settings)
        ]

    events = asyncio.run(collect())
    assert isinstance(events[-1], Finished)
    return events, events[-1].answer


def test_a_written_answer_carries_checked_citations_and_usage():
    events, done = run(Scripted("It opens at ", "11:00 [k7", "f2]. [z9z9]"))
    assert done.text == "It opens at 11:00 [k7f2]."
    assert done.text == "".join(event.text for event in events if isinstance(event, TextDelta))
    assert done.citations[0].quote.startswith("The Edmonton store opens")
    assert done.usage.prompt_tokens == 10
    assert not done.degraded


def test_without_a_language_model_the_best_sentence_is_quoted():
    _, done = run(None)
    assert done.text == "The Edmonton store opens at 11:00 and closes at 20:00. [k7f2]"
    assert not done.degraded


def test_when_the_engine_is_down_the_answer_is_quoted_and_marked():
    _, done = run(Scripted(GeneratorUnavailable("connection refused")))
    assert done.degraded
    assert done.degraded_reason == "connection refused"
    assert done.citations


def test_an_answer_cut_off_after_text_is_voided_before_quoting():
    events, done = run(Scripted("It opens soon. Then", GeneratorUnavailable("cut")))
    assert any(isinstance(event, Restarted) for event in events)
    assert done.text.startswith("The Edmonton store opens")


def test_an_empty_answer_counts_as_a_failed_engine():
    assert run(Scripted())[1].degraded


def test_without_evidence_nothing_is_asked_of_the_model():
    generator = Scripted("I guess 42.")
    _, done = run(generator, passages=())
    assert done.refused
    assert generator.asked == []
    assert done.citations == ()


def test_a_label_whose_passage_does_not_hold_the_sentence_is_taken_out():
    _, done = run(Scripted("The manager of the shop is called Ms Harper [k7f2]."))
    assert done.text == "The manager of the shop is called Ms Harper."
    assert (done.dropped, done.uncited, done.citations) == (1, 1, ())


def test_an_answer_in_json_leaves_whole_with_its_citations_beside_it():
    events, done = run(
        Scripted('{"opens": "11:00", ', '"parking": true}'), sampling=Sampling(json_schema={"type": "object"})
    )
    assert [event.text for event in events if isinstance(event, TextDelta)] == ['{"opens": "11:00", "parking": true}']
    assert done.value == {"opens": "11:00", "parking": True}
    assert [(c.pointer, c.label) for c in done.citations] == [("/opens", "k7f2")]
    assert TEXT[done.citations[0].start : done.citations[0].end] == done.citations[0].quote


def test_json_that_is_cut_or_none_is_an_error_and_no_answer():
    asked = Sampling(json_schema={})
    with pytest.raises(GeneratorUnavailable, match="not JSON"):
        run(Scripted("It opens at eleven."), sampling=asked)
    with pytest.raises(AnswerCut, match="max_tokens"):
        run(Scripted(Delta(text='{"opens": "11', cut=True)), sampling=asked)
    with pytest.raises(QuestionError, match=r"llm\.urls"):
        run(None, sampling=asked)


def test_an_answer_that_max_tokens_ended_says_so():
    assert run(Scripted("It opens at 11:00 [k7f2]", Delta(cut=True)))[1].cut


@pytest.mark.parametrize("max_tokens", [8_000, 8_192, 100_000])
def test_max_tokens_over_the_window_says_how_many_would_fit(max_tokens: int):
    with pytest.raises(QuestionError, match=r"at most (\d+)") as raised:
        run(Scripted("At ten."), sampling=Sampling(max_tokens=max_tokens))
    most = int(str(raised.value).partition("at most ")[2].partition(",")[0])
    generator = Scripted("At ten [k7f2].")
    run(generator, sampling=Sampling(max_tokens=most))
    assert "k7f2" in generator.asked[-1].content

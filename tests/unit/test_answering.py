import asyncio
from collections.abc import AsyncIterator, Sequence

from rag.answering import Answering, Event, Finished, Restarted, TextDelta, answer
from rag.errors import GeneratorUnavailable
from rag.evidence import understand
from rag.tokens import QwenTokenCounter
from rag.types import Answer, Delta, Document, Message, Passage, Sampling, Usage

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

    def __init__(self, *lines: str | Exception) -> None:
        self.lines = lines
        self.asked: list[Message] = []

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        self.asked = list(messages)
        for line in self.lines:
            if isinstance(line, Exception):
                raise line
            yield Delta(text=line)
        yield Delta(usage=Usage(prompt_tokens=10, completion_tokens=3))


def run(generator: Scripted | None, passages: Sequence[Passage] = (PASSAGE,)) -> tuple[list[Event], Answer]:
    async def collect() -> list[Event]:
        return [
            event
            async for event in answer(QUESTION, passages, Answering(counter=QwenTokenCounter(), generator=generator))
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

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from rag.errors import GeneratorUnavailable
from rag.prompt.templates import load_templates
from rag.question.follow_up import Rewriter, joined, refers_back, turns_of
from rag.types import Delta, Message, Route, Sampling, Turn

TURNS = [Turn(question="Who wrote Dune?", asked="…", answer="Frank Herbert wrote Dune [a1b2].")]


class Writer:
    def __init__(self, text: str | Exception) -> None:
        self.text = text
        self.asked = 0

    def replica(self, affinity: str) -> str:
        return "one"

    async def window_tokens(self) -> int | None:
        return None

    async def stream(self, messages: Sequence[Message], sampling: Sampling, route: Route) -> AsyncIterator[Delta]:
        self.asked += 1
        if isinstance(self.text, Exception):
            raise self.text
        yield Delta(text=self.text)


def rewritten(writer: Writer, question: str = "When was it published?") -> str:
    return asyncio.run(Rewriter(writer, load_templates()).rewrite(question, TURNS, Route()))


def test_the_model_s_rewriting_is_searched_for():
    assert rewritten(Writer("When was Dune published?")) == "When was Dune published?"


@pytest.mark.parametrize(
    "text", ["Yes.", "Dune was written by a journalist from Tacoma who loved sand.", "", "One.\nTwo.", "x" * 900]
)
def test_what_is_no_rewriting_is_not_searched_for(text: str):
    assert rewritten(Writer(text)) == "Who wrote Dune? When was it published?"


def test_without_an_engine_a_follow_up_is_joined_to_the_question_before():
    assert rewritten(Writer(GeneratorUnavailable("down"))) == "Who wrote Dune? When was it published?"


def test_the_same_follow_up_is_written_once():
    writer = Writer("When was Dune published?")
    rewriter = Rewriter(writer, load_templates())
    for _ in range(3):
        asyncio.run(rewriter.rewrite("When was it published?", TURNS, Route()))
    assert writer.asked == 1


@pytest.mark.parametrize(
    ("question", "refers"),
    [
        ("When was it published?", True),
        ("那里的门票多少钱？", True),
        ("And in Calgary?", True),
        ("Which albums did Iron Maiden release in Brazil?", False),
        ("员工手册规定试用期多长时间可以解除合同", False),
    ],
)
def test_a_question_refers_back_or_stands_alone(question: str, refers: bool):
    assert refers_back(question) == refers
    assert (joined(question, TURNS) != question) == refers


def test_a_history_becomes_turns():
    history = [
        Message(role="assistant", content="Welcome!"),
        Message(role="user", content="Hi"),
        Message(role="user", content="Who wrote Dune?"),
        Message(role="assistant", content="Frank Herbert."),
    ]
    assert [(turn.question, turn.answer) for turn in turns_of(history)] == [
        ("Hi", ""),
        ("Who wrote Dune?", "Frank Herbert."),
    ]

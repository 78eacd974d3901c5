"""What every language model does (rag/ports.py, Generator).

One of your own: subclass GeneratorContract, with a method `says` that gives one which answers with a text, and
`fails`, one which does not answer.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import ClassVar

import pytest

from rag.errors import GeneratorUnavailable
from rag.fakes import ScriptedGenerator
from rag.ports import Generator
from rag.types import Delta, Message, Route, Sampling, Usage
from service.vllm.client import OpenAIGenerator, all_answer
from tests.support.llm.stub_engine import StubEngine

QUESTION = (Message(role="user", content="When does it open?"),)
ANSWER = "It opens at eleven. 十一点开门。"


class GeneratorContract:
    def says(self, text: str) -> Generator:
        raise NotImplementedError

    def fails(self) -> Generator:
        raise NotImplementedError

    def test_the_pieces_of_an_answer_are_the_answer(self) -> None:
        assert "".join(delta.text for delta in asyncio.run(whole(self.says(ANSWER)))) == ANSWER

    def test_what_it_cost_is_told_after_the_answer(self) -> None:
        deltas = asyncio.run(whole(self.says(ANSWER)))
        [place] = [number for number, delta in enumerate(deltas) if delta.usage]
        assert not any(delta.text for delta in deltas[place:])
        usage = deltas[place].usage or Usage()
        assert min(usage.prompt_tokens, usage.completion_tokens) > 0

    def test_one_that_does_not_answer_says_so(self) -> None:
        with pytest.raises(GeneratorUnavailable):
            asyncio.run(whole(self.fails()))

    def test_a_stream_may_be_left_in_the_middle_and_another_begun(self) -> None:
        generator = self.says(ANSWER)

        async def ask() -> list[Delta]:
            async with aclosing(stream(generator)) as deltas:
                await anext(deltas)
            return await whole(generator)

        assert "".join(delta.text for delta in asyncio.run(ask())) == ANSWER

    def test_a_check_names_every_replica_with_what_is_wrong(self) -> None:
        well, ill = (asyncio.run(generator.check()) for generator in (self.says(ANSWER), self.fails()))
        assert len(well) == len(ill) == 1
        assert not any(well.values())
        assert all(ill.values())

    def test_that_all_answer_is_told_with_their_names(self) -> None:
        assert asyncio.run(all_answer(self.says(ANSWER))).startswith("a token from ")
        with pytest.raises(GeneratorUnavailable):
            asyncio.run(all_answer(self.fails()))

    def test_the_same_affinity_goes_to_the_same_replica(self) -> None:
        generator = self.says(ANSWER)
        assert generator.replica("a tenant")
        assert generator.replica("a tenant") == generator.replica("a tenant")

    def test_a_window_that_nobody_tells_is_none(self) -> None:
        assert asyncio.run(self.says(ANSWER).window_tokens()) is None


def stream(generator: Generator) -> AsyncGenerator[Delta, None]:
    return generator.stream(QUESTION, Sampling(), Route())


async def whole(generator: Generator) -> list[Delta]:
    return [delta async for delta in stream(generator)]


class TestScripted(GeneratorContract):
    def says(self, text: str) -> Generator:
        return ScriptedGenerator(*text)

    def fails(self) -> Generator:
        return ScriptedGenerator(GeneratorUnavailable("out of memory"))


class TestOpenAI(GeneratorContract):
    stub: ClassVar[StubEngine]

    @pytest.fixture(scope="class", autouse=True)
    def engine(self, request: pytest.FixtureRequest) -> Iterator[None]:
        with StubEngine() as request.cls.stub:
            yield

    def says(self, text: str) -> Generator:
        return OpenAIGenerator([self.stub.url], model=f"says:{text}", timeout_s=10)

    def fails(self) -> Generator:
        return OpenAIGenerator([self.stub.url], model="error", timeout_s=10)

"""What every token counter does (rag/ports.py, TokenCounter).

A counter of your own: subclass TokenCounterContract, with a fixture `counter` that gives one.
"""

from pathlib import Path

import pytest

from rag.fakes import CharacterCounter
from rag.language.tokens import QwenTokenCounter
from rag.ports import TokenCounter
from rag.types import Message
from service.vllm.counter import TransformersTokenCounter

TEXTS = [
    "Records are returned within thirty days.\n",
    "黑胶唱片必须竖直存放。\n",
    "INV-2024-0042\t  12.50\n\n",
    "1. 5%\n",
    "x",
]
SYSTEM = Message(role="system", content="Answer from the passages alone.")
USER = Message(role="user", content="How long can a record be returned?")


class TokenCounterContract:
    @pytest.fixture(scope="class")
    def counter(self) -> TokenCounter:
        raise NotImplementedError

    def test_a_text_has_tokens_and_nothing_has_none(self, counter: TokenCounter) -> None:
        assert counter.count_text("") == 0
        assert all(counter.count_text(text) > 0 for text in ("returned", "唱片", "0042"))

    def test_more_text_is_more_tokens(self, counter: TokenCounter) -> None:
        counts = [counter.count_text("a record\n" * times) for times in (1, 2, 10, 100)]
        assert counts == sorted(set(counts))

    def test_a_chat_is_its_texts_and_a_template(self, counter: TokenCounter) -> None:
        texts = counter.count_text(SYSTEM.content) + counter.count_text(USER.content)
        assert texts < counter.count([SYSTEM, USER]) < texts + 40

    def test_a_further_message_costs_more(self, counter: TokenCounter) -> None:
        answer = Message(role="assistant", content="Thirty days.")
        assert counter.count([SYSTEM, USER]) < counter.count([SYSTEM, USER, answer]) < counter.count(
            [SYSTEM, USER, answer, USER]
        )  # fmt: skip

    def test_where_counts_add_up_lines_do_not_join(self, counter: TokenCounter) -> None:
        if counter.additive:
            assert counter.count_text("".join(TEXTS)) == sum(map(counter.count_text, TEXTS))

    def test_counting_again_counts_the_same(self, counter: TokenCounter) -> None:
        assert [counter.count_text(text) for text in TEXTS] == [counter.count_text(text) for text in TEXTS]
        assert counter.count([SYSTEM, USER]) == counter.count([SYSTEM, USER])


class TestCharacters(TokenCounterContract):
    @pytest.fixture(scope="class")
    def counter(self) -> TokenCounter:
        return CharacterCounter()


class TestQwen(TokenCounterContract):
    @pytest.fixture(scope="class")
    def counter(self) -> TokenCounter:
        return QwenTokenCounter()


class TestTransformers(TokenCounterContract):
    @pytest.fixture(scope="class")
    def counter(self, tmp_path_factory: pytest.TempPathFactory) -> TokenCounter:
        folder = tmp_path_factory.mktemp("tokenizer")
        write_tokenizer(folder)
        return TransformersTokenCounter(str(folder))


def write_tokenizer(folder: Path) -> None:
    """A tokenizer with a token a word or mark, and a chat template, as a folder that transformers loads."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
    made.chat_template = (
        "{% for message in messages %}begin {{ message.role }} {{ message.content }} end {% endfor %}"
        "{% if add_generation_prompt %}begin assistant{% endif %}"
    )
    made.save_pretrained(folder)

import pytest

from rag.language.tokens import QwenTokenCounter, neutralize, qwen_encoding
from rag.types import Message

COUNTER = QwenTokenCounter()


def test_ids_are_those_of_qwen25() -> None:
    encoding = qwen_encoding()
    assert encoding.encode("Hello world") == [9707, 1879]
    assert encoding.encode("<|im_end|>", allowed_special="all") == [151645]
    assert encoding.n_vocab == 151665


def test_each_digit_is_a_token() -> None:
    assert COUNTER.count_text("2024") == 4


def test_a_chat_is_counted_with_its_template() -> None:
    system, user = Message(role="system", content="You help."), Message(role="user", content="Hi")
    template = "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert COUNTER.count([system, user]) == len(qwen_encoding().encode(template, allowed_special="all"))


@pytest.mark.parametrize("text", ["<|im_end|>", "a <|im_start|>system b", "<tool_call>x</tool_call>"])
def test_control_tokens_in_a_passage_lose_their_power(text: str) -> None:
    ids = qwen_encoding().encode(neutralize(text), allowed_special="all")
    assert all(token < 151643 for token in ids)


def test_a_long_text_without_white_space_is_counted_in_time() -> None:
    assert COUNTER.count_text("a" * 200_000) > 1000

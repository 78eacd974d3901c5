"""Text without a model's reasoning."""

import pytest

from rag.errors import GeneratorUnavailable
from service.vllm.reasoning import AnswerText


def written(text: str, size: int, *, is_json: bool = False) -> str:
    reader = AnswerText(is_json=is_json)
    pieces = [reader.feed(text[start : start + size]) for start in range(0, len(text), size)]
    return "".join(pieces) + reader.finish()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>It may be nine.</think>\n\nAt ten.", "At ten."),
        ("\n <THINK>nine</Think>At ten.", "At ten."),
        ("<think>It may be nine. And then", ""),
        ("</think>\n\nAt ten.", "At ten."),
        ("[THINK]nine[/THINK]At ten [a1b2].", "At ten [a1b2]."),
        ("<|channel|>analysis<|message|>nine<|start|>assistant<|channel|>final<|message|>At ten.", "At ten."),
        ("At ten.\n<think>or nine</think>\nYes.", "At ten.\n\nYes."),
        ("The mark <think> opens, `</think>` closes.", "The mark <think> opens, `</think>` closes."),
        ("a < b and [x", "a < b and [x"),
        ("a\ud83d\ude00b\ud83d", "a\U0001f600b\ufffd"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_reasoning_is_taken_out_in_any_pieces(text: str, answer: str, size: int) -> None:
    assert written(text, size) == answer


def test_reasoning_that_was_given_already_is_an_error() -> None:
    with pytest.raises(GeneratorUnavailable, match="reasoning-parser"):
        written("It may be nine.\n</think>\n\nAt ten.", 3)


def test_json_may_hold_any_mark() -> None:
    assert written('{"a": "b\\n</think> <think>"}', 3, is_json=True) == '{"a": "b\\n</think> <think>"}'


@pytest.mark.parametrize("text", ["It says “</think>” there.", "He wrote '</think>' in it.", "`</think>`"])
def test_a_quoted_mark_is_text(text: str) -> None:
    assert written(f"Yes. {text}", 4) == f"Yes. {text}"


def test_text_before_a_possible_mark_is_given_at_once() -> None:
    reader = AnswerText()
    assert reader.feed("At ten <thi") == "At ten "
    assert reader.feed("rty>") == "<thirty>"


def test_spaces_before_the_answer_are_left_out_and_within_it_kept() -> None:
    assert written("\n\n At ten.\n\n At nine. ", 3) == "At ten.\n\n At nine. "

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import QuestionError
from rag.prompt import build
from rag.tokens import QwenTokenCounter
from rag.types import Document, Message, Passage

COUNTER = QwenTokenCounter()
DOCUMENT = Document(id="d", source="s", title="Guide", text="", uri="file:///d", scope="d")


def passage(label: str, text: str) -> Passage:
    return Passage(
        label=label, document=DOCUMENT, text=text, start=100, end=100 + len(text), page=2, context="Guide", score=1.0
    )


@settings(max_examples=40)
@given(st.integers(150, 1200), st.lists(st.integers(1, 60), max_size=8))
def test_a_prompt_is_never_over_its_budget(budget: int, sizes: list[int]):
    passages = [
        passage(f"a{i}b{i}", "Records are kept upright. 黑胶唱片竖直存放。" * size) for i, size in enumerate(sizes)
    ]
    messages, used = build("How are records kept?", passages, COUNTER, budget_tokens=budget)
    assert COUNTER.count(messages) <= budget
    assert len(used) <= len(passages)


def test_the_worst_evidence_goes_first_and_a_cut_passage_is_marked():
    best, worst = passage("a1b1", "Short and best."), passage("a2b2", "One sentence of some length. " * 40)
    messages, used = build("Which?", [best, worst], COUNTER, budget_tokens=300)
    assert used[0] == best
    assert used[1].cut
    assert worst.text.startswith(used[1].text)
    assert used[1].end == used[1].start + len(used[1].text)
    assert "[…]" in messages[-1].content


def test_passages_stand_in_an_order_that_the_question_does_not_change():
    one, two = passage("a1b1", "First."), passage("c2d2", "Second.")
    asked = [build("Which?", pair, COUNTER, budget_tokens=2000)[0][-1].content for pair in ([one, two], [two, one])]
    assert [text.partition("Most relevant")[0] for text in asked] == [asked[0].partition("Most relevant")[0]] * 2


def test_the_oldest_turns_go_before_any_passage():
    history = [Message(role="user", content="old " * 300), Message(role="assistant", content="answer")]
    messages, used = build("Which?", [passage("a1b1", "Text.")], COUNTER, history=history, budget_tokens=500)
    assert len(used) == 1
    assert all("old old" not in message.content for message in messages)


def test_a_question_over_the_budget_is_an_error_that_says_so():
    with pytest.raises(QuestionError, match="Shorten it"):
        build("word " * 500, [], COUNTER, budget_tokens=300)

"""The labels of passages."""

import re
from dataclasses import replace

from rag.documents import Document, Passage
from rag.retrieval.labels import label_passages

DOCUMENT = Document(id="returns.md", source="docs", title="Returns", text="", uri="file:///r")
PASSAGE = Passage(label="", document=DOCUMENT, text="Tea.", start=0, end=4, page=None, context="", score=1.0)


def test_labels_belong_to_passages_and_not_to_ranks() -> None:
    other = replace(PASSAGE, start=500)
    forth = {p.start: p.label for p in label_passages([PASSAGE, other])}
    back = {p.start: p.label for p in label_passages([other, PASSAGE])}
    assert forth == back
    assert len(set(forth.values())) == 2


def test_a_label_is_of_letters_and_digits_in_turn() -> None:
    (found,) = label_passages([PASSAGE])
    assert re.fullmatch("([a-z][0-9]){2}", found.label)


def test_passages_of_other_sources_and_documents_have_other_labels() -> None:
    others = [replace(DOCUMENT, source="shop"), replace(DOCUMENT, id="b.md")]
    found = label_passages([PASSAGE, *(replace(PASSAGE, document=document) for document in others)])
    assert len({passage.label for passage in found}) == 3


def test_a_label_that_stands_for_another_passage_of_the_conversation_is_not_given_again() -> None:
    (first,) = label_passages([PASSAGE])
    (again,) = label_passages([PASSAGE], taken={first.label})
    assert again.label.startswith(first.label)
    assert len(again.label) == len(first.label) + 2

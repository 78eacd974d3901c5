"""Points of chunks: no text is embedded twice, and one that is refused takes only its own document along."""

from collections.abc import Sequence
from typing import Any, NoReturn

import pytest

from rag.chunking import dense_text, split
from rag.documents import Chunk
from rag.errors import EmbedderUnavailable
from rag.fakes import CharacterCounter, HashEmbedder, TermEncoder
from service.syncing.batch.vectors import Vectors
from tests.unit.service.syncing.conftest import CountingEmbedder, row


def chunks(*texts: str) -> list[Chunk]:
    return [split(row(number, text), CharacterCounter(), max_tokens=80)[0] for number, text in enumerate(texts)]


def vectors(embedder: HashEmbedder, **fields: Any) -> Vectors:
    return Vectors(embedder=embedder, sparse=TermEncoder(), **{"stored": {}, **fields})


def test_a_text_that_several_chunks_have_is_embedded_once() -> None:
    embedder = CountingEmbedder()
    made = vectors(embedder)
    points = made.points(chunks("same", "same", "other"))()
    assert (embedder.asked, made.embedded, len(points)) == (["same", "other"], 2, 3)
    assert points[0].dense == points[1].dense != points[2].dense


def test_a_text_that_is_stored_is_not_embedded_again() -> None:
    embedder = CountingEmbedder()
    first, other = chunks("stored", "other")
    made = vectors(embedder, stored={dense_text(first): [0.5] * 32})
    points = made.points([first, other])()
    assert (embedder.asked, made.embedded, made.reused) == (["other"], 1, 1)
    assert points[0].dense == [0.5] * 32


def test_a_refused_text_is_told_by_its_document_and_the_others_are_embedded() -> None:
    made = vectors(CountingEmbedder())
    points = made.points(chunks("one", "poison", "three", "four", "five"))()
    assert [point.chunk.text for point in points] == ["one", "three", "four", "five"]
    assert made.refused == {"t/1": "its text cannot be embedded: ValueError: too long"}
    assert made.embedded == 4


def test_no_part_of_a_document_that_was_refused_comes_later() -> None:
    made = vectors(CountingEmbedder())
    made.points(chunks("zero", "poison"))
    assert [point.chunk.document.id for point in made.points(chunks("more of zero", "more of one"))()] == ["t/0"]


def test_an_embedder_that_is_away_is_no_fault_of_a_text() -> None:
    class Away(HashEmbedder):
        def embed(self, texts: Sequence[str], *, query: bool = False) -> NoReturn:
            raise EmbedderUnavailable("away")

    with pytest.raises(EmbedderUnavailable):
        vectors(Away()).points(chunks("one", "two"))


def test_nothing_is_asked_of_the_embedder_for_no_text() -> None:
    embedder = CountingEmbedder()
    assert vectors(embedder).points([])() == []
    assert embedder.asked == []


def test_a_row_is_found_by_the_words_of_its_title() -> None:
    (point,) = vectors(HashEmbedder()).points(chunks("text"))()
    words = TermEncoder().encode(["t 0\ntext"])[0]
    assert point.sparse == words

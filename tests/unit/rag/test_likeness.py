"""What cosines mean, measured on known pairs."""

from collections.abc import Sequence

import numpy as np
import pytest

from rag.fakes import HashEmbedder
from rag.language.languages import known_pairs
from rag.ports import Vectors
from rag.retrieval.likeness import NO_SCALE, Scale, measure_likeness, scale_for


class Knowing:
    """An embedder that puts an answer near its question, in the languages that it knows."""

    name, dim = "knowing", 64

    def __init__(self, *languages: str) -> None:
        pairs = [pair for language in languages for pair in known_pairs()[language]]
        self._question_of = {answer: question for question, answer in pairs}

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        own, asked = (
            HashEmbedder(dim=self.dim).embed(t) for t in (texts, [self._question_of.get(t, t) for t in texts])
        )
        near = own + 4 * asked
        return np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True), dtype=np.float32)


def test_a_language_that_the_embedder_knows_has_a_scale_and_another_has_none() -> None:
    likeness = measure_likeness(Knowing("en", ""))
    assert {language for language, scale in likeness.items() if scale.counts} == {"en", ""}
    assert likeness["zh"] == NO_SCALE


def test_related_texts_lie_high_on_the_scale_and_unrelated_ones_at_its_floor() -> None:
    embedder = Knowing("en")
    scale = measure_likeness(embedder)["en"]
    (question, answer), (_, other) = known_pairs()["en"][:2]
    vectors = embedder.embed([question, answer, other])
    assert scale.likeness(float(vectors[0] @ vectors[1])) > 0.8
    assert scale.likeness(float(vectors[0] @ vectors[2])) < 0.2


@pytest.mark.parametrize(("cosine", "share"), [(0.1, 0.0), (0.2, 0.0), (0.45, 0.5), (0.7, 1.0), (0.9, 1.0)])
def test_a_cosine_is_a_share_of_the_way_from_floor_to_top(cosine: float, share: float) -> None:
    assert Scale(floor=0.2, top=0.7).likeness(cosine) == pytest.approx(share)


def test_without_a_scale_no_cosine_says_anything() -> None:
    assert (NO_SCALE.counts, NO_SCALE.likeness(1.0)) == (False, 0.0)


def test_a_language_without_pairs_has_the_scale_of_all_others() -> None:
    own, others = Scale(floor=0.1, top=0.9), Scale(floor=0.3, top=0.6)
    assert scale_for({"en": own, "": others}, "en") == own
    assert scale_for({"en": own, "": others}, "fi") == others
    assert scale_for({}, "fi") == NO_SCALE

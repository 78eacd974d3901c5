"""A re-index, over qdrant-client's in-process engine and the fakes."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from qdrant_client import QdrantClient

from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.new_version import NewVersion, drop_unused
from indexes.qdrant.schema import Encoders, Sharding, create, point_alias, target_of, versions_of
from rag.chunking import dense_text
from rag.documents import Chunk, Document, Point, SparseVector
from rag.fakes import HashEmbedder, TermEncoder
from rag.ports import Embedder, Scope, Vectors

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")
DENSE, SPARSE = HashEmbedder(dim=8), TermEncoder()
OLD = Encoders(embedder="hash", dim=8, sparse="bm25")
NEW = replace(OLD, sparse="terms")
OTHER_MODEL = Encoders(embedder="other", dim=4, sparse="terms")
LAYOUT = Sharding()


class Counting(HashEmbedder):
    """An embedder of other dimensions that notes what it is asked to embed."""

    name = "other"

    def __init__(self) -> None:
        super().__init__(dim=4)
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        self.asked += texts
        return super().embed(texts)


def point(number: int, *, version: str = "v1", source: str = "shop") -> Point:
    document = Document(
        id=str(number), source=source, title=f"Invoice {number}", text="", uri="u", kind="row", version=version
    )
    text = f"a thing of colour {number}"
    name = f"00000000-0000-0000-0000-{number:012}"
    chunk = Chunk(id=name, document=document, ordinal=0, text=text, start=0, end=len(text), context="Rules")
    [dense] = DENSE.embed([dense_text(chunk)]).tolist()
    return Point(chunk=chunk, dense=dense, sparse=SparseVector(indices=(1,), values=(1.0,)))


def index(client: QdrantClient, encoders: Encoders = OLD) -> QdrantIndex:
    return QdrantIndex(client, alias="kb", encoders=encoders)


@pytest.fixture
def old(client: QdrantClient) -> QdrantIndex:
    """Three points, whose terms no question has."""
    made = index(client)
    made.upsert([point(number) for number in (1, 2, 3)])
    return made


def version(client: QdrantClient, encoders: Encoders = NEW) -> NewVersion:
    return NewVersion(client, "kb", encoders, LAYOUT)


def built(client: QdrantClient, encoders: Encoders = NEW, embedder: Embedder = DENSE) -> NewVersion:
    made = version(client, encoders)
    list(made.catch_up(embedder, SPARSE))
    return made


def names(client: QdrantClient) -> list[str]:
    return sorted(versions_of(client, "kb").values())


def test_an_index_that_these_encoders_built_needs_no_new_version(client: QdrantClient, old: QdrantIndex) -> None:
    assert not version(client, OLD).is_needed
    assert names(client) == ["kb-1"]


def test_where_nothing_is_indexed_none_is_needed(client: QdrantClient) -> None:
    assert not version(client).is_needed
    assert names(client) == []


def test_every_point_is_copied_with_the_new_terms_and_its_title(client: QdrantClient, old: QdrantIndex) -> None:
    made = built(client)
    assert made.counts() == (3, 3)
    made.swap([])
    now = index(client, NEW)
    assert now.chunks([point(2).chunk.id]) == [point(2).chunk]
    [hit, *_] = now.query([0.1] * 8, SPARSE.encode(["invoice 2"], query=True)[0], scope=Scope(), limit=1)
    assert hit.chunk.document.id == "2"


def test_vectors_of_the_same_model_are_kept(client: QdrantClient, old: QdrantIndex) -> None:
    before = old.embedded([point(2).chunk.id])
    asked = Counting()
    built(client, NEW, asked).swap([])
    assert asked.asked == []
    assert index(client, NEW).embedded([point(2).chunk.id]) == before


@pytest.mark.parametrize("encoders", [OTHER_MODEL, replace(OLD, dim=4)])
def test_another_model_embeds_every_chunk_with_its_context(
    client: QdrantClient, old: QdrantIndex, encoders: Encoders
) -> None:
    asked = Counting()
    built(client, encoders, asked)
    assert sorted(asked.asked) == [f"Rules\na thing of colour {number}" for number in (1, 2, 3)]


def test_a_build_that_was_broken_off_goes_on_where_it_stopped(client: QdrantClient, old: QdrantIndex) -> None:
    built(client)
    old.upsert([point(4)])
    assert list(version(client).catch_up(DENSE, SPARSE)) == [1]


def test_catching_up_follows_what_changed_and_what_went(client: QdrantClient, old: QdrantIndex) -> None:
    made = built(client)
    old.upsert([point(1, version="v2")])
    old.delete([point(2).chunk.id])
    assert list(made.catch_up(DENSE, SPARSE)) == [1]
    made.swap([])
    ids = [point(number).chunk.id for number in (1, 2, 3)]
    assert index(client, NEW).versions(ids) == {ids[0]: "v2", ids[2]: "v1"}


def test_a_build_for_other_encoders_is_removed(client: QdrantClient, old: QdrantIndex) -> None:
    built(client, OTHER_MODEL, Counting())
    made = version(client)
    assert made.removed == ["kb-2"]
    assert made.counts() == (3, 0)


def test_a_build_that_is_not_wanted_any_more_is_removed(client: QdrantClient, old: QdrantIndex) -> None:
    built(client)
    assert version(client, OLD).removed == ["kb-2"]
    assert names(client) == ["kb-1"]


def test_what_a_swap_left_behind_is_removed(client: QdrantClient, old: QdrantIndex) -> None:
    built(client)
    point_alias(client, "kb", "kb-2")
    made = version(client)
    assert (made.removed, made.is_needed) == (["kb-1"], False)
    assert names(client) == ["kb-2"]


def test_a_swap_takes_the_alias_and_the_marks_over_and_removes_the_old(client: QdrantClient, old: QdrantIndex) -> None:
    old.mark("shop", "7")
    built(client).swap(["shop", "docs"])
    assert (names(client), target_of(client, "kb")) == (["kb-2"], "kb-2")
    assert (index(client, NEW).marked("shop"), index(client, NEW).marked("docs")) == ("7", "")
    assert index(client, NEW).count() == 3


def test_marks_are_not_copied_as_points(client: QdrantClient, old: QdrantIndex) -> None:
    old.mark("shop", "7")
    assert built(client).counts() == (3, 3)


def test_a_sample_is_looked_for_by_words_in_both_and_by_meaning_in_the_new(
    client: QdrantClient, old: QdrantIndex
) -> None:
    assert built(client).sample_found(DENSE, SPARSE, size=2) == (2, 0, 2, 2)


def test_a_sample_that_a_model_does_not_find_is_counted(client: QdrantClient, old: QdrantIndex) -> None:
    old.upsert([point(number) for number in range(4, 16)])

    class Blind(HashEmbedder):
        def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
            return super().embed(["away"] * len(texts))

    assert built(client).sample_found(Blind(dim=8), SPARSE, size=15) == (15, 0, 15, 10)


def test_all_versions_but_the_current_one_can_be_dropped(client: QdrantClient, old: QdrantIndex) -> None:
    create(client, "kb-7", NEW, LAYOUT)
    assert drop_unused(client, "kb") == ["kb-7"]
    assert names(client) == ["kb-1"]

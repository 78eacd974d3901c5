"""What every index does that a sync keeps in step (rag/ports.py, PointStore).

A store of your own: subclass PointStoreContract, with a fixture `store` that gives an empty one of DIM dimensions.
"""

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from qdrant_client import QdrantClient

from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.schema import Sharding, create, point_alias
from indexes.sparse import Bm25Encoder
from rag.chunking import dense_text
from rag.errors import IndexMismatch, IndexMoved
from rag.fakes import MemoryIndex
from rag.ports import Index, Scope
from tests.contract.conftest import ENCODERS, TEXTS, alias_of_its_own, ids, make_index, point, point_id, search, vector

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")


class PointStoreContract:
    @pytest.fixture
    def store(self) -> Iterator[Index]:
        raise NotImplementedError

    def test_upserting_again_changes_nothing_and_replaces_what_changed(self, store: Index) -> None:
        store.upsert([point(1, "old text")])
        store.upsert([point(1, "old text")])
        assert store.count() == 1
        store.upsert([point(1, "new words")])
        assert store.count() == 1
        assert search(store, "words", near=1)[0].chunk.text == "new words"

    def test_a_deleted_point_is_found_no_more(self, store: Index) -> None:
        points = [point(i, text) for i, text in enumerate(TEXTS)]
        store.upsert(points)
        store.delete([points[1].chunk.id])
        assert store.count() == 3
        assert "d1" not in ids(search(store, "AC/DC", near=1))

    def test_deleting_what_is_not_stored_is_no_error(self, store: Index) -> None:
        store.upsert([point(1, "text")])
        store.delete([point_id(1), point_id(2)])
        store.delete([point_id(1)])
        assert store.count() == 0

    def test_stored_vectors_can_be_had_again_by_what_was_embedded(self, store: Index) -> None:
        made = point(1, "text")
        made = replace(made, chunk=replace(made.chunk, context="Rules > Returns"))
        store.upsert([made])
        found = store.embedded([point_id(1), str(uuid.uuid4())])
        assert list(found) == [dense_text(made.chunk)] == ["Rules > Returns\ntext"]
        assert found[dense_text(made.chunk)] == pytest.approx(vector(1), abs=1e-5)

    def test_versions_tell_which_ids_are_stored(self, store: Index) -> None:
        store.upsert([point(1, "text"), point(2, "text", version="v2")])
        assert store.versions([point_id(number) for number in (1, 2, 3)]) == {point_id(1): "v1", point_id(2): "v2"}

    def test_no_ids_have_nothing(self, store: Index) -> None:
        store.upsert([point(1, "text")])
        assert (store.versions([]), store.embedded([]), store.chunks([])) == ({}, {}, [])

    def test_a_chunk_comes_back_as_it_was_but_for_its_document_s_text(self, store: Index) -> None:
        made = point(
            1, "text", kind="row", primary_key={"id": 1, "name": "唱片", "none": None}, tenant="a", acl=("hr", "sales"), tags=("vip",),
            updated_at=1_710_000_000, metadata={"total": 99.5, "number": 2**60, "paid": True, "open": False, "1.": "a b"},
        )  # fmt: skip
        chunk = replace(made.chunk, context="Rules", ordinal=4, start=7, end=11, page=None, tokens=3)
        store.upsert([replace(made, chunk=chunk)])
        assert store.chunks([chunk.id]) == [replace(chunk, document=replace(chunk.document, text=""))]

    def test_points_are_counted_by_source_and_in_all(self, store: Index) -> None:
        assert store.count() == store.count(source="docs") == 0
        store.upsert([point(1, "a"), point(2, "b"), point(3, "c", source="shop")])
        assert (store.count(), store.count(source="docs"), store.count(source="shop")) == (3, 2, 1)

    def test_pages_show_every_point_of_a_source_once(self, store: Index) -> None:
        store.upsert([point(number, "x") for number in range(1, 1203)])
        store.upsert([point(1300, "x", source="shop")])
        pages = list(store.pages("docs"))
        assert len(pages) > 1
        assert sum(map(len, pages)) == 1202
        assert {k: v for page in pages for k, v in page.items()} == {point_id(n): f"d{n}" for n in range(1, 1203)}

    def test_a_source_without_points_has_no_point_in_its_pages(self, store: Index) -> None:
        store.upsert([point(1, "x")])
        assert [page for page in store.pages("shop") if page] == []

    def test_a_mark_is_kept_by_source_and_is_no_point_of_it(self, store: Index) -> None:
        store.upsert([point(0, TEXTS[0]), point(1, TEXTS[1], source="shop")])
        assert store.marked("docs") == ""
        store.mark("docs", "first")
        store.mark("shop", "other")
        store.mark("docs", "second")
        assert (store.marked("docs"), store.marked("shop")) == ("second", "other")
        assert (store.count(), store.count(source="docs")) == (2, 1)
        assert [len(page) for page in store.pages("docs")] == [1]
        terms = Bm25Encoder().encode(["AC/DC generation second"], query=True)[0]
        hits = store.query(vector(1), terms, scope=Scope(), limit=10)
        assert {hit.chunk.document.source for hit in hits} == {"docs", "shop"}


class CollectionContract(PointStoreContract):
    """What a store in Qdrant does besides: it knows who built its collection, and stays with it."""

    @pytest.fixture
    def client(self) -> QdrantClient:
        raise NotImplementedError

    @pytest.fixture
    def alias(self, client: QdrantClient) -> Iterator[str]:
        with alias_of_its_own(client) as alias:
            yield alias

    @pytest.fixture
    def store(self, client: QdrantClient, alias: str) -> QdrantIndex:
        return make_index(client, alias)

    def test_another_embedder_is_refused_with_the_way_out(
        self, client: QdrantClient, alias: str, store: QdrantIndex
    ) -> None:
        store.prepare()
        with pytest.raises(IndexMismatch, match=r"built by test \(16-d\).*gives other"):
            make_index(client, alias, embedder="other").prepare()
        make_index(client, alias).prepare()

    def test_it_stays_with_its_collection_when_the_alias_moves_on(
        self, client: QdrantClient, alias: str, store: QdrantIndex
    ) -> None:
        store.upsert([point(1, "old"), point(2, "old")])
        swap_in_an_empty_collection(client, alias)
        assert not store.is_current
        assert [len(page) for page in store.pages("docs")] == [2]
        assert (store.count(), len(store.versions([point_id(1)])), len(search(store, "old"))) == (2, 1, 2)
        assert make_index(client, alias).count() == 0

    def test_a_collection_that_was_dropped_is_made_again_by_the_next(
        self, client: QdrantClient, alias: str, store: QdrantIndex
    ) -> None:
        store.upsert([point(1, "old")])
        store.drop()
        assert make_index(client, alias).count() == 0


class ServedCollectionContract(CollectionContract):
    def test_a_collection_that_a_re_index_removed_is_told_from_a_qdrant_that_fails(
        self, client: QdrantClient, alias: str, store: QdrantIndex
    ) -> None:
        store.upsert([point(1, "old")])
        swap_in_an_empty_collection(client, alias)
        client.delete_collection(f"{alias}-1")
        with pytest.raises(IndexMoved, match="replaced by a re-index"):
            list(store.pages("docs"))
        with pytest.raises(IndexMoved):
            search(store, "old")


def swap_in_an_empty_collection(client: QdrantClient, alias: str) -> None:
    create(client, f"{alias}-2", ENCODERS, Sharding())
    point_alias(client, alias, f"{alias}-2")


class TestMemoryIndex(PointStoreContract):
    @pytest.fixture
    def store(self) -> Index:
        return MemoryIndex()


class TestEmbeddedEngine(ServedCollectionContract):
    @pytest.fixture
    def client(self, embedded_client: QdrantClient) -> QdrantClient:
        return embedded_client


class TestQdrantInMemory(CollectionContract):
    @pytest.fixture
    def client(self, memory_client: QdrantClient) -> QdrantClient:
        return memory_client


class TestQdrantServer(ServedCollectionContract):
    @pytest.fixture
    def client(self, server_client: QdrantClient) -> QdrantClient:
        return server_client

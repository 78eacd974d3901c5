"""What every index does that a question searches (rag/ports.py, Searchable).

An index of your own: subclass SearchableContract, with a fixture `index` that gives an empty one of DIM dimensions.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from rag.fakes import MemoryIndex
from rag.filters import matches, parse_filter
from rag.ports import NOBODY, Identity, Index, Scope
from tests.contract.conftest import TEXTS, alias_of_its_own, ids, make_index, point, point_id, search

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")
FILTERS = (
    {"source": "shop"},
    {"table": ["invoices", "orders"]},
    {"document_id": "d2"},
    {"kind": "row"},
    {"tags": "vip"},
    {"tags": ["new", "vip"], "page": 1},
    {"page": {"gte": 2}},
    {"updated_at": {"gte": "2024-01-01", "lt": "2025-01-01"}},
    {"metadata.total": {"gt": 10, "lte": 99.5}},
    {"metadata.total": 99.5},
    {"metadata.total": 99},
    {"metadata.paid": True},
    {"metadata.paid": 1},
    {"metadata.number": 2**60},
    {"metadata.date": {"gte": "2024-03-01"}},
    {"metadata.net. weight": "a"},
    {"metadata.missing": "a"},
    {"any": [{"document_id": "d1"}, {"all": [{"tags": "vip"}, {"page": 1}]}]},
    {"not": {"table": "orders"}},
    {"not": {"metadata.paid": False}, "source": "docs"},
)


class SearchableContract:
    @pytest.fixture
    def index(self) -> Iterator[Index]:
        raise NotImplementedError

    def test_what_was_stored_is_found_by_its_words_and_by_its_vector(self, index: Index) -> None:
        index.upsert([point(i, text) for i, text in enumerate(TEXTS)])
        assert ids(search(index, "which albums did ac/dc release", near=1))[0] == "d1"
        assert ids(search(index, "唱片 存放", near=0))[0] == "d0"
        assert ids(search(index, "INV-2024-0042", near=3))[0] == "d3"

    def test_a_hit_carries_its_document_place_and_every_retriever_s_score(self, index: Index) -> None:
        index.upsert([point(i, text) for i, text in enumerate(TEXTS)])
        hit = search(index, "AC/DC", near=1)[0]
        assert hit.chunk.document.primary_key == {"id": 1}
        assert (hit.chunk.text, hit.chunk.start, hit.chunk.end, hit.chunk.page) == (TEXTS[1], 0, len(TEXTS[1]), 3)
        assert hit.scores["dense"] == pytest.approx(1.0, abs=1e-3)
        assert hit.scores["bm25"] > 0
        assert hit.score == pytest.approx(1.0)  # first in both lists

    def test_a_hit_that_only_its_vector_finds_has_no_score_for_words(self, index: Index) -> None:
        index.upsert([point(i, text) for i, text in enumerate(TEXTS)])
        [hit] = search(index, "", near=2, limit=1)
        assert hit.chunk.document.id == "d2"
        assert list(hit.scores) == ["dense"]

    def test_hits_come_best_first_and_no_more_than_asked_for(self, index: Index) -> None:
        index.upsert([point(i, f"record number {i}") for i in range(30)])
        hits = search(index, "record number 7", near=7, limit=5)
        assert ids(hits)[0] == "d7"
        assert len(hits) == 5
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    def test_tenants_and_sources_are_kept_apart(self, index: Index) -> None:
        index.upsert(
            [point(1, "AC/DC", tenant="a"), point(2, "AC/DC", tenant="b"), point(3, "AC/DC", tenant="a", source="shop")]
        )
        assert set(ids(search(index, "AC/DC", scope=Scope(identity=Identity(tenant="a"))))) == {"d1", "d3"}
        assert ids(search(index, "AC/DC", scope=Scope(identity=Identity(tenant="a"), sources=("shop",)))) == ["d3"]
        assert search(index, "AC/DC") == []

    def test_groups_see_what_is_theirs_and_what_is_everybody_s(self, index: Index) -> None:
        index.upsert([point(1, "AC/DC"), point(2, "AC/DC", acl=("hr",)), point(3, "AC/DC", acl=(NOBODY,))])

        def seen(*groups: str) -> set[str]:
            return set(ids(search(index, "AC/DC", scope=Scope(identity=Identity(groups=groups)))))

        assert seen() == {"d1"}
        assert seen("sales") == {"d1"}
        assert seen("sales", "hr") == {"d1", "d2"}
        assert seen(NOBODY) == {"d1"}

    @pytest.mark.parametrize("form", FILTERS, ids=str)
    def test_a_filter_lets_through_what_passes_it(self, index: Index, form: dict[str, Any]) -> None:
        stored = [
            point(1, "AC/DC", source="shop", scope="orders", kind="row", tags=("vip", "late"), page=1, updated_at=1_710_000_000,
                  metadata={"total": 99.5, "paid": True, "number": 2**60, "date": "2024-03-01"}),
            point(2, "AC/DC", source="shop", scope="invoices", kind="row", tags=("new",), page=None, updated_at=1_600_000_000,
                  metadata={"total": 99, "paid": 1, "number": 2**60 + 1, "date": "2024-02-29T23:00:00Z"}),
            point(3, "AC/DC", page=2, tags=(), metadata={"total": 10, "paid": False, "net. weight": "a"}),
            point(4, "AC/DC", page=1, tags=("vip",)),
        ]  # fmt: skip
        index.upsert(stored)
        where = parse_filter(form)
        passing = {p.chunk.document.id for p in stored if where and matches(where, p.chunk.document, p.chunk.page)}
        assert set(ids(search(index, "AC/DC", scope=Scope(where=where)))) == passing

    def test_a_filter_never_widens_what_a_caller_sees(self, index: Index) -> None:
        index.upsert([point(1, "AC/DC", tenant="a"), point(2, "AC/DC", tenant="b")])
        everything = parse_filter({"any": [{"document_id": "d2"}, {"not": {"document_id": "d2"}}]})
        scope = Scope(identity=Identity(tenant="a"), where=everything)
        assert ids(search(index, "AC/DC", scope=scope)) == ["d1"]

    def test_an_empty_index_answers_with_nothing(self, index: Index) -> None:
        assert search(index, "anything") == []

    def test_what_a_caller_may_still_see_is_told_by_id(self, index: Index) -> None:
        index.upsert([point(1, "AC/DC"), point(2, "AC/DC", acl=("hr",)), point(3, "AC/DC", source="shop")])
        asked = [point_id(number) for number in (1, 2, 3, 4)]
        assert index.visible(asked, Scope(sources=("docs",))) == {point_id(1)}
        assert index.visible([], Scope()) == set()

    def test_more_ids_than_a_page_are_asked_for_at_once(self, index: Index) -> None:
        index.upsert([point(number, "x") for number in (1, 1200)])
        assert index.visible([point_id(number) for number in range(1500)], Scope()) == {point_id(1), point_id(1200)}


class TestMemoryIndex(SearchableContract):
    @pytest.fixture
    def index(self) -> Index:
        return MemoryIndex()


class TestEmbeddedEngine(SearchableContract):
    @pytest.fixture
    def index(self, embedded_client: QdrantClient) -> Iterator[Index]:
        with alias_of_its_own(embedded_client) as alias:
            yield make_index(embedded_client, alias)


class TestQdrantInMemory(SearchableContract):
    @pytest.fixture
    def index(self, memory_client: QdrantClient) -> Iterator[Index]:
        with alias_of_its_own(memory_client) as alias:
            yield make_index(memory_client, alias)


class TestQdrantServer(SearchableContract):
    @pytest.fixture
    def index(self, server_client: QdrantClient) -> Iterator[Index]:
        with alias_of_its_own(server_client) as alias:
            yield make_index(server_client, alias)


def test_the_embedded_engine_ranks_like_the_oracle_and_the_fake(
    embedded_client: QdrantClient, memory_client: QdrantClient
) -> None:
    words = "record store album vinyl jazz blues rock price refund customer invoice track".split()
    rng = np.random.default_rng(7)
    points = [point(i, " ".join(rng.choice(words, size=6))) for i in range(300)]
    with alias_of_its_own(embedded_client) as alias:
        embedded, oracle, fake = make_index(embedded_client, alias), make_index(memory_client, alias), MemoryIndex()
        for index in (embedded, oracle, fake):
            index.upsert(points)
        for question in ("jazz album price", "refund", "vinyl record store"):
            best = _scores(embedded, question)
            for other in (_scores(oracle, question), _scores(fake, question)):
                shared = best.keys() & other.keys()
                assert len(shared) >= 12  # ties may fall either way
                for each in shared:
                    assert best[each]["dense"] == pytest.approx(other[each]["dense"], abs=1e-3)
                    both = [best[each].get("bm25"), other[each].get("bm25")]
                    assert None in both or both[0] == pytest.approx(both[1], rel=1e-2)


def _scores(index: Index, question: str) -> dict[str, dict[str, float]]:
    return {hit.chunk.id: dict(hit.scores) for hit in search(index, question, near=5, limit=20)}

"""One suite over every Qdrant: the embedded engine, qdrant-client's `:memory:` as the oracle, and a server."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from indexes.qdrant.connect import connect_embedded, connect_server
from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.schema import Encoders
from indexes.sparse import Bm25Encoder
from rag.documents import Chunk, Document, Hit, Point
from rag.errors import IndexMismatch
from rag.ports import Identity, Scope
from tests.conftest import stop_engine

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")
DIM = 16
TEXTS = [
    "黑胶唱片必须竖直存放",
    "AC/DC released Let There Be Rock",
    "Records are returned within thirty days",
    "invoice INV-2024-0042",
]


@pytest.fixture(params=["embedded", "memory", "server"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QdrantClient]:
    if request.param == "embedded":
        yield connect_embedded(tmp_path / "qdrant", idle_s=30)
        stop_engine(tmp_path / "qdrant")
    elif request.param == "memory":
        yield QdrantClient(":memory:")
    elif url := os.environ.get("QDRANT_URL"):
        yield connect_server(url, api_key=os.environ.get("QDRANT_API_KEY", ""))
    else:
        pytest.skip("no Qdrant server: start one (docker run -p 6333:6333 qdrant/qdrant) and set QDRANT_URL to its URL")


@pytest.fixture
def index(client: QdrantClient) -> Iterator[QdrantIndex]:
    alias = f"test-{uuid.uuid4().hex[:8]}"
    yield make_index(client, alias)
    client.delete_collection(f"{alias}-1")


def make_index(client: QdrantClient, alias: str, *, embedder: str = "test") -> QdrantIndex:
    return QdrantIndex(client, alias=alias, encoders=Encoders(embedder=embedder, dim=DIM, sparse="bm25"))


def vector(seed: int) -> list[float]:
    values = np.random.default_rng(seed).normal(size=DIM)
    return [float(x) for x in values / np.linalg.norm(values)]


def point(number: int, text: str, *, source: str = "docs", tenant: str = "default") -> Point:
    document = Document(
        id=f"d{number}", source=source, title=f"T{number}", text=text, uri="file:///d", scope="d", primary_key={"id": number},
        tenant=tenant, version="v1",
    )  # fmt: skip
    chunk = Chunk(
        id=str(uuid.UUID(int=number + 1)), document=document, ordinal=0, text=text, start=0, end=len(text), page=3
    )
    return Point(chunk=chunk, dense=vector(number), sparse=Bm25Encoder().encode([text])[0])


def search(index: QdrantIndex, text: str, *, near: int = 99, scope: Scope = Scope(), limit: int = 10) -> list[Hit]:
    return index.query(vector(near), Bm25Encoder().encode([text], query=True)[0], scope=scope, limit=limit)


def ids(hits: list[Hit]) -> list[str]:
    return [hit.chunk.document.id for hit in hits]


def test_what_was_stored_is_found_by_its_words_and_by_its_vector(index: QdrantIndex):
    index.upsert([point(i, text) for i, text in enumerate(TEXTS)])
    assert ids(search(index, "which albums did ac/dc release", near=1))[0] == "d1"
    assert ids(search(index, "唱片 存放", near=0))[0] == "d0"
    assert ids(search(index, "INV-2024-0042", near=3))[0] == "d3"


def test_a_hit_carries_its_document_place_and_every_retriever_s_score(index: QdrantIndex):
    index.upsert([point(i, text) for i, text in enumerate(TEXTS)])
    hit = search(index, "AC/DC", near=1)[0]
    assert hit.chunk.document.primary_key == {"id": 1}
    assert (hit.chunk.text, hit.chunk.start, hit.chunk.end, hit.chunk.page) == (TEXTS[1], 0, len(TEXTS[1]), 3)
    assert hit.scores["dense"] == pytest.approx(1.0, abs=1e-3)
    assert hit.scores["bm25"] > 0
    assert hit.score == pytest.approx(1.0)  # first in both lists


def test_upserting_again_changes_nothing_and_replaces_what_changed(index: QdrantIndex):
    index.upsert([point(1, "old text")])
    index.upsert([point(1, "old text")])
    assert index.count() == 1
    index.upsert([point(1, "new words")])
    assert index.count() == 1
    assert search(index, "words", near=1)[0].chunk.text == "new words"


def test_a_deleted_point_is_found_no_more(index: QdrantIndex):
    points = [point(i, text) for i, text in enumerate(TEXTS)]
    index.upsert(points)
    index.delete([points[1].chunk.id])
    assert index.count() == 3
    assert "d1" not in ids(search(index, "AC/DC", near=1))


def test_tenants_and_sources_are_kept_apart(index: QdrantIndex):
    index.upsert(
        [point(1, "AC/DC", tenant="a"), point(2, "AC/DC", tenant="b"), point(3, "AC/DC", tenant="a", source="shop")]
    )
    assert set(ids(search(index, "AC/DC", scope=Scope(identity=Identity(tenant="a"))))) == {"d1", "d3"}
    assert ids(search(index, "AC/DC", scope=Scope(identity=Identity(tenant="a"), sources=("shop",)))) == ["d3"]
    assert search(index, "AC/DC") == []


def test_stored_vectors_can_be_had_again(index: QdrantIndex):
    index.upsert([point(1, "text")])
    found = index.embedded([point(1, "text").chunk.id, str(uuid.uuid4())])
    assert next(iter(found.values())) == pytest.approx(vector(1), abs=1e-5)
    assert len(found) == 1


def test_an_empty_index_answers_with_nothing(index: QdrantIndex):
    assert search(index, "anything") == []
    assert index.count() == 0


def test_another_embedder_is_refused_with_the_way_out(client: QdrantClient, index: QdrantIndex):
    index.prepare()
    alias = index._alias
    with pytest.raises(IndexMismatch, match=r"built by test \(16-d\).*gives other"):
        make_index(client, alias, embedder="other").prepare()
    make_index(client, alias).prepare()


def test_the_embedded_engine_ranks_like_the_oracle(tmp_path: Path):
    embedded = connect_embedded(tmp_path / "qdrant", idle_s=30)
    oracle = QdrantClient(":memory:")
    words = "record store album vinyl jazz blues rock price refund customer invoice track".split()
    rng = np.random.default_rng(7)
    points = [point(i, " ".join(rng.choice(words, size=6))) for i in range(300)]
    try:
        indexes = [make_index(client, "same") for client in (embedded, oracle)]
        for each in indexes:
            each.upsert(points)
        for question in ("jazz album price", "refund", "vinyl record store"):
            first, second = (search(each, question, near=5, limit=20) for each in indexes)
            best = [{hit.chunk.id: hit.scores for hit in hits} for hits in (first, second)]
            shared = best[0].keys() & best[1].keys()
            assert len(shared) >= 12  # ties may fall either way
            for point_id in shared:
                assert best[0][point_id]["dense"] == pytest.approx(best[1][point_id]["dense"], abs=1e-3)
                both = [each[point_id].get("bm25") for each in best]
                assert None in both or both[0] == pytest.approx(both[1], rel=1e-2)
    finally:
        stop_engine(tmp_path / "qdrant")


def test_a_mark_is_kept_by_source_and_is_no_point_of_it(index: QdrantIndex):
    index.upsert([point(0, TEXTS[0]), point(1, TEXTS[1], source="shop")])
    assert index.marked("docs") == ""
    index.mark("docs", "first")
    index.mark("shop", "other")
    index.mark("docs", "second")
    assert (index.marked("docs"), index.marked("shop")) == ("second", "other")
    assert (index.count(), index.count(source="docs")) == (2, 1)
    assert [len(page) for page in index.pages("docs")] == [1]
    terms = Bm25Encoder().encode(["AC/DC generation second"], query=True)[0]
    hits = index.query(vector(1), terms, scope=Scope(), limit=10)
    assert {hit.chunk.document.source for hit in hits} == {"docs", "shop"}

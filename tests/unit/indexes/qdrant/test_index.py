"""What a question or a sync gets to hear when Qdrant refuses a request."""

from typing import NoReturn

import httpx
import pytest
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse

from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.schema import Encoders, point_alias
from rag.errors import IndexMoved, IndexUnavailable

GONE = UnexpectedResponse(404, "Not Found", b"Collection kb-1 doesn't exist", httpx.Headers())
BROKEN = UnexpectedResponse(500, "Internal Server Error", b"a shard is dead", httpx.Headers())


@pytest.fixture
def index(client: QdrantClient) -> QdrantIndex:
    made = QdrantIndex(client, alias="kb", encoders=Encoders(embedder="hash", dim=4, sparse="terms"))
    made.prepare()
    return made


def refuse(client: QdrantClient, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def scroll(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(client, "scroll", scroll)
    monkeypatch.setattr(client, "retrieve", scroll)


def replace_collection(client: QdrantClient) -> None:
    client.create_collection("kb-2", vectors_config={})
    point_alias(client, "kb", "kb-2")


def test_a_collection_that_a_re_index_replaced_has_moved(
    index: QdrantIndex, client: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_collection(client)
    refuse(client, GONE, monkeypatch)
    with pytest.raises(IndexMoved, match="replaced by a re-index"):
        index.embedded(["00000000-0000-0000-0000-000000000001"])


@pytest.mark.parametrize("error", [GONE, BROKEN, httpx.ConnectError("refused")])
def test_any_other_failure_is_qdrant_s(
    index: QdrantIndex, client: QdrantClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    refuse(client, error, monkeypatch)
    with pytest.raises(IndexUnavailable, match=r"Check qdrant\.url") as refused:
        index.embedded(["00000000-0000-0000-0000-000000000001"])
    assert not isinstance(refused.value, IndexMoved)


def test_a_failure_of_a_replaced_collection_is_still_qdrant_s(
    index: QdrantIndex, client: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_collection(client)
    refuse(client, BROKEN, monkeypatch)
    with pytest.raises(IndexUnavailable, match="a shard is dead") as refused:
        index.embedded(["00000000-0000-0000-0000-000000000001"])
    assert not isinstance(refused.value, IndexMoved)

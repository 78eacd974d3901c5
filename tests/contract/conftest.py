"""Points to store and to search, and the Qdrants that they are stored in."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from indexes.qdrant.connect import connect_embedded, connect_server
from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.schema import Encoders, versions_of
from indexes.sparse import Bm25Encoder
from rag.documents import Chunk, Document, Hit, Point
from rag.ports import Scope, Searchable
from tests.support.embedded import stop_engine

DIM = 16
ENCODERS = Encoders(embedder="test", dim=DIM, sparse="bm25")
TEXTS = [
    "黑胶唱片必须竖直存放",
    "AC/DC released Let There Be Rock",
    "Records are returned within thirty days",
    "invoice INV-2024-0042",
]


def vector(seed: int) -> list[float]:
    values = np.random.default_rng(seed).normal(size=DIM)
    return [float(x) for x in values / np.linalg.norm(values)]


def point(number: int, text: str, *, source: str = "docs", page: int | None = 3, **of_document: Any) -> Point:
    """A point of document d<number>, at a place of its own; its text is the document's."""
    document = Document(
        id=f"d{number}", source=source, title=f"T{number}", text=text, uri="file:///d",
        **{"scope": "d", "primary_key": {"id": number}, "version": "v1", **of_document},
    )  # fmt: skip
    chunk = Chunk(id=point_id(number), document=document, ordinal=0, text=text, start=0, end=len(text), page=page)
    return Point(chunk=chunk, dense=vector(number), sparse=Bm25Encoder().encode([text])[0])


def point_id(number: int) -> str:
    return str(uuid.UUID(int=number + 1))


def search(index: Searchable, text: str, *, near: int = 99, scope: Scope = Scope(), limit: int = 10) -> list[Hit]:
    """The hits for words, and for the place of point <near>."""
    return index.query(vector(near), Bm25Encoder().encode([text], query=True)[0], scope=scope, limit=limit)


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.document.id for hit in hits]


def make_index(client: QdrantClient, alias: str, *, embedder: str = "test") -> QdrantIndex:
    return QdrantIndex(client, alias=alias, encoders=replace(ENCODERS, embedder=embedder))


@contextmanager
def alias_of_its_own(client: QdrantClient) -> Iterator[str]:
    """An alias for one test; its collections are deleted after it."""
    alias = f"test-{uuid.uuid4().hex[:8]}"
    yield alias
    for name in versions_of(client, alias).values():
        client.delete_collection(name)


@pytest.fixture(scope="module")
def embedded_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantClient]:
    folder: Path = tmp_path_factory.mktemp("engine") / "qdrant"
    yield connect_embedded(folder, idle_s=60)
    stop_engine(folder)


@pytest.fixture(scope="module")
def memory_client() -> QdrantClient:
    """qdrant-client's own engine, which is the oracle."""
    return QdrantClient(":memory:")


@pytest.fixture(scope="module")
def server_client() -> QdrantClient:
    url = os.environ.get("QDRANT_URL")
    if not url:
        pytest.skip("no Qdrant server: start one (docker run -p 6333:6333 qdrant/qdrant) and set QDRANT_URL to its URL")
    return connect_server(url, api_key=os.environ.get("QDRANT_API_KEY", ""))

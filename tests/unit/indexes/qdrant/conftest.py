from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    """qdrant-client's own engine, in this process and without files."""
    client = QdrantClient(":memory:")
    yield client
    client.close()

"""Clients for Qdrant: of a server or cluster, and of a folder's embedded engine."""

import math
from pathlib import Path

from qdrant_client import QdrantClient

from indexes.embedded.launch import EngineTransport

Client = QdrantClient  # under a name that says nothing of its library
_TIMEOUT_S = 60


def connect_server(
    url: str, *, api_key: str = "", prefer_grpc: bool = False, timeout_s: float = _TIMEOUT_S
) -> QdrantClient:
    """A client for a Qdrant server or cluster; https in the URL is TLS."""
    return QdrantClient(
        url=url,
        api_key=api_key or None,
        prefer_grpc=prefer_grpc,
        timeout=math.ceil(timeout_s),
        check_compatibility=False,
    )


def connect_embedded(folder: Path, *, idle_s: float = 60.0, timeout_s: float = _TIMEOUT_S) -> QdrantClient:
    """A client for a folder's embedded engine, which is started on the first request."""
    transport = EngineTransport(folder, idle_s=idle_s)
    return QdrantClient(
        url="http://embedded", port=80, timeout=math.ceil(timeout_s), check_compatibility=False, transport=transport
    )

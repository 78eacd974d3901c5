"""Points as Qdrant stores them, and chunks of what it has stored."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_client import models

from indexes.qdrant.filter import access, held, stored
from rag.chunking import NAMESPACE
from rag.documents import Chunk, Document, Point

MARK = "generation"  # in the payload of a point that says which commit a source's points are as of


def mark_id(source: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"generation\0{source}"))


def as_batch(points: Sequence[Point]) -> models.Batch:
    """Points by columns: the client checks and writes them three times as fast as a list."""
    sparse = [models.SparseVector(indices=list(p.sparse.indices), values=list(p.sparse.values)) for p in points]
    return models.Batch(
        ids=[p.chunk.id for p in points],
        vectors={"dense": [p.dense for p in points], "bm25": sparse},
        payloads=[payload_of(p.chunk) for p in points],
    )


def payload_of(chunk: Chunk) -> dict[str, Any]:
    document = chunk.document
    return {
        "tenant": document.tenant,
        "source": document.source,
        "document_id": document.id,
        "scope": document.scope,
        "kind": document.kind,
        "access": access(document.tenant, document.acl),
        "acl": list(document.acl),
        "tags": list(document.tags),
        "metadata": {name: stored(value) for name, value in document.metadata.items()},
        "title": document.title,
        "uri": document.uri,
        "version": document.version,
        "updated_at": document.updated_at,
        "primary_key": json.dumps(document.primary_key, ensure_ascii=False)
        if document.primary_key is not None
        else None,
        "ordinal": chunk.ordinal,
        "text": chunk.text,
        "context": chunk.context,
        "start": chunk.start,
        "end": chunk.end,
        "page": chunk.page,
        "tokens": chunk.tokens,
    }


def chunk_of(point_id: str, payload: Mapping[str, Any]) -> Chunk:
    """The chunk of a stored point; its document has everything but the full text."""
    key = payload.get("primary_key")
    document = Document(
        id=payload["document_id"],
        source=payload["source"],
        title=payload["title"],
        text="",
        uri=payload["uri"],
        scope=payload["scope"],
        kind=payload["kind"],
        primary_key=json.loads(key) if key is not None else None,
        updated_at=payload.get("updated_at"),
        tenant=payload["tenant"],
        acl=tuple(payload["acl"]),
        tags=tuple(payload.get("tags") or ()),
        metadata={name: held(value) for name, value in (payload.get("metadata") or {}).items()},
        version=payload["version"],
    )
    return Chunk(
        id=point_id,
        document=document,
        ordinal=payload["ordinal"],
        text=payload["text"],
        start=payload["start"],
        end=payload["end"],
        page=payload.get("page"),
        context=payload.get("context") or "",
        tokens=payload.get("tokens") or 0,
    )

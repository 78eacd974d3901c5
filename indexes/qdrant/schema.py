"""Collections as Citewell makes them, their versions, and the alias that stands for the current one."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from rag.errors import IndexMismatch

_FORMAT = 2  # of the payload; a change asks for a re-index
_log = logging.getLogger("citewell")
_KEYWORDS = ("source", "document_id", "scope", "access", "kind", "tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """What made a collection's vectors: recorded with it, so that two models never mix.

    older: names of embedders whose vectors lie so near this one's that a collection of theirs may be used on.
    """

    embedder: str
    dim: int
    sparse: str
    older: tuple[str, ...] = ()

    @property
    def recorded(self) -> dict[str, Any]:
        return {"embedder": self.embedder, "dim": self.dim, "sparse": self.sparse, "format": _FORMAT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding:
    """How a new collection is laid out on a server; None leaves it to the server."""

    shard_number: int | None = None
    replication_factor: int | None = None
    write_consistency_factor: int | None = None
    on_disk: bool = True


def create(client: QdrantClient, name: str, encoders: Encoders, layout: Sharding, *, bulk: bool = False) -> None:
    """Create a collection with its payload indexes; another process may be doing the same, or have died over it.

    bulk: without a graph until `end_bulk`, because building one while points come in builds it many times.
    """
    try:
        client.create_collection(
            name,
            vectors_config={"dense": dense_params(encoders.dim, on_disk=layout.on_disk)},
            sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0) if bulk else None,
            metadata=encoders.recorded,
            on_disk_payload=layout.on_disk,
            shard_number=layout.shard_number,
            replication_factor=layout.replication_factor,
            write_consistency_factor=layout.write_consistency_factor,
        )
    except (UnexpectedResponse, ValueError):
        if not client.collection_exists(name):
            raise
    tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    client.create_payload_index(name, "tenant", field_schema=tenant)
    for field in _KEYWORDS:
        client.create_payload_index(name, field, field_schema=models.PayloadSchemaType.KEYWORD)
    client.create_payload_index(name, "updated_at", field_schema=models.PayloadSchemaType.INTEGER)


def dense_params(dim: int, *, on_disk: bool = True) -> models.VectorParams:
    """int8 in memory once the collection has a graph, the originals on disk or in memory."""
    int8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    return models.VectorParams(
        size=dim,
        distance=models.Distance.COSINE,
        on_disk=on_disk,
        quantization_config=models.ScalarQuantization(scalar=int8),
    )


def end_bulk(client: QdrantClient, name: str) -> None:
    """Let the server build the graph (the embedded engine does by itself)."""
    client.update_collection(name, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=10_000))


def check(client: QdrantClient, name: str, encoders: Encoders) -> bool:
    """Whether these encoders built a collection; False when an older form of them did, whose re-index is offered.

    Raises IndexMismatch when others did.
    """
    stored = recorded(client, name)
    is_older = stored.get("embedder") in encoders.older
    if is_older:
        _log.warning(
            "Collection %r was built by %s, an older form of %s. It answers as before; `citewell reindex` makes its "
            "vectors anew, so that they are the same on every machine, and answers questions meanwhile.",
            name, stored["embedder"], encoders.embedder,
        )  # fmt: skip
        stored = {**stored, "embedder": encoders.embedder}
    if any(stored.get(key) != value for key, value in encoders.recorded.items()):
        raise IndexMismatch(
            f"Collection {name!r} was built by {_described(stored)}, but the configuration gives "
            f"{_described(encoders.recorded)}.\nBuild a new version beside it with `citewell reindex`, which answers "
            "questions meanwhile, or set [embedder] back."
        )
    return not is_older


def recorded(client: QdrantClient, name: str) -> Mapping[str, Any]:
    """What is recorded of the encoders that built a collection."""
    return client.get_collection(name).config.metadata or {}


def _described(of: Mapping[str, Any]) -> str:
    return "{embedder} ({dim}-d) with {sparse}, format {format}".format_map(
        {"embedder": None, "dim": None, "sparse": None, "format": None, **of}
    )


def target_of(client: QdrantClient, alias: str) -> str:
    """The collection that an alias stands for; nothing when there is none."""
    return next((a.collection_name for a in client.get_aliases().aliases if a.alias_name == alias), "")


def versions_of(client: QdrantClient, alias: str) -> dict[int, str]:
    """An alias's collections by version: the current one, one that is being built, and leftovers."""
    names = (collection.name for collection in client.get_collections().collections)
    matches = ((re.fullmatch(re.escape(alias) + r"-(\d+)", name), name) for name in names)
    return {int(match[1]): name for match, name in matches if match}


def point_alias(client: QdrantClient, alias: str, name: str) -> None:
    """Make an alias stand for a collection, in one step."""
    actions: list[Any] = []
    if target_of(client, alias):
        actions.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
    create_alias = models.CreateAlias(collection_name=name, alias_name=alias)
    client.update_collection_aliases([*actions, models.CreateAliasOperation(create_alias=create_alias)])

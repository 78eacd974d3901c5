from dataclasses import replace
from typing import Any

import pytest
from qdrant_client import QdrantClient

from indexes.qdrant.schema import Encoders, Sharding, check, create, point_alias, recorded, target_of, versions_of
from rag.errors import IndexMismatch

ENCODERS = Encoders(embedder="e5", dim=4, sparse="bm25")


@pytest.mark.parametrize("other", [{"embedder": "minilm"}, {"dim": 8}, {"sparse": "bm25-2"}])
def test_a_collection_that_other_encoders_built_is_refused_with_both_named(
    client: QdrantClient, other: dict[str, Any]
) -> None:
    create(client, "kb-1", ENCODERS, Sharding())
    check(client, "kb-1", ENCODERS)
    with pytest.raises(IndexMismatch, match=rf"e5 \(4-d\) with bm25, format \d.*{next(iter(other.values()))}"):
        check(client, "kb-1", replace(ENCODERS, **other))


def test_a_collection_without_a_record_is_refused(client: QdrantClient) -> None:
    client.create_collection("kb-1", vectors_config={})
    with pytest.raises(IndexMismatch, match=r"built by None \(None-d\)"):
        check(client, "kb-1", ENCODERS)


def test_creating_a_collection_that_another_made_meanwhile_is_no_error(client: QdrantClient) -> None:
    create(client, "kb-1", ENCODERS, Sharding())
    create(client, "kb-1", ENCODERS, Sharding())
    assert recorded(client, "kb-1") == ENCODERS.recorded


def test_a_collection_that_cannot_be_made_is_an_error(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "create_collection", refuse)
    with pytest.raises(ValueError, match="full"):
        create(client, "kb-1", ENCODERS, Sharding())


def refuse(*args: object, **options: object) -> bool:
    raise ValueError("the disk is full")


def test_an_alias_stands_for_one_collection_and_moves(client: QdrantClient) -> None:
    for name in ("kb-1", "kb-2"):
        create(client, name, ENCODERS, Sharding())
    assert target_of(client, "kb") == ""
    point_alias(client, "kb", "kb-1")
    point_alias(client, "kb", "kb-2")
    assert target_of(client, "kb") == "kb-2"
    assert [alias.alias_name for alias in client.get_aliases().aliases] == ["kb"]


def test_an_alias_is_moved_in_one_request(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    create(client, "kb-1", ENCODERS, Sharding())
    point_alias(client, "kb", "kb-1")
    requests: list[list[object]] = []
    monkeypatch.setattr(client, "update_collection_aliases", requests.append)
    point_alias(client, "kb", "kb-1")
    point_alias(client, "other", "kb-1")
    assert [[type(action).__name__ for action in actions] for actions in requests] == [
        ["DeleteAliasOperation", "CreateAliasOperation"],
        ["CreateAliasOperation"],
    ]


@pytest.mark.parametrize(("bulk", "threshold"), [(True, {"indexing_threshold": 0}), (False, None)])
def test_a_collection_to_be_filled_at_once_has_no_graph_at_first(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch, bulk: bool, threshold: object
) -> None:
    asked: list[dict[str, Any]] = []
    original = client.create_collection

    def noted(name: str, **options: Any) -> bool:
        asked.append(options)
        return original(name, **options)

    monkeypatch.setattr(client, "create_collection", noted)
    create(client, "kb-1", ENCODERS, Sharding(shard_number=2), bulk=bulk)
    [request] = asked
    found = request["optimizers_config"]
    assert (found and found.model_dump(exclude_none=True), request["shard_number"]) == (threshold, 2)


def test_versions_are_those_of_the_alias_alone(client: QdrantClient) -> None:
    for name in ("kb-1", "kb-12", "kb-x", "kb-1-2", "other-kb-3", "k.b-4"):
        client.create_collection(name, vectors_config={})
    assert versions_of(client, "kb") == {1: "kb-1", 12: "kb-12"}
    assert versions_of(client, "k.b") == {4: "k.b-4"}

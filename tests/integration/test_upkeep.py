"""The embedded engine's optimising: searches and writes go on, and nothing is lost whenever it ends."""

import asyncio
import uuid
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge as qe
from qdrant_client import models as m

from indexes.embedded.store import Store
from indexes.embedded.upkeep import keep_optimised
from indexes.qdrant.schema import dense_params

DIM = 32
POINTS = 300


def upsert(first: int, count: int) -> qe.UpdateOperation:
    rng = np.random.default_rng(first)
    vectors = rng.normal(size=(count, DIM))
    return qe.UpdateOperation.upsert_points(
        [
            qe.Point(str(uuid.UUID(int=first + i + 1)), {"dense": v.tolist()}, {"n": first + i})
            for i, v in enumerate(vectors)
        ]
    )


def delete(*numbers: int) -> qe.UpdateOperation:
    return qe.UpdateOperation.delete_points([str(uuid.UUID(int=n + 1)) for n in numbers])


def filled(folder: Path) -> Store:
    store = Store(folder)
    store.create("kb", m.CreateCollection(vectors={"dense": dense_params(DIM)}))
    store.update("kb", upsert(0, POINTS))
    return store


def held(store: Store) -> set[int]:
    found, _ = store.shard("kb").scroll(qe.ScrollRequest(limit=10_000, with_payload=True))
    return {(point.payload or {})["n"] for point in found}


def shards(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "kb").iterdir() if path.is_dir())


async def optimised_while(store: Store, *writes: qe.UpdateOperation) -> None:
    """Let the upkeep run until it has swapped once, with writes while the copy is being optimised."""
    upkeep = asyncio.create_task(keep_optimised(store, due_points=200))
    while not store.is_optimising:
        await asyncio.sleep(0.01)
    for write in writes:
        await store.writable()
        store.update("kb", write)
        await asyncio.sleep(0)
    while store.is_optimising:
        assert store.shard("kb").count(qe.CountRequest(exact=True)) > 0
        await asyncio.sleep(0.01)
    upkeep.cancel()
    await asyncio.gather(upkeep, return_exceptions=True)


def test_what_is_written_while_a_collection_is_optimised_is_there_afterwards(tmp_path: Path) -> None:
    store = filled(tmp_path)
    asyncio.run(optimised_while(store, upsert(1000, 5), delete(0, 1), upsert(2000, 5), delete(1001)))
    expected = (set(range(2, POINTS)) | {1000, *range(1002, 1005), *range(2000, 2005)}) - {0, 1}
    assert held(store) == expected
    assert store.due(200) == []
    store.close()
    reopened = Store(tmp_path)
    assert held(reopened) == expected
    assert len(shards(tmp_path)) == 1
    assert shards(tmp_path) != ["shard"]
    reopened.close()


@pytest.mark.parametrize("stage", ["copied", "opened", "caught up"])
def test_an_engine_that_ends_before_the_swap_has_lost_nothing(tmp_path: Path, stage: str) -> None:
    store = filled(tmp_path)

    async def until() -> None:
        await store.start_copy("kb")
        store.update("kb", upsert(1000, 5))
        if stage != "copied":
            assert store.open_copy("kb")
        if stage == "caught up":
            for _ in store.catch_up("kb", 1):
                pass

    asyncio.run(until())
    store.close()  # the copy is left where it is, as a killed engine leaves it
    reopened = Store(tmp_path)
    assert held(reopened) == {*range(POINTS), *range(1000, 1005)}
    assert shards(tmp_path) == ["shard"]
    reopened.close()


def test_a_collection_that_is_deleted_while_it_is_optimised_stays_deleted(tmp_path: Path) -> None:
    store = filled(tmp_path)

    async def until() -> None:
        await store.start_copy("kb")
        store.delete_collection("kb")
        assert not store.open_copy("kb")
        store.swap("kb")
        store.end_copy("kb")

    asyncio.run(until())
    store.close()
    assert Store(tmp_path).collections == []

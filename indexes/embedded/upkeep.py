"""Builds a collection's graph and int8 vectors beside it, and swaps them in without stopping queries.

Below a few ten thousand points exact search is fast enough. Past that, a copy of the shard is optimised by a child
process, what was written meanwhile is written to it as well, and then it takes the shard's place.
"""

import asyncio
import sys

from indexes.embedded.store import Store
from rag.boundary.child import child_environment, python_child

DUE_POINTS = 20_000  # that no graph holds yet
_EVERY_S = 1.0
_SLICE = 8  # writes that are repeated between two requests


async def keep_optimised(store: Store, *, due_points: int = DUE_POINTS) -> None:
    """Optimise collections as they grow, one at a time, until cancelled."""
    while True:
        await asyncio.sleep(_EVERY_S)
        for name in store.due(due_points):
            await _optimise(store, name)


async def _optimise(store: Store, name: str) -> None:
    copy = await store.start_copy(name)
    child: asyncio.subprocess.Process | None = None
    try:
        child = await asyncio.create_subprocess_exec(
            *python_child("indexes.embedded.optimise", str(copy)), env=child_environment(secrets=False)
        )
        done = await child.wait() == 0
        child = None
        if done and store.open_copy(name):
            for _ in store.catch_up(name, _SLICE):
                await asyncio.sleep(0)  # requests come in between
            store.swap(name)
            print(f"optimised {name}: {copy.name}", file=sys.stderr)
    finally:
        if child is not None:
            child.kill()
        store.end_copy(name)

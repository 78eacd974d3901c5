"""The embedded engine's process: Qdrant's REST API, as far as Citewell uses it, on a Unix socket.

    python -m indexes.embedded.server FOLDER [--idle-s N]

Ends on SIGTERM, when no request has come for `--idle-s` seconds, or when its folder is gone. Exits with 75 when
another process holds the folder.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from pydantic import TypeAdapter, ValidationError
from qdrant_client import models as m
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from indexes.embedded import translate
from indexes.embedded.address import socket_path
from indexes.embedded.store import FolderLocked, NotFound, Store
from indexes.embedded.upkeep import DUE_POINTS, keep_optimised

EXIT_LOCKED = 75
_SELECTOR: TypeAdapter[Any] = TypeAdapter(m.PointsSelector)

Handler = Callable[[Store, str, bytes], Any]


def _create(store: Store, name: str, body: bytes) -> bool:
    store.create(name, m.CreateCollection.model_validate_json(body))
    return True


def _upsert(store: Store, name: str, body: bytes) -> dict[str, Any]:
    store.update(name, translate.points(orjson.loads(body)), size_bytes=len(body))
    return _COMPLETED


def _delete_points(store: Store, name: str, body: bytes) -> dict[str, Any]:
    store.update(name, translate.selector(_SELECTOR.validate_json(body)))
    return _COMPLETED


def _field_index(store: Store, name: str, body: bytes) -> dict[str, Any]:
    store.update(name, translate.field_index(m.CreateFieldIndex.model_validate_json(body)))
    return _COMPLETED


def _query(store: Store, name: str, body: bytes) -> dict[str, Any]:
    found = store.shard(name).query(translate.query(m.QueryRequest.model_validate_json(body)))
    return {"points": [translate.record(point, scored=True) for point in found]}


def _query_batch(store: Store, name: str, body: bytes) -> list[dict[str, Any]]:
    searches = m.QueryRequestBatch.model_validate_json(body).searches
    shard = store.shard(name)
    found = [shard.query(translate.query(search)) for search in searches]
    return [{"points": [translate.record(point, scored=True) for point in points]} for points in found]


def _retrieve(store: Store, name: str, body: bytes) -> list[dict[str, Any]]:
    request = m.PointRequest.model_validate_json(body)
    with_vector = request.with_vector if isinstance(request.with_vector, list) else bool(request.with_vector)
    found = store.shard(name).retrieve(list(request.ids), translate.with_payload(request.with_payload), with_vector)
    return [translate.record(point) for point in found]


def _scroll(store: Store, name: str, body: bytes) -> dict[str, Any]:
    found, following = store.shard(name).scroll(translate.scroll(m.ScrollRequest.model_validate_json(body)))
    offset = following if following is None or isinstance(following, int) else str(following)
    return {"points": [translate.record(point) for point in found], "next_page_offset": offset}


def _count(store: Store, name: str, body: bytes) -> dict[str, int]:
    request = m.CountRequest.model_validate_json(body or b"{}")
    return {"count": store.shard(name).count(translate.count(request))}


def _aliases(store: Store, name: str, body: bytes) -> dict[str, Any]:
    return {"aliases": [{"alias_name": a, "collection_name": c} for a, c in store.aliases.items()]}


def _update_aliases(store: Store, name: str, body: bytes) -> bool:
    store.update_aliases(m.ChangeAliasesOperation.model_validate_json(body))
    return True


def _collections(store: Store, name: str, body: bytes) -> dict[str, Any]:
    return {"collections": [{"name": collection} for collection in store.collections]}


def _info(store: Store, name: str, body: bytes) -> dict[str, Any]:
    meta, points_count = store.info(name)
    return {
        "status": "green",
        "optimizer_status": "ok",
        "points_count": points_count,
        "segments_count": 1,
        "payload_schema": {},
        "config": {
            "params": {"vectors": meta["vectors"], "sparse_vectors": meta.get("sparse_vectors")},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 1,
                "flush_interval_sec": 1,
            },
            "metadata": meta.get("metadata"),
        },
    }


_WRITES = (_create, _upsert, _delete_points, _field_index)
_COMPLETED = {"operation_id": 0, "status": "completed"}
_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/collections", _collections),
    ("GET", "/aliases", _aliases),
    ("POST", "/collections/aliases", _update_aliases),
    ("GET", "/collections/{name}/exists", lambda store, name, body: {"exists": store.exists(name)}),
    ("PUT", "/collections/{name}/index", _field_index),
    ("PUT", "/collections/{name}/points", _upsert),
    ("POST", "/collections/{name}/points", _retrieve),
    ("POST", "/collections/{name}/points/delete", _delete_points),
    ("POST", "/collections/{name}/points/query", _query),
    ("POST", "/collections/{name}/points/query/batch", _query_batch),
    ("POST", "/collections/{name}/points/scroll", _scroll),
    ("POST", "/collections/{name}/points/count", _count),
    ("GET", "/collections/{name}", _info),
    ("PATCH", "/collections/{name}", lambda store, name, body: store.exists(name)),  # it tunes itself
    ("PUT", "/collections/{name}", _create),
    ("DELETE", "/collections/{name}", lambda store, name, body: store.delete_collection(name)),
)


class Activity:
    """When the last request ended, and how many are under way."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.running = 0


def build_app(store: Store, activity: Activity) -> Starlette:
    def endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            activity.running += 1
            try:
                body = await request.body()
                if handler in _WRITES:
                    await store.writable()
                return _answer(handler, store, request.path_params.get("name", ""), body)
            finally:
                activity.running -= 1
                activity.last = time.monotonic()

        return serve

    async def root(request: Request) -> Response:
        activity.last = time.monotonic()
        return JSONResponse({"title": "citewell embedded engine", "version": "1.20.0", "pid": os.getpid()})

    routes = [Route(path, endpoint(handler), methods=[method]) for method, path, handler in _ROUTES]
    return Starlette(routes=[Route("/", root), *routes])


def _answer(handler: Handler, store: Store, name: str, body: bytes) -> Response:
    started = time.perf_counter()
    try:
        result = handler(store, name, body)
    except NotFound as err:
        return _error(404, f"Not found: Collection `{err.args[0]}` doesn't exist!")
    except FileExistsError as err:
        return _error(409, str(err))
    except (ValidationError, ValueError, KeyError, TypeError) as err:
        return _error(400, f"{type(err).__name__}: {err}")
    except Exception as err:  # noqa: BLE001 qdrant-edge raises its own kinds; the process must go on
        return _error(500, f"{type(err).__name__}: {err}")
    answer = {"result": result, "status": "ok", "time": time.perf_counter() - started}
    return Response(orjson.dumps(answer), media_type="application/json")


def _error(status: int, message: str) -> Response:
    return JSONResponse({"status": {"error": message}, "time": 0.0}, status_code=status)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before the store is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True


async def _serve(store: Store, folder: Path, listener: socket.socket, idle_s: float, optimise_from: int) -> None:
    activity = Activity()
    config = uvicorn.Config(
        build_app(store, activity), log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=10
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    upkeep = asyncio.create_task(keep_optimised(store, due_points=optimise_from))
    while not serving.done():
        await asyncio.wait([serving], timeout=min(1.0, idle_s))
        idle = activity.running == 0 and not store.is_optimising and time.monotonic() - activity.last > idle_s
        if idle or not os.path.exists(folder):  # noqa: ASYNC240 one stat
            server.stop()
        if upkeep.done():  # a full disk, say: searches go on, and it is tried again as the collection grows
            print(f"optimising failed: {upkeep.exception()!r}", file=sys.stderr)
            upkeep = asyncio.create_task(keep_optimised(store, due_points=optimise_from))
    await serving
    upkeep.cancel()
    await asyncio.gather(upkeep, return_exceptions=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Citewell's embedded engine")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--idle-s", type=float, default=60.0)
    parser.add_argument("--optimise-from", type=int, default=DUE_POINTS, help="points without a graph")
    arguments = parser.parse_args()
    try:
        store = Store(arguments.folder)
    except FolderLocked:
        print(f"another engine holds {arguments.folder}", file=sys.stderr)
        return EXIT_LOCKED
    address = socket_path(arguments.folder)
    address.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(address))
    os.chmod(address, 0o600)
    try:
        asyncio.run(_serve(store, arguments.folder, listener, arguments.idle_s, arguments.optimise_from))
    finally:
        address.unlink(missing_ok=True)  # before the lock goes: a successor binds its own after it has the lock
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

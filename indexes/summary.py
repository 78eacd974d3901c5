"""What a collection holds and what built it, for `citewell status`.

The embedded engine is asked straight: importing qdrant-client takes longer than all else that a status needs.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from indexes.embedded.address import socket_path
from indexes.embedded.launch import listens
from rag.errors import IndexUnavailable, first_line

# Mirrors any_source (indexes/qdrant/filter.py): all points but the marks.
COUNTED = {"must_not": [{"is_empty": {"key": "source"}}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """points: of all sources; None where the engine that counts them does not run. embedder: the name of the one that
    built the collection; nothing where there is none."""

    points: int | None = 0
    embedder: str = ""


def summary_of_engine(folder: Path, alias: str, *, timeout_s: float) -> Summary:
    """A folder's collection in the embedded engine, which is not started for it.

    Raises IndexUnavailable when the engine does not answer.
    """
    name = _json(folder / "aliases.json").get(alias)
    if not name:
        return Summary()
    embedder = (_json(folder / name / "collection.json").get("metadata") or {}).get("embedder", "")
    if not listens(folder):
        return Summary(points=None, embedder=embedder)
    transport = httpx.HTTPTransport(uds=str(socket_path(folder)))
    with httpx.Client(transport=transport, base_url="http://embedded", timeout=timeout_s) as client:
        try:
            answer = client.post(f"/collections/{name}/points/count", json={"exact": True, "filter": COUNTED})
            return Summary(points=answer.raise_for_status().json()["result"]["count"], embedder=embedder)
        except httpx.HTTPError as err:
            raise IndexUnavailable(f"The embedded engine of {folder} failed: {first_line(err)}") from err


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def summary_of_server(url: str, alias: str, *, api_key: str, timeout_s: float) -> Summary:
    """A collection of a Qdrant server or cluster. Raises IndexUnavailable when it does not answer."""
    from indexes.qdrant.connect import connect_server
    from indexes.qdrant.filter import any_source
    from indexes.qdrant.index import answered
    from indexes.qdrant.schema import recorded, target_of

    client = connect_server(url, api_key=api_key, timeout_s=timeout_s)
    if not (name := answered(lambda: target_of(client, alias))):
        return Summary()
    count = answered(lambda: client.count(name, any_source(), exact=True).count)
    return Summary(points=count, embedder=answered(lambda: recorded(client, name)).get("embedder", ""))

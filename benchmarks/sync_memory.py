"""Peak memory of a first load: python -m benchmarks.sync_memory FOLDER ROWS. Used by benchmarks.sync."""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import httpx
import sqlalchemy as sa

from connectors.sql import SqlSource
from indexes.engine.address import socket_path
from indexes.qdrant import QdrantIndex, connect_embedded
from indexes.qdrant_schema import Encoders
from indexes.sparse import Bm25Encoder
from rag.fakes import HashEmbedder
from rag.tokens import QwenTokenCounter
from service.ingest import Ingest, Options, ingest
from service.state import State

PAGE = 4096


def fill(url: str, rows: int) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, place TEXT)")
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO item SELECT i, 'item number ' || i || ' of the long list', 'shelf ' || (i % 977) FROM n",
            (rows,),
        )
    engine.dispose()


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6


def main() -> None:
    folder, rows = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True)
    url = f"sqlite:///{folder / 'source.sqlite'}"
    fill(url, rows)
    embedder = HashEmbedder(dim=32)
    index = QdrantIndex(
        connect_embedded(folder / "qdrant"),
        alias="memory",
        encoders=Encoders(embedder=embedder.name, dim=32, sparse=Bm25Encoder().name),
    )
    counter = QwenTokenCounter()
    counter.count_text("warm")
    index.prepare()
    parts = Ingest(
        state=State.open(f"sqlite:///{folder / 'state.sqlite'}"), index=index, embedder=embedder, sparse=Bm25Encoder(),
        counter=counter, max_tokens=256, mass_delete_share=0.2,
    )  # fmt: skip
    idle = resident_mb()
    started = time.perf_counter()
    report = ingest(parts, "shop", SqlSource(name="shop", url=url), Options())
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path(folder / "qdrant")))) as client:
        os.kill(int(client.get("http://engine/").json()["pid"]), signal.SIGTERM)
    figures = {"rows": report.added, "seconds": round(seconds, 1), "rows_per_s": round(report.added / seconds)}
    print(json.dumps(figures | {"idle_mb": round(idle), "peak_over_idle_mb": round(peak - idle, 1)}))


if __name__ == "__main__":
    main()

"""Peak memory of a first load: python -m benchmarks.sync_memory FOLDER ROWS [URL]. Used by benchmarks.sync.

Beside the rows stand 400 with a blob of half a megabyte each. URL: an empty database; SQLite in the folder without it.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import httpx
import sqlalchemy as sa

from connectors.sql.source import SqlSource
from indexes.embedded.address import socket_path
from indexes.qdrant.connect import connect_embedded
from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.schema import Encoders
from indexes.sparse import Bm25Encoder
from rag.fakes import HashEmbedder
from rag.language.tokens import QwenTokenCounter
from service.store.database import Database
from service.store.ledger.stored import StoredLedger
from service.syncing.run import SyncParts
from service.syncing.sync import Options, ingest

BLOBS = 400
BLOB_BYTES = 500_000


def fill(url: str, rows: int) -> None:
    engine = sa.create_engine(url)
    meta = sa.MetaData()
    item = sa.Table("item", meta, _key(), sa.Column("name", sa.Text), sa.Column("place", sa.Text))
    blob = sa.LargeBinary(BLOB_BYTES)  # MySQL's BLOB by itself holds 64 KiB
    picture = sa.Table("picture", meta, _key(), sa.Column("title", sa.String(80)), sa.Column("scan", blob))
    meta.create_all(engine)
    with engine.begin() as connection:
        for start in range(0, rows, 10_000):
            part = range(start, min(start + 10_000, rows))
            texts = ({"id": i, "name": f"item number {i} of the long list", "place": f"shelf {i % 977}"} for i in part)
            connection.execute(sa.insert(item), list(texts))
        for i in range(BLOBS):
            connection.execute(sa.insert(picture), {"id": i, "title": f"scan {i}", "scan": os.urandom(BLOB_BYTES)})
    engine.dispose()


def _key() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=False)


def memory_mb(name: str) -> float:
    """VmRSS: now; VmHWM: at most, of this process alone (ru_maxrss begins with what the parent had)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) * 1024 / 1e6


def main() -> None:
    folder, rows = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True)
    url = sys.argv[3] if len(sys.argv) > 3 else f"sqlite:///{folder / 'source.sqlite'}"
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
    parts = SyncParts(
        ledger=StoredLedger(Database.open(f"sqlite:///{folder / 'state.sqlite'}")), index=index, embedder=embedder,
        sparse=Bm25Encoder(), counter=counter, max_tokens=256, mass_delete_share=0.2,
    )  # fmt: skip
    idle = memory_mb("VmRSS")
    started = time.perf_counter()
    report = ingest(parts, "shop", SqlSource(name="shop", url=url), Options())
    seconds = time.perf_counter() - started
    peak = memory_mb("VmHWM")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path(folder / "qdrant")))) as client:
        os.kill(int(client.get("http://engine/").json()["pid"]), signal.SIGTERM)
    figures = {"rows": report.added, "seconds": round(seconds, 1), "rows_per_s": round(report.added / seconds)}
    print(
        json.dumps(
            figures | {"idle_mb": round(idle), "peak_mb": round(peak), "peak_over_idle_mb": round(peak - idle, 1)}
        )
    )


if __name__ == "__main__":
    main()

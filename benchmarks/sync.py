"""Cost of keeping an index in step, beside LlamaIndex's IngestionPipeline, and memory at a million rows.

python -m benchmarks.sync          (QUICK=1: a tenth of the rows; needs llama-index-vector-stores-qdrant)
OURS=1 python -m benchmarks.sync   (without LlamaIndex: our own rows, again)

On SQLite, PostgreSQL and MariaDB: a full load, an unchanged run, 1 % of the rows changed, 1 % changed and 0.5 %
deleted, 10 % changed; with the bundled embedder and with one that costs nothing. Both systems read the same
database, get the same texts, use the same embedder and the same Qdrant (the embedded engine).
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from benchmarks.common import QUICK, finish
from connectors.files.source import FilesSource
from connectors.sql.source import SqlSource
from indexes.embedded.address import socket_path
from indexes.embedders.load import load_embedder
from indexes.qdrant.connect import connect_embedded
from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.schema import Encoders
from indexes.sparse import Bm25Encoder
from rag.events import Upsert
from rag.fakes import HashEmbedder
from rag.language.tokens import QwenTokenCounter
from rag.ports import Embedder
from service.store.database import Database
from service.store.ledger.stored import StoredLedger
from service.syncing.run import SyncParts
from service.syncing.sync import Options, ingest

OURS = os.environ.get("OURS") == "1"
ROWS = 2_000 if QUICK else 20_000
MEMORY_ROWS = (20_000, 100_000) if QUICK else (100_000, 1_000_000)
SERVERS = {
    "postgresql": os.environ.get("TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
    "mariadb": os.environ.get("TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
}
WORDS = (
    "amber album archive band bass brass cellar chorus classic clean collector copper cover dance deluxe disc "
    "early echo edition engineer export festival first folk gatefold guitar harbour heavy import ivory jazz "
    "label late limited live lyric master mono northern opera original piano poster press quartet rare record "
    "red remix reissue river sealed session shelf signed silver single sleeve soul southern stereo studio "
    "summer tape tour track used vinyl voice winter "
).split()


class Shop:
    """A table of products that refer to 100 makers, with the changes that the scenarios make."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)
        meta = sa.MetaData()
        self._maker = sa.Table("maker", meta, _key(), sa.Column("name", sa.String(40)))
        self._product = sa.Table(
            "product", meta, _key(), sa.Column("name", sa.String(80)), sa.Column("maker_id", sa.ForeignKey("maker.id")),
            sa.Column("about", sa.String(400)), sa.Column("price", sa.Numeric(8, 2)),
        )  # fmt: skip
        meta.create_all(self._engine)
        self._random = random.Random(7)

    def fill(self, rows: int) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.insert(self._maker), [{"id": i, "name": f"Maker {i}"} for i in range(1, 101)])
            for start in range(1, rows + 1, 5000):
                part = range(start, min(start + 5000, rows + 1))
                connection.execute(sa.insert(self._product), [self._row(i) for i in part])

    def _row(self, number: int) -> dict[str, Any]:
        words = self._random.choices(WORDS, k=30)
        return {
            "id": number, "name": " ".join(words[:3]), "maker_id": number % 100 + 1, "about": " ".join(words[3:]),
            "price": round(self._random.uniform(1, 90), 2),
        }  # fmt: skip

    def change(self, share: float) -> None:
        """New words for a share of the rows."""
        statement = sa.update(self._product).where(self._product.c.id == sa.bindparam("number"))
        with self._engine.begin() as connection:
            changed = self._some(connection, share)
            rows = [{"number": i, "text": " ".join(self._random.choices(WORDS, k=27))} for i in changed]
            connection.execute(statement.values(about=sa.bindparam("text")), rows)

    def rename_maker(self) -> None:
        """A new name for one maker, which a hundredth of the products show."""
        with self._engine.begin() as connection:
            connection.execute(sa.update(self._maker).where(self._maker.c.id == 9).values(name="Renamed"))

    def delete(self, share: float) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.delete(self._product).where(self._product.c.id.in_(self._some(connection, share))))

    def _some(self, connection: sa.Connection, share: float) -> list[int]:
        ids = list(connection.scalars(sa.select(self._product.c.id)))
        return self._random.sample(ids, max(int(len(ids) * share), 1))


def _key() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=False)


def _change_and_delete(shop: Shop) -> None:
    shop.change(0.01)
    shop.delete(0.005)


SCENARIOS: tuple[tuple[str, Callable[[Shop], None]], ...] = (
    ("full", lambda shop: None),
    ("unchanged", lambda shop: None),
    ("1% changed", lambda shop: shop.change(0.01)),
    ("1% changed, 0.5% deleted", _change_and_delete),
    ("10% changed", lambda shop: shop.change(0.10)),
)


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """A database of its own on each kind of server."""
    name = f"citewell_bench_{uuid.uuid4().hex[:8]}"
    urls = {"sqlite": f"sqlite:///{folder / 'shop.sqlite'}"}
    admins = {}
    for kind, url in SERVERS.items():
        admins[kind] = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with admins[kind].connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        urls[kind] = sa.make_url(url).set(database=name).render_as_string(hide_password=False)
    try:
        yield urls
    finally:
        for kind, admin in admins.items():
            with admin.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == "postgresql" else ""))


@dataclass
class Citewell:
    """Our side: a state and an index of its own."""

    folder: Path
    embedder: Embedder

    def __post_init__(self) -> None:
        self.alias = f"ours-{uuid.uuid4().hex[:8]}"
        index = QdrantIndex(
            connect_embedded(self.folder / "qdrant"), alias=self.alias,
            encoders=Encoders(embedder=self.embedder.name, dim=self.embedder.dim, sparse=Bm25Encoder().name),
        )  # fmt: skip
        index.prepare()
        self.parts = SyncParts(
            ledger=StoredLedger(Database.open(f"sqlite:///{self.folder / self.alias}.sqlite")), index=index,
            embedder=self.embedder, sparse=Bm25Encoder(), counter=QwenTokenCounter(), max_tokens=256,
            mass_delete_share=0.2,
        )  # fmt: skip

    def sync(self, source: SqlSource | FilesSource) -> tuple[float, int, int]:
        """Seconds, texts embedded, points after it."""
        started = time.perf_counter()
        report = ingest(self.parts, source.name, source, Options())
        return time.perf_counter() - started, report.chunks_embedded, self.parts.index.count()


def compare(kind: str, url: str, label: str, embedder: Embedder, folder: Path) -> list[dict[str, Any]]:
    """All scenarios on one database with one embedder, both systems on the same state of the rows."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        if kind == "sqlite":
            url = f"sqlite:///{Path(name) / 'shop.sqlite'}"
        else:
            _drop_tables(url)
        shop = Shop(url)
        shop.fill(ROWS)
        source = SqlSource(name="shop", url=url)
        ours = Citewell(folder, embedder)
        theirs = None if OURS else _llamaindex(folder, embedder)
        table = []
        for scenario, change in SCENARIOS:
            change(shop)
            seconds, embedded, points = ours.sync(source)
            row = {
                "database": kind, "embedder": label, "scenario": scenario, "citewell_s": round(seconds, 3),
                "embedded": embedded, "points": points,
            }  # fmt: skip
            if theirs is not None:
                their_seconds, their_points = theirs.sync(source)
                row |= {"llamaindex_s": round(their_seconds, 3), "times_faster": round(their_seconds / seconds, 1)}
                row["llamaindex_points"] = their_points
            print(json.dumps(row), flush=True)
            table.append(row)
        return table


def _llamaindex(folder: Path, embedder: Embedder) -> Any:
    from benchmarks.llamaindex_pipeline import LlamaIndexPipeline

    return LlamaIndexPipeline(connect_embedded(folder / "qdrant"), f"theirs-{uuid.uuid4().hex[:8]}", embedder)


def _drop_tables(url: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    meta = sa.MetaData()
    meta.reflect(engine)
    meta.drop_all(engine)


def ceiling(embedder: Embedder, folder: Path) -> float:
    """Texts a second that the embedder does alone, on a sample of the same texts."""
    shop = Shop(f"sqlite:///{folder / 'ceiling.sqlite'}")
    shop.fill(2000)
    source = SqlSource(name="shop", url=shop.url, tables=("product",))
    texts = [event.document.text for event in source.read() if isinstance(event, Upsert)]
    embedder.embed(texts[:64])
    started = time.perf_counter()
    for start in range(0, len(texts), 256):
        embedder.embed(texts[start : start + 256])
    return len(texts) / (time.perf_counter() - started)


def memory(kind: str, rows: int, folder: Path, url: str = "") -> dict[str, Any]:
    """Peak memory of a first load of `rows` rows, and 400 blobs beside, in a process of its own."""
    if url:
        _drop_tables(url)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sync_memory", str(folder), str(rows), *([url] if url else [])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = {"database": kind} | json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(result), flush=True)
    return result


def stop_engine(folder: Path) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path(folder)))) as client:
        os.kill(int(client.get("http://engine/").json()["pid"]), signal.SIGTERM)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="citewell-bench-") as name, databases(Path(name)) as urls:
        folder = Path(name)
        bundled = load_embedder()
        rate = ceiling(bundled, folder)
        rows = [
            row
            for label, embedder in (("free", HashEmbedder(dim=384)), ("bundled", bundled))
            for kind, url in urls.items()
            for row in compare(kind, url, label, embedder, folder)
        ]
        stop_engine(folder / "qdrant")
        used = [memory("sqlite", count, folder / f"memory-{count}") for count in MEMORY_ROWS]
        used += [memory(kind, 2_000, folder / f"memory-{kind}", urls[kind]) for kind in SERVERS]
    summarise(rows, rate, used)


def summarise(rows: list[dict[str, Any]], rate: float, used: list[dict[str, Any]]) -> None:
    def pick(embedder: str, scenario: str, key: str) -> list[Any]:
        return [row[key] for row in rows if row["embedder"] == embedder and row["scenario"] == scenario]

    little = "1% changed, 0.5% deleted"
    full = pick("bundled", "full", "citewell_s")
    shares = [part / whole for part, whole in zip(pick("bundled", little, "citewell_s"), full, strict=True)]
    finish(
        rows=ROWS,
        unchanged_embeds=sum(pick("bundled", "unchanged", "embedded") + pick("free", "unchanged", "embedded")),
        change_time_share=round(max(shares), 4),
        vs_llamaindex_change=None if OURS else min(pick("free", little, "times_faster")),
        vs_llamaindex_full=None if OURS else min(pick("free", "full", "times_faster")),
        embedder_ceiling_share=round(min(ROWS / seconds / rate for seconds in full), 3),
        embedder_texts_per_s=round(rate, 1),
        rss_ratio=round(used[1]["peak_over_idle_mb"] / used[0]["peak_over_idle_mb"], 3),
        memory=used,
        table=rows,
    )


if __name__ == "__main__":
    main()

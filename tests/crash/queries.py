"""Asks for rows while their table is synced again and again: the old or the new version must always be found."""

import threading

import sqlalchemy as sa

from indexes.sparse import Bm25Encoder
from rag.ports import Scope
from service.syncing.run import SyncParts
from service.syncing.sync import Options, ingest
from tests.crash.data import sentence
from tests.crash.harness import FreeEmbedder, Setting


def ask_during_syncs(setting: Setting, url: str, *, rows: int, queries: int) -> tuple[int, int]:
    """Query rows one after another while a thread changes all of them and syncs. Returns (asked, missed)."""
    database = setting.database()
    made = setting.parts(database=database)
    ingest(made, "shop", setting.source, Options())
    ended = threading.Event()
    syncing = threading.Thread(target=_change_and_sync, args=(made, setting, url, rows, ended))
    syncing.start()
    try:
        missed = sum(not _is_found(setting, number % rows) for number in range(queries))
    finally:
        ended.set()
        syncing.join()
        database.close()
    return queries, missed


def _change_and_sync(made: SyncParts, setting: Setting, url: str, rows: int, ended: threading.Event) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    statement = sa.text("UPDATE record SET about = :about WHERE id = :id")
    edition = 2
    while not ended.is_set():
        with engine.begin() as connection:
            connection.execute(statement, [{"id": i, "about": sentence(i, edition)} for i in range(rows)])
        ingest(made, "shop", setting.source, Options())
        edition += 1


def _is_found(setting: Setting, number: int) -> bool:
    """Whether a search for the row's own words finds it, in whatever edition."""
    text = sentence(number, 1)
    dense = FreeEmbedder().embed([text])[0]
    sparse = Bm25Encoder().encode([f"record {number} shelf edition"], query=True)[0]
    hits = setting.index().query(dense, sparse, scope=Scope(), limit=100)
    return any(hit.chunk.document.id == f"record/{number}" for hit in hits)

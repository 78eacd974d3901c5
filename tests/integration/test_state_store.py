"""The state store in a file and on a server; what it does for syncing is in tests/contract/test_ledger.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from rag.errors import ConfigError, SourceBusy
from rag.events import Unreadable
from rag.ports import Identity
from rag.types import Turn
from service.store.conversations import Conversations
from service.store.database import Database
from service.store.jobs import Jobs
from service.store.keys import Keys, Rights
from service.store.ledger.ports import Changes, Moved, StoredDocument
from service.store.ledger.stored import StoredLedger
from service.store.overview import Overview
from service.store.schema import VERSION, meta
from tests.support.databases import server_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        yield from opened(f"sqlite:///{tmp_path / 'folder' / 'state.sqlite'}")
        return
    with server_database("postgresql") as url:
        yield from opened(url)


def opened(url: str) -> Iterator[Database]:
    database = Database.open(url)
    yield database
    database.close()


def test_a_source_is_shown_with_its_counts_its_run_and_its_quarantine(database: Database) -> None:
    ledger, overview = StoredLedger(database), Overview(database)
    document = StoredDocument(document_id="album/1", scope="album", version="v", chunk_ids=("a", "b"))
    bad = Unreadable(document_id="album/2", scope="album", reason="broken")
    with ledger.lease("shop") as lease:
        ledger.commit(lease, Changes(changed=[document], unreadable=[bad]))
        ledger.finish(lease, status="done", report={"read": 2})
    overview.set_next_run("shop", 123.0)
    summary = overview.summary("shop")
    assert (summary["documents"], summary["chunks"], summary["next_run_at"]) == (1, 2, 123.0)
    assert (summary["last_run"]["status"], summary["last_run"]["report"]) == ("done", {"read": 2})
    assert overview.quarantine_page(["shop"], after=("shop", "album/1"), limit=9)[0]["document_id"] == "album/2"
    assert (overview.sources(), list(overview.sync_lag_s(["shop"]))) == (["shop"], ["shop"])


def test_jobs_are_kept(database: Database) -> None:
    jobs = Jobs(database)
    job = jobs.add({"sources": ["shop"]})
    with pytest.raises(SourceBusy):
        jobs.add({"sources": ["shop"]})
    jobs.cancel(job.id)
    assert jobs.tell(job.id, {"shop": {}})
    jobs.end(job.id, "cancelled", {"shop": {}})
    assert [each.status for each in jobs.page(limit=9)] == ["cancelled"]


def test_keys_are_kept(database: Database) -> None:
    keys = Keys(database)
    key, token = keys.create("portal", Rights())
    assert keys.find(token) == key
    keys.revoke(key.id)
    assert (keys.any(), keys.all()[0].is_valid) == (True, False)


def test_conversations_are_kept_and_follow_what_moved(database: Database) -> None:
    kept, ledger = Conversations(database, keep_s=3600), StoredLedger(database)
    kept.add("c", Identity(), Turn(question="q", asked="q", answer="a", stands_on=("old",)))
    with ledger.lease("shop") as lease:
        ledger.commit(lease, Changes(moved=[Moved(old="old", new="new", document_id="t/2")]))
    assert [turn.stands_on for turn in kept.turns("c", Identity())] == [("new",)]


def test_a_store_is_opened_again_with_what_it_held_and_a_newer_one_is_refused(database: Database) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    Keys(database).create("portal", Rights())
    again = Database.open(url)
    assert Keys(again).any()
    with again.write() as connection:
        connection.execute(sa.update(meta).values(value=str(VERSION + 1)))
    again.close()
    with pytest.raises(ConfigError, match="a newer Citewell wrote"):
        Database.open(url)


def test_a_store_that_cannot_be_opened_is_told_without_its_password() -> None:
    with pytest.raises(ConfigError, match=r"postgresql\+psycopg://me:\*\*\*@127\.0\.0\.1:1/none cannot be opened"):
        Database.open("postgresql+psycopg://me:hush@127.0.0.1:1/none")

"""Runs inside one process: what is set aside, taken over, lost, migrated."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rag.errors import LeaseLost
from service.store.ports import Changes, StoredDocument
from service.store.schema import VERSION
from service.store.state import State
from service.syncing.run import SyncParts
from service.syncing.sync import Options, Report, ingest
from tests.conftest import MakeKb, change, sqlite_with
from tests.crash.data import table
from tests.crash.harness import FreeEmbedder, Setting


class Refusing(FreeEmbedder):
    """Refuses texts that hold a word, as an endpoint refuses one that is too long."""

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Any:
        if any("poison" in text for text in texts):
            raise ValueError("input is too long")
        return super().embed(texts)


@pytest.fixture
def setting(tmp_path: Path, shared_data: Path) -> Setting:
    data = table(f"sqlite:///{sqlite_with(tmp_path / 'source.sqlite')}", 100)
    data.first()
    return Setting(engine=shared_data / "qdrant", source=data.source, batch_documents=20, folder=tmp_path)


def once(made: SyncParts, setting: Setting, **options: Any) -> Report:
    return ingest(made, "shop", setting.source, Options(**options))


def test_a_text_that_cannot_be_embedded_is_set_aside_and_its_neighbours_land(setting: Setting, tmp_path: Path):
    change(f"sqlite:///{tmp_path / 'source.sqlite'}", "UPDATE record SET about = 'poison' WHERE id = 42")
    made = setting.parts(Refusing())
    report = once(made, setting)
    assert [entry["document_id"] for entry in report.unreadable] == ["record/42"]
    assert "input is too long" in report.unreadable[0]["reason"]
    assert (report.quarantined, made.index.count()) == (1, 99)
    assert once(made, setting).quarantined == 1
    change(f"sqlite:///{tmp_path / 'source.sqlite'}", "UPDATE record SET about = 'well' WHERE id = 42")
    assert once(made, setting).quarantined == 0
    assert made.index.count() == 100


def test_a_run_that_was_taken_over_takes_its_points_back(setting: Setting):
    """A paused run wakes after another has taken the source: what it then stores must not stay."""
    made = setting.parts()
    ledger = made.ledger
    document = StoredDocument(document_id="record/1", scope="record", version="v", chunk_ids=("a",))
    with ledger.lease("shop") as lease:
        change(f"sqlite:///{setting.folder / setting.collection}.sqlite", "UPDATE citewell_leases SET token = '999'")
        with pytest.raises(LeaseLost, match="taken over"):
            ledger.commit(lease, Changes(changed=[document]))
        assert ledger.known("shop", ["record/1"]) == {}
    change(f"sqlite:///{setting.folder / setting.collection}.sqlite", "DELETE FROM citewell_leases")

    class Overtaken:
        """The index of a run whose lease is lost between storing points and committing."""

        def __getattr__(self, name: str) -> Any:
            return getattr(made.index, name)

        def upsert(self, points: Any) -> None:
            made.index.upsert(points)
            change(
                f"sqlite:///{setting.folder / setting.collection}.sqlite", "UPDATE citewell_leases SET token = '999'"
            )

    with pytest.raises(LeaseLost):
        once(replace(made, index=Overtaken()), setting)
    assert made.index.count(source="shop") == 0


def test_points_that_vanished_from_the_index_are_made_again(setting: Setting):
    made = setting.parts()
    once(made, setting)
    lost = sorted(setting.snapshot())[:7]
    made.index.delete(lost)
    report = once(made, setting)
    assert "7 documents are indexed again" in report.notes[0]
    assert sorted(setting.snapshot())[:7] == lost


def test_every_row_is_found_while_its_table_is_synced(setting: Setting, tmp_path: Path):
    """Each query during a re-sync finds the row's old or new version (`make test-crash` asks 10,000)."""
    from tests.crash.queries import ask_during_syncs

    asked, missed = ask_during_syncs(setting, f"sqlite:///{tmp_path / 'source.sqlite'}", rows=100, queries=50)
    assert (asked, missed) == (50, 0)


def test_an_older_state_store_is_migrated_and_a_newer_one_refused(tmp_path: Path, make_kb: MakeKb):
    url = f"sqlite:///{sqlite_with(tmp_path / 'old.sqlite', *SCHEMA_1)}"
    state = State.open(url)
    assert state.counts("shop") == (1, 2)
    with state.lease("shop") as lease:
        assert lease.run == 2
    assert state.summary("shop")["quarantine"][0]["document_id"] == "album/9"
    state.close()
    change(url, f"UPDATE citewell_meta SET value = '{VERSION + 1}'")
    from rag.errors import ConfigError

    with pytest.raises(ConfigError, match="a newer Citewell wrote"):
        State.open(url)


SCHEMA_1 = (
    "CREATE TABLE citewell_meta (key VARCHAR(64) PRIMARY KEY, value VARCHAR(255))",
    "INSERT INTO citewell_meta VALUES ('schema', '1')",
    "CREATE TABLE citewell_documents (source VARCHAR(255), document_id TEXT, scope TEXT NOT NULL, version VARCHAR(64) "
    "NOT NULL, chunk_ids TEXT NOT NULL, seen_run INTEGER NOT NULL, PRIMARY KEY (source, document_id))",
    "INSERT INTO citewell_documents VALUES ('shop', 'album/1', 'album', 'v', '[\"a\", \"b\"]', 1)",
    "CREATE TABLE citewell_runs (id INTEGER PRIMARY KEY, source VARCHAR(255) NOT NULL, started_at FLOAT NOT NULL, "
    "ended_at FLOAT, status VARCHAR(16) NOT NULL, report TEXT)",
    "INSERT INTO citewell_runs VALUES (1, 'shop', 0, 1, 'done', NULL)",
    "CREATE TABLE citewell_leases (source VARCHAR(255) PRIMARY KEY, holder VARCHAR(255) NOT NULL, token VARCHAR(36) "
    "NOT NULL, expires_at FLOAT NOT NULL)",
    "CREATE TABLE citewell_quarantine (source VARCHAR(255), document_id TEXT, reason TEXT NOT NULL, since FLOAT NOT NULL, "
    "seen_run INTEGER NOT NULL, PRIMARY KEY (source, document_id))",
    "INSERT INTO citewell_quarantine VALUES ('shop', 'album/9', 'broken', 0, 1)",
)

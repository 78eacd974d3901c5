"""What people are shown of the sources."""

import time

import pytest

from rag.events import Checkpoint, Unreadable
from service.store.database import Database
from service.store.ledger.ports import Changes, StoredDocument
from service.store.ledger.stored import StoredLedger
from service.store.overview import Overview


@pytest.fixture
def ledger(database: Database) -> StoredLedger:
    return StoredLedger(database)


@pytest.fixture
def overview(database: Database) -> Overview:
    return Overview(database)


def run(ledger: StoredLedger, changes: Changes = Changes(), *, source: str = "shop", status: str = "done") -> None:
    with ledger.lease(source) as lease:
        ledger.commit(lease, changes)
        ledger.finish(lease, status=status, report={"read": 1})


def stored(document_id: str, *, scope: str = "t", chunks: int = 1) -> StoredDocument:
    return StoredDocument(document_id=document_id, scope=scope, version="v", chunk_ids=("c",) * chunks)


def bad(*document_ids: str) -> Changes:
    return Changes(unreadable=[Unreadable(document_id=i, scope="t", reason="broken") for i in document_ids])


def test_a_source_that_never_ran_has_nothing(overview: Overview) -> None:
    empty = {"documents": 0, "chunks": 0, "tables": [], "last_run": None, "next_run_at": None, "quarantine": []}
    assert overview.summary("shop") == empty


def test_documents_and_chunks_are_summed_over_tables(ledger: StoredLedger, overview: Overview) -> None:
    run(ledger, Changes(changed=[stored("t/1", chunks=2), stored("t/2"), stored("u/1", scope="u", chunks=0)]))
    summary = overview.summary("shop")
    assert (summary["documents"], summary["chunks"]) == (3, 3)


def test_each_table_says_how_its_changes_are_found(ledger: StoredLedger, overview: Overview) -> None:
    notes = [Checkpoint(scope=scope, name="table", head={"method": {"method": "digest"}}) for scope in ("u", "t")]
    other = Checkpoint(scope="v", name="range-1", head={"method": {"method": "no"}})
    run(ledger, Changes(changed=[stored("t/1")], checkpoints=[*notes, other]))
    assert overview.summary("shop")["tables"] == [
        {"table": "t", "documents": 1, "method": "digest"},
        {"table": "u", "documents": 0, "method": "digest"},
    ]


def test_the_last_run_is_told_with_its_report(ledger: StoredLedger, overview: Overview) -> None:
    run(ledger, status="failed")
    run(ledger, status="partial")
    last = overview.summary("shop")["last_run"]
    assert (last["status"], last["report"]) == ("partial", {"read": 1})
    assert last["started_at"] <= last["ended_at"] <= time.time()


def test_a_run_under_way_has_no_report(ledger: StoredLedger, overview: Overview) -> None:
    with ledger.lease("shop"):
        last = overview.summary("shop")["last_run"]
    assert (last["status"], last["report"], last["ended_at"]) == ("running", None, None)


def test_the_next_run_is_told_until_there_is_none(overview: Overview) -> None:
    overview.set_next_run("shop", 123.0)
    overview.set_next_run("docs", 7.0)
    assert overview.summary("shop")["next_run_at"] == 123.0
    overview.set_next_run("shop", None)
    assert overview.summary("shop")["next_run_at"] is None


def test_the_next_run_leaves_what_else_is_known_of_a_source(ledger: StoredLedger, overview: Overview) -> None:
    run(ledger, Changes(generation="g"))
    overview.set_next_run("shop", 123.0)
    assert ledger.generation("shop") == "g"


def test_sources_with_documents_are_listed_by_name(ledger: StoredLedger, overview: Overview) -> None:
    for source in ("shop", "docs", "empty"):
        run(ledger, Changes(changed=[] if source == "empty" else [stored("1"), stored("2")]), source=source)
    assert overview.sources() == ["docs", "shop"]


def test_the_quarantine_is_shown_a_page_at_a_time_over_sources(ledger: StoredLedger, overview: Overview) -> None:
    for source in ("b", "a", "c"):
        run(ledger, bad("1", "2"), source=source)
    first = overview.quarantine_page(["a", "b"], after=None, limit=3)
    rest = overview.quarantine_page(["a", "b"], after=("b", "1"), limit=3)
    assert [(e["source"], e["document_id"]) for e in first] == [("a", "1"), ("a", "2"), ("b", "1")]
    assert [(e["source"], e["document_id"]) for e in rest] == [("b", "2")]
    assert first[0].keys() == {"source", "document_id", "reason", "since"}


def test_lag_is_counted_from_the_last_run_that_was_done(ledger: StoredLedger, overview: Overview) -> None:
    run(ledger)
    run(ledger, status="partial", source="docs")
    lag = overview.sync_lag_s(["shop", "docs", "never"])
    assert lag.keys() == {"shop"}
    assert 0 <= lag["shop"] < 60
    assert overview.sync_lag_s([]) == {}

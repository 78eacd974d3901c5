"""Ingest: the index follows the source, and nothing is lost on the way."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from rag.errors import ConfigError, MassDeleteRefused, SourceBusy, SourceError
from rag.events import Checkpoint, SourceEvent, Unreadable
from service.knowledge_base import KnowledgeBase
from service.store.ports import Changes, StoredDocument
from service.store.schema import leases
from service.store.state import State
from service.syncing.run import SyncParts
from service.syncing.sync import Options, ingest
from tests.conftest import MakeKb, server_database, sqlite_with

SHOP = '[sources.shop]\nkind = "sql"\nurl = "sqlite:///shop.sqlite"\n'
DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'


def shop(tmp_path: Path, rows: int = 20) -> Path:
    values = ", ".join(f"({i}, 'Album number {i}')" for i in range(rows))
    return sqlite_with(
        tmp_path / "shop.sqlite",
        "CREATE TABLE album (id INTEGER PRIMARY KEY, title TEXT)",
        f"INSERT INTO album VALUES {values}",
    )


def change(tmp_path: Path, statement: str) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.sqlite'}")
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def run(kb: KnowledgeBase, *names: str, **options: bool) -> dict[str, int]:
    (report,) = kb.ingest(*names, **options)
    return {name: getattr(report, name) for name in ("added", "updated", "unchanged", "deleted", "chunks_embedded")}


def titles(kb: KnowledgeBase, question: str) -> list[str]:
    return [hit.chunk.text for hit in kb.retrieve(question, k=5)]


def test_a_second_run_over_an_unchanged_source_does_nothing(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path)
    kb = make_kb(SHOP)
    assert run(kb)["added"] == 20
    assert run(kb) == {"added": 0, "updated": 0, "unchanged": 20, "deleted": 0, "chunks_embedded": 0}
    assert kb.services.collection.current().index.count() == 20


def test_a_row_deleted_in_the_database_stops_answering(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path)
    kb = make_kb(SHOP)
    run(kb)
    assert not kb.ask("What is album 7?").refused
    change(tmp_path, "DELETE FROM album WHERE id = 7")
    assert run(kb)["deleted"] == 1
    assert not any("Album number 7" in text for text in titles(kb, "Album number 7"))


def test_a_changed_row_answers_with_its_new_text_only(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path)
    kb = make_kb(SHOP)
    run(kb)
    change(tmp_path, "UPDATE album SET title = 'Let There Be Rock' WHERE id = 3")
    assert run(kb) == {"added": 0, "updated": 1, "unchanged": 19, "deleted": 0, "chunks_embedded": 1}
    assert titles(kb, "Let There Be Rock")[0] == "Album\nId: 3\nTitle: Let There Be Rock"
    assert kb.services.collection.current().index.count() == 20


def test_a_change_in_a_long_document_embeds_only_what_changed(tmp_path: Path, make_kb: MakeKb):
    (tmp_path / "docs").mkdir()
    parts = [f"## Part {i}\n\n" + f"Sentence of part {i} about vinyl records. " * 30 for i in range(8)]
    (tmp_path / "docs" / "a.md").write_text("\n\n".join(parts))
    kb = make_kb(DOCS)
    whole = run(kb)["chunks_embedded"]
    (tmp_path / "docs" / "a.md").write_text("\n\n".join([*parts[:-1], "## Part 7\n\nNew end."]))
    assert run(kb)["chunks_embedded"] == 1
    assert kb.services.collection.current().index.count() < whole
    assert "New end." in titles(kb, "the new end of part 7")[0]


def test_a_run_that_would_delete_much_stops_until_it_is_allowed(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path, rows=60)
    kb = make_kb(SHOP)
    run(kb)
    change(tmp_path, "DELETE FROM album WHERE id >= 30")
    with pytest.raises(MassDeleteRefused, match=r"30 of its 60 .*--allow-mass-delete"):
        run(kb)
    assert kb.services.collection.current().index.count() == 60
    assert run(kb, allow_mass_delete=True)["deleted"] == 30
    assert kb.services.collection.current().index.count() == 30


def test_a_dropped_table_is_told_and_keeps_its_rows(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path)
    change(tmp_path, "CREATE TABLE genre (id INTEGER PRIMARY KEY, name TEXT)")
    change(tmp_path, "INSERT INTO genre VALUES (1, 'Rock')")
    kb = make_kb(SHOP)
    run(kb)
    change(tmp_path, "DROP TABLE genre")
    (report,) = kb.ingest()
    assert "Table 'genre' was indexed before and is not read now" in report.error
    assert kb.services.collection.current().index.count() == 21


def test_a_dry_run_says_what_would_change_and_changes_nothing(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path)
    kb = make_kb(SHOP)
    run(kb)
    change(tmp_path, "DELETE FROM album WHERE id = 0")
    change(tmp_path, "UPDATE album SET title = 'x' WHERE id = 1")
    planned = run(kb, dry_run=True)
    assert (planned["updated"], planned["unchanged"], planned["deleted"]) == (1, 18, 1)
    assert kb.services.collection.current().index.count() == 20
    assert run(kb)["deleted"] == 1


def test_full_indexes_every_document_again(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path)
    kb = make_kb(SHOP)
    run(kb)
    assert run(kb, full=True)["chunks_embedded"] == 20
    assert kb.services.collection.current().index.count() == 20


class Interrupted:
    """A source that fails after some of its events."""

    def __init__(self, events: list[SourceEvent], after: int) -> None:
        self.events, self.after = events, after

    def read(self, cursor: str | None = None) -> Iterator[SourceEvent]:
        yield from self.events[: self.after]
        raise SourceError("the connection broke")


def parts(kb: KnowledgeBase) -> SyncParts:
    return SyncParts(
        ledger=kb.services.ledger(),
        index=kb.services.collection.current().index,
        embedder=kb.services.collection.current().embedder,
        sparse=kb.services.collection.current().sparse,
        counter=kb.services.counter(),
        max_tokens=256,
        mass_delete_share=0.2,
    )


def test_a_read_that_breaks_deletes_nothing_and_a_rerun_completes_it(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path)
    kb = make_kb(SHOP)
    run(kb)
    events = list(kb.services.catalogue.connector("shop").read())
    with pytest.raises(SourceError, match="the connection broke"):
        ingest(parts(kb), "shop", Interrupted(events, 5), Options())
    assert kb.services.collection.current().index.count() == 20
    assert kb.services.overview().summary("shop")["last_run"]["status"] == "failed"
    assert run(kb)["unchanged"] == 20


def test_a_crash_between_storing_and_committing_is_made_good_by_a_rerun(tmp_path: Path, make_kb: MakeKb):
    """Points without state: the same points are stored again, and nothing doubles."""
    shop(tmp_path)
    kb = make_kb(SHOP)
    run(kb)
    with kb.services.ledger().lease("shop") as lease:
        kb.services.ledger().remove(lease, [f"album/{i}" for i in range(20)])
        kb.services.ledger().forget_scopes(lease, ["album"], [])
    assert run(kb)["added"] == 20
    assert kb.services.collection.current().index.count() == 20


def test_a_second_run_of_a_source_is_refused_while_the_first_lives(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path)
    kb = make_kb(SHOP)
    with kb.services.ledger().lease("shop"), pytest.raises(SourceBusy, match="is being ingested by"):
        run(kb)
    assert run(kb)["added"] == 20


def test_a_run_that_lost_its_lease_cannot_commit(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path)
    kb = make_kb(SHOP)
    with kb.services.ledger().lease("shop") as lease:
        with kb.services.database().engine.begin() as connection:
            connection.exec_driver_sql("UPDATE citewell_leases SET token = 'another'")
        with pytest.raises(SourceBusy, match="taken over"):
            kb.services.ledger().commit(lease, Changes())


def test_the_state_store_works_on_postgresql():
    with server_database("postgresql") as url:
        state = State.open(url)
        document = StoredDocument(document_id="album/1", scope="album", version="v", chunk_ids=("a", "b"))
        with state.lease("shop") as lease:
            unreadable = Unreadable(document_id="album/2", scope="album", reason="broken")
            note = Checkpoint(scope="album", name="table", head={"n": 1}, body=b"rows")
            state.commit(lease, Changes(changed=[document], unreadable=[unreadable], checkpoints=[note]))
            with pytest.raises(SourceBusy), state.lease("shop"):
                pass
            state.finish(lease, status="done", report={})
        with state.lease("shop") as second:
            assert [d.document_id for d in state.unseen(second)] == ["album/1"]
        assert state.known("shop", ["album/1"])["album/1"].chunk_ids == document.chunk_ids
        summary = state.summary("shop")
        assert (summary["documents"], summary["chunks"], len(summary["quarantine"])) == (1, 2, 1)
        cursor = state.notes("shop")
        assert list(cursor.find(scope="album")) == [("album", "table", {"n": 1})]
        assert cursor.body("album", "table") == b"rows"
        state.close()


def test_the_lease_of_a_dead_process_is_taken_over(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path)
    kb = make_kb(SHOP)
    with kb.services.database().engine.begin() as connection:
        place = f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
        values = {"source": "shop", "holder": "host:999999", "place": place, "token": "old"}
        connection.execute(sa.insert(leases).values(**values, expires_at=time.time() + 3600))
    assert run(kb)["added"] == 20


def test_an_unreadable_file_is_set_aside_and_its_old_text_stays(tmp_path: Path, make_kb: MakeKb):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.json").write_text('{"opening": "at ten"}')
    (tmp_path / "docs" / "b.md").write_text("Parking is free.")
    kb = make_kb(DOCS)
    run(kb)
    (tmp_path / "docs" / "a.json").write_text("{ broken")
    (report,) = kb.ingest()
    assert [entry["document_id"] for entry in report.unreadable] == ["docs/a.json"]
    assert (report.deleted, kb.services.collection.current().index.count()) == (0, 2)
    assert kb.services.ledger().quarantined("docs")[0]["reason"].startswith("the JSON is not valid")
    (tmp_path / "docs" / "a.json").write_text('{"opening": "at eleven"}')
    run(kb)
    assert kb.services.ledger().quarantined("docs") == []


def test_a_source_taken_out_of_the_configuration_stops_answering(tmp_path: Path, make_kb: MakeKb):
    shop(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Parking is free.")
    kb = make_kb(SHOP + DOCS)
    list(kb.ingest())
    assert make_kb(DOCS).ask("What is album 7?").refused


def test_an_empty_source_is_no_failure(tmp_path: Path, make_kb: MakeKb):
    sqlite_with(tmp_path / "shop.sqlite", "CREATE TABLE album (id INTEGER PRIMARY KEY)")
    kb = make_kb(SHOP)
    assert run(kb)["added"] == 0
    assert kb.ask("Which albums are there?").refused


def test_an_unknown_source_lists_those_there_are(tmp_path: Path, make_kb: MakeKb):
    with pytest.raises(ConfigError, match=r"no source .x.\. Configured sources: shop"):
        list(make_kb(SHOP).ingest("x"))
    with pytest.raises(ConfigError, match="citewell add"):
        list(make_kb("", name="empty.toml").ingest())


def test_the_same_data_gives_the_same_citations_from_every_database(database: str, tmp_path: Path, make_kb: MakeKb):
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE artist (id INTEGER PRIMARY KEY, name VARCHAR(40))",
            "CREATE TABLE album (id INTEGER PRIMARY KEY, title VARCHAR(80), artist_id INTEGER, FOREIGN KEY (artist_id) REFERENCES artist (id))",
            "INSERT INTO artist VALUES (1, 'AC/DC'), (2, 'Accept')",
            "INSERT INTO album VALUES (1, 'For Those About To Rock', 1), (4, 'Let There Be Rock', 1), (2, 'Balls to the Wall', 2)",
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()
    kb = make_kb(f'[sources.shop]\nkind = "sql"\nurl = "{database}"\n')
    list(kb.ingest())
    answer = kb.ask("What are the titles of the albums by the artist AC/DC?")
    cited = {(c.document_id, c.quote, c.start, c.end) for c in answer.citations}
    assert cited == {
        ("album/1", "Album\nId: 1\nTitle: For Those About To Rock\nArtist: AC/DC (Artist id 1)", 0, 70),
        ("album/4", "Album\nId: 4\nTitle: Let There Be Rock\nArtist: AC/DC (Artist id 1)", 0, 64),
    }


def test_a_table_without_a_key_is_kept_in_step(make_kb: MakeKb, tmp_path: Path):
    path = sqlite_with(
        tmp_path / "source.sqlite",
        "CREATE TABLE river (name TEXT, state TEXT)",
        "INSERT INTO river VALUES ('arkansas', 'kansas'), ('arkansas', 'kansas'), ('wabash', 'ohio')",
    )
    kb = make_kb('[sources.s]\nkind = "sql"\nurl = "sqlite:///source.sqlite"\n')
    assert kb.ingest()[0].added == 3
    assert kb.ingest()[0].unchanged == 3
    sqlite_with(path, "UPDATE river SET state = 'indiana' WHERE name = 'wabash'")
    report = kb.ingest(allow_mass_delete=True)[0]
    assert (report.added, report.deleted) == (1, 1)
    assert not any("ohio" in hit.chunk.text for hit in kb.retrieve("wabash"))
    assert kb.retrieve("wabash indiana")[0].chunk.document.title == "River: wabash"

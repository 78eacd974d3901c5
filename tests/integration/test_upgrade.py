"""Data folders that earlier versions made open and go on: nothing is embedded again, nothing forgotten.

tests/data/before_typed_ids.tar.xz is that folder, made by Citewell 0.1.0 at commit ba1f61e from before_typed_ids.sql, two
files, and one conversation that stands on a row whose id changes. tests/data/before_rooms.tar.xz was made at commit
5f06e3c, before the modules moved into rooms: two sources, a key, a job, a conversation, and one broken file.
"""

import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from rag.ports import Identity, Scope
from service import connect
from service.knowledge_base import KnowledgeBase
from service.store.conversations import without_lost
from tests.support.command import ROOT
from tests.support.databases import SERVERS, change, server_database
from tests.support.embedded import stop_engine

DATA = ROOT / "tests" / "data"
CONFIG = """
[llm]
keep_conversations = "36500d"
[sources.shop]
kind = "sql"
url = "sqlite:///shop.sqlite"
[sources.pg]
kind = "sql"
url = "{postgresql}"
[sources.my]
kind = "sql"
url = "{mariadb}"
[sources.docs]
kind = "files"
paths = ["docs"]
"""


def statements(kind: str) -> list[str]:
    script = (DATA / "before_typed_ids.sql").read_text()
    part = next(part for part in script.split("-- ") if part.startswith(kind))
    return [statement.strip() for statement in part.partition("\n")[2].split(";\n") if statement.strip()]


@pytest.fixture
def upgraded(tmp_path: Path) -> Iterator[KnowledgeBase]:
    """A knowledge base over the old folder; the databases have the names that they had then."""
    for kind in SERVERS:
        with server_database(kind):
            pass  # skips, saying how to start it, where it does not run
    urls = {kind: sa.make_url(url).set(database="citewell_before") for kind, (url, _) in SERVERS.items()}
    admins = {kind: sa.create_engine(url, isolation_level="AUTOCOMMIT") for kind, (url, _) in SERVERS.items()}
    for kind, admin in admins.items():
        with admin.connect() as connection:
            connection.exec_driver_sql("DROP DATABASE IF EXISTS citewell_before")
            charset = " CHARACTER SET utf8mb4" if kind == "mariadb" else ""
            connection.exec_driver_sql(f"CREATE DATABASE citewell_before{charset}")
        change(urls[kind].render_as_string(hide_password=False), *statements(kind))
    with sqlite3.connect(tmp_path / "shop.sqlite") as shop:
        shop.executescript(";\n".join(statements("sqlite")))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "ferry.md").write_text("# Ferry\n\nThe ferry leaves at six.\n")
    (tmp_path / "docs" / "berths.csv").write_text("name,berth\nGull,4\nTern,7\n")
    with tarfile.open(DATA / "before_typed_ids.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    shown = {kind: url.render_as_string(hide_password=False) for kind, url in urls.items()}
    (tmp_path / "citewell.toml").write_text(CONFIG.format(**shown))
    with connect(tmp_path / "citewell.toml") as kb:
        yield kb
    stop_engine(tmp_path / ".citewell" / "qdrant")
    for kind, admin in admins.items():
        force = " WITH (FORCE)" if kind == "postgresql" else ""
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE citewell_before{force}")
        admin.dispose()


def test_an_older_data_folder_goes_on_with_typed_ids(upgraded: KnowledgeBase) -> None:
    before = {
        name: {d.document_id for page in upgraded.services.ledger().pages(name) for d in page}
        for name in upgraded.settings.sources
    }
    reports = {report.source: report for report in upgraded.ingest()}
    assert {name: (r.error, r.chunks_embedded, r.quarantined) for name, r in reports.items()} == dict.fromkeys(
        reports, ("", 0, 0)
    )
    after = {name: {d.document_id for page in upgraded.services.ledger().pages(name) for d in page} for name in before}
    assert {name: len(ids) for name, ids in after.items()} == {"shop": 5, "pg": 41, "my": 3, "docs": 3}
    kept = ("plain/", "coded/", "global/", "album/", "moment/", "docs/", "loose/1", "loose/two")
    for name in before:
        assert {i for i in before[name] if i.startswith(kept)} <= after[name]
    assert after["pg"] - before["pg"] == {
        "event/%time:2026-03-01 12:00:00.25+00", "event/%time:2026-03-01 12:00:01+00", "event/%time:2026-03-02 06:30:00.5+00",
        "tagged/%array:{red%2Cblue}", "tagged/%array:{green}", 'paper/%json:{"n": 1}', 'paper/%json:[1%2C "2"]',
    }  # fmt: skip
    assert after["my"] - before["my"] == {"measure/%float:0.10000000149011612", "measure/%float:2.5"}
    assert after["shop"] - before["shop"] == {"loose/%blob:ff"}
    again = upgraded.ingest()
    assert [(r.added, r.updated, r.deleted, r.chunks_embedded) for r in again] == [(0, 0, 0, 0)] * 4
    assert upgraded.services.collection.current().index.count() == 52


def test_a_conversation_that_stands_on_a_row_with_a_new_id_is_not_forgotten(upgraded: KnowledgeBase) -> None:
    turns = upgraded.services.conversations().turns("before", Identity())
    assert turns[0].passages[0].document.id == "event/2026-03-01 12:00:00 UTC"
    label = turns[0].passages[0].label
    upgraded.ingest("pg")
    turns = upgraded.services.conversations().turns("before", Identity())
    assert turns[0].passages[0].document.id == "event/%time:2026-03-01 12:00:00.25+00"
    assert turns[0].passages[0].label == label
    visible = upgraded.services.collection.current().index.visible(list(turns[0].stands_on), Scope())
    assert without_lost(turns, visible) == turns


@pytest.fixture
def from_before_the_rooms(tmp_path: Path) -> Iterator[KnowledgeBase]:
    with tarfile.open(DATA / "before_rooms.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "citewell.toml").write_text(
        '[llm]\nkeep_conversations = "36500d"\n[sources.shop]\nkind = "sql"\nurl = "sqlite:///shop.sqlite"\n'
        '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'
    )
    with connect(tmp_path / "citewell.toml") as kb:
        yield kb
    stop_engine(tmp_path / ".citewell" / "qdrant")


def test_a_folder_from_before_the_rooms_answers_before_anything_is_read(from_before_the_rooms: KnowledgeBase) -> None:
    answer = from_before_the_rooms.ask("When does the ferry leave?", conversation="again")
    assert "six" in answer.text
    assert answer.citations[0].document_id == "docs/ferry.md"
    services = from_before_the_rooms.services
    assert [key.name for key in services.keys().all()] == ["reader"]
    assert [job.status for job in services.jobs().page(limit=5)] == ["done"]
    assert services.overview().summary("docs")["quarantine"][0]["document_id"] == "docs/broken.pdf"
    turns = services.conversations().turns("before", Identity())
    assert without_lost(turns, services.searcher.visible(list(turns[0].stands_on), Scope())) == turns


def test_a_folder_from_before_the_rooms_is_synced_with_nothing_embedded_again(
    from_before_the_rooms: KnowledgeBase,
) -> None:
    reports = from_before_the_rooms.ingest()  # documents are updated, because the folder's path is in their URIs
    assert [(report.added, report.chunks_embedded, report.deleted) for report in reports] == [(0, 0, 0)] * 2
    again = from_before_the_rooms.ingest()
    assert [(report.added, report.updated, report.chunks_embedded, report.deleted) for report in again] == [
        (0, 0, 0, 0)
    ] * 2
    assert from_before_the_rooms.services.collection.current().index.count() == 8


def test_a_re_index_is_offered_for_what_an_older_form_of_the_embedder_built_and_remembers_none_of_it(
    from_before_the_rooms: KnowledgeBase, caplog: pytest.LogCaptureFixture
) -> None:
    services = from_before_the_rooms.services
    from_before_the_rooms.ingest()
    assert "multilingual-e5-small/int8" in caplog.text
    assert "`citewell reindex`" in caplog.text
    assert services.collection.current().memory is not None
    assert not (services.settings.data_dir / "vectors.sqlite").exists() or _kept(services.settings.data_dir) == 0
    assert services.reindexer.run()[0] == 8
    assert _kept(services.settings.data_dir) == 8
    caplog.clear()
    with connect(services.settings.file or "") as kb:
        assert "six" in kb.ask("When does the ferry leave?").text
    assert "reindex" not in caplog.text


def _kept(data_dir: Path) -> int:
    with sqlite3.connect(data_dir / "vectors.sqlite") as connection:
        return int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])

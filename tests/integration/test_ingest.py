"""Ingest: the index follows the source, and nothing is lost on the way."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from rag.errors import ConfigError
from service.knowledge_base import KnowledgeBase
from tests.support.databases import sqlite_with
from tests.support.knowledge_bases import MakeKb

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


def run(kb: KnowledgeBase, *names: str, **options: Any) -> dict[str, int]:
    (report,) = kb.ingest(*names, **options)
    return {name: getattr(report, name) for name in ("added", "updated", "unchanged", "deleted", "chunks_embedded")}


def titles(kb: KnowledgeBase, question: str) -> list[str]:
    return [hit.chunk.text for hit in kb.retrieve(question, k=5)]


def test_a_second_run_over_an_unchanged_source_does_nothing(tmp_path: Path, make_kb: MakeKb) -> None:
    shop(tmp_path)
    kb = make_kb(SHOP)
    assert run(kb)["added"] == 20
    assert run(kb) == {"added": 0, "updated": 0, "unchanged": 20, "deleted": 0, "chunks_embedded": 0}
    assert kb.services.collection.current().index.count() == 20


def test_a_row_deleted_in_the_database_stops_answering(tmp_path: Path, make_kb: MakeKb) -> None:
    shop(tmp_path)
    kb = make_kb(SHOP)
    run(kb)
    assert not kb.ask("What is album 7?").refused
    change(tmp_path, "DELETE FROM album WHERE id = 7")
    assert run(kb)["deleted"] == 1
    assert not any("Album number 7" in text for text in titles(kb, "Album number 7"))


def test_a_changed_row_answers_with_its_new_text_only(tmp_path: Path, make_kb: MakeKb) -> None:
    shop(tmp_path)
    kb = make_kb(SHOP)
    run(kb)
    change(tmp_path, "UPDATE album SET title = 'Let There Be Rock' WHERE id = 3")
    assert run(kb) == {"added": 0, "updated": 1, "unchanged": 19, "deleted": 0, "chunks_embedded": 1}
    assert titles(kb, "Let There Be Rock")[0] == "Album\nId: 3\nTitle: Let There Be Rock"
    assert kb.services.collection.current().index.count() == 20


def test_a_dry_run_says_what_would_change_and_changes_nothing(tmp_path: Path, make_kb: MakeKb) -> None:
    shop(tmp_path)
    kb = make_kb(SHOP)
    run(kb)
    change(tmp_path, "DELETE FROM album WHERE id = 0")
    change(tmp_path, "UPDATE album SET title = 'x' WHERE id = 1")
    planned = run(kb, dry_run=True)
    assert (planned["updated"], planned["unchanged"], planned["deleted"]) == (1, 18, 1)
    assert kb.services.collection.current().index.count() == 20
    assert run(kb)["deleted"] == 1


def test_a_source_taken_out_of_the_configuration_stops_answering(tmp_path: Path, make_kb: MakeKb) -> None:
    shop(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Parking is free.")
    kb = make_kb(SHOP + DOCS)
    list(kb.ingest())
    assert make_kb(DOCS).ask("What is album 7?").refused


def test_an_empty_source_is_no_failure(tmp_path: Path, make_kb: MakeKb) -> None:
    sqlite_with(tmp_path / "shop.sqlite", "CREATE TABLE album (id INTEGER PRIMARY KEY)")
    kb = make_kb(SHOP)
    assert run(kb)["added"] == 0
    assert kb.ask("Which albums are there?").refused


def test_an_unknown_source_lists_those_there_are(tmp_path: Path, make_kb: MakeKb) -> None:
    with pytest.raises(ConfigError, match=r"no source .x.\. Configured sources: shop"):
        list(make_kb(SHOP).ingest("x"))
    with pytest.raises(ConfigError, match="citewell add"):
        list(make_kb("", name="empty.toml").ingest())


def test_the_same_data_gives_the_same_citations_from_every_database(
    database: str, tmp_path: Path, make_kb: MakeKb
) -> None:
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


def test_a_table_without_a_key_is_kept_in_step(make_kb: MakeKb, tmp_path: Path) -> None:
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

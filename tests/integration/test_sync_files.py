"""What a sync of files reads, and what it keeps."""

import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from connectors.files import FilesSource
from connectors.parsers.child import ParserProcess
from connectors.parsers.errors import CannotParse
from rag.types import Checkpoint, Listed, SourceEvent, Unreadable, Upsert
from service.knowledge_base import KnowledgeBase
from service.settings import load_settings
from tests.conftest import SAMPLE, MakeKb
from tests.integration.test_sync import Notes

DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'
LONG_AGO = 1_600_000_000


def write(path: Path, text: str, *, at: int = LONG_AGO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at, at))
    return path


def read(source: FilesSource, notes: Notes) -> list[SourceEvent]:
    events = list(source.read(notes))
    for event in events:
        notes.keep(event if isinstance(event, Checkpoint) else event.checkpoint if isinstance(event, Listed) else None)
    return events


def upserted(events: list[SourceEvent]) -> list[str]:
    return [event.document.id for event in events if isinstance(event, Upsert)]


def summary(kb: KnowledgeBase, **options: bool) -> dict[str, int]:
    (report,) = kb.ingest(**options)
    return {name: getattr(report, name) for name in ("read", "added", "updated", "deleted", "chunks_embedded")}


def test_a_file_of_the_same_size_and_time_is_not_opened(tmp_path: Path):
    file = write(tmp_path / "a.md", "first")
    source, notes = FilesSource(name="d", paths=("*",), root=tmp_path), Notes()
    assert upserted(read(source, notes)) == ["a.md"]
    write(file, "again")  # five characters too, and the same time
    assert upserted(read(source, notes)) == []
    write(file, "again", at=LONG_AGO + 1)
    assert upserted(read(source, notes)) == ["a.md"]


def test_a_file_that_was_touched_is_not_parsed(tmp_path: Path):
    file = write(tmp_path / "a.md", "first")
    source, notes = FilesSource(name="d", paths=("*",), root=tmp_path), Notes()
    read(source, notes)
    os.utime(file, (LONG_AGO + 5, LONG_AGO + 5))
    assert upserted(read(source, notes)) == []


def test_a_file_changed_right_after_it_was_read_is_read_again(tmp_path: Path):
    """Two changes within one tick of the file system's clock leave the same time."""
    import time

    now = int(time.time())
    source, notes = FilesSource(name="d", paths=("*",), root=tmp_path), Notes()
    write(tmp_path / "a.md", "first", at=now)
    read(source, notes)
    write(tmp_path / "a.md", "other", at=now)
    assert upserted(read(source, notes)) == ["a.md"]


def test_a_renamed_folder_is_not_embedded_again_and_no_mass_deletion(tmp_path: Path, make_kb: MakeKb):
    for number in range(10):
        write(tmp_path / "docs" / "old" / f"{number}.md", f"# Record {number}\n\nThe shelf of record {number}.")
    kb = make_kb(DOCS)
    summary(kb)
    (tmp_path / "docs" / "old").rename(tmp_path / "docs" / "new")
    assert summary(kb) == {"read": 10, "added": 10, "updated": 0, "deleted": 10, "chunks_embedded": 0}
    assert {hit.chunk.document.id[:8] for hit in kb.retrieve("shelf", k=20)} == {"docs/new"}


def test_a_table_file_that_loses_rows_or_becomes_empty_forgets_them(tmp_path: Path, make_kb: MakeKb):
    rows = [f"{i},item {i}" for i in range(20)]
    file = write(tmp_path / "docs" / "a.csv", "id,name\n" + "\n".join(rows))
    kb = make_kb(DOCS)
    assert summary(kb)["added"] == 20
    write(file, "id,name\n" + "\n".join(rows[:-2]), at=LONG_AGO + 1)
    assert (summary(kb)["deleted"], kb.index.count()) == (2, 18)
    write(file, "", at=LONG_AGO + 2)
    assert summary(kb, allow_mass_delete=True)["deleted"] == 18
    assert summary(kb) == {"read": 0, "added": 0, "updated": 0, "deleted": 0, "chunks_embedded": 0}


def test_a_csv_that_becomes_text_leaves_no_rows_behind(tmp_path: Path, make_kb: MakeKb):
    write(tmp_path / "docs" / "a.json", '[{"a": 1}, {"a": 2}]')
    kb = make_kb(DOCS)
    summary(kb)
    write(tmp_path / "docs" / "a.json", '{"opening": "at ten"}', at=LONG_AGO + 1)
    assert summary(kb, allow_mass_delete=True) == {
        "read": 1, "added": 1, "updated": 0, "deleted": 2, "chunks_embedded": 1
    }  # fmt: skip


def test_a_file_reached_by_links_is_one_document_and_loops_end(tmp_path: Path):
    write(tmp_path / "docs" / "real.md", "text")
    (tmp_path / "docs" / "alias.md").symlink_to("real.md")
    (tmp_path / "docs" / "loop").symlink_to(".")
    (tmp_path / "docs" / "broken.md").symlink_to("nowhere")
    write(tmp_path / "elsewhere" / "far.md", "far text")
    (tmp_path / "docs" / "far.md").symlink_to(tmp_path / "elsewhere" / "far.md")
    source = FilesSource(name="d", paths=("docs",), root=tmp_path)
    assert upserted(read(source, Notes())) == ["docs/far.md", "docs/real.md"]


def test_a_table_file_changed_while_it_is_read_is_read_again_by_the_next_run(tmp_path: Path):
    file = write(tmp_path / "a.csv", "id,name\n" + "\n".join(f"{i},first" for i in range(5000)))
    source, notes = FilesSource(name="d", paths=("*",), root=tmp_path), Notes()
    events = source.read(notes)
    begun = [next(events) for _ in range(10)]
    write(file, "id,name\n" + "\n".join(f"{i},second" for i in range(5000)), at=LONG_AGO + 9)
    rest = list(events)
    assert any(isinstance(event, Unreadable) and "changed while it was read" in event.reason for event in rest)
    assert not any(isinstance(event, Listed) for event in [*begun, *rest])
    texts = [event.document.text for event in read(source, notes) if isinstance(event, Upsert)]
    assert all("second" in text for text in texts)
    assert len(texts) == 5000


def test_a_large_table_file_is_read_in_constant_memory(tmp_path: Path):
    write(tmp_path / "a.csv", "id,name\n" + "\n".join(f"{i},item number {i}" for i in range(20_000)))
    source = FilesSource(name="d", paths=("*",), root=tmp_path)
    tracemalloc.start()
    count = sum(isinstance(event, Upsert) for event in source.read(Notes()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 5_000_000


def test_thousands_of_small_files_are_followed(tmp_path: Path):
    for number in range(3000):
        write(tmp_path / f"{number % 50}" / f"{number}.md", f"text {number}")
    source, notes = FilesSource(name="d", paths=("**/*",), root=tmp_path), Notes()
    assert len(upserted(read(source, notes))) == 3000
    write(tmp_path / "7" / "7.md", "new text", at=LONG_AGO + 1)
    (tmp_path / "8" / "8.md").unlink()
    events = read(source, notes)
    assert upserted(events) == ["7/7.md"]
    assert "8/8.md" not in events[-1].scopes


def test_a_file_that_could_not_be_parsed_and_is_gone_leaves_the_quarantine(tmp_path: Path, make_kb: MakeKb):
    (tmp_path / "docs").mkdir()
    for name in ("a.md", "b.md"):
        (tmp_path / "docs" / name).write_text("# Page\n\nText.\n")
    (tmp_path / "docs" / "bad.pdf").write_bytes(b"%PDF-1.4 broken")
    kb = make_kb('[sources.docs]\nkind = "files"\npaths = ["docs"]\n')
    assert kb.ingest()[0].quarantined == 1
    (tmp_path / "docs" / "bad.pdf").unlink()
    assert kb.ingest()[0].quarantined == 0


def test_a_file_that_cannot_be_parsed_stays_in_quarantine_until_it_changes(tmp_path: Path, make_kb: MakeKb):
    write(tmp_path / "docs" / "good.md", "Parking is free.")
    bad = write(tmp_path / "docs" / "bad.json", "{")
    kb = make_kb(DOCS)
    for _ in range(2):  # the second run does not read it again, and does not forget it
        (report,) = kb.ingest()
        assert report.quarantined == 1
    write(bad, '{"a": 1}', at=LONG_AGO + 1)
    (report,) = kb.ingest()
    assert (report.quarantined, report.added) == (0, 1)


def test_retry_reads_what_was_set_aside_again(tmp_path: Path, make_kb: MakeKb):
    write(tmp_path / "docs" / "bad.json", "{")
    kb = make_kb(DOCS)
    kb.ingest()
    assert kb.ingest()[0].unreadable == []
    assert [entry["document_id"] for entry in kb.ingest(retry=True)[0].unreadable] == ["docs/bad.json"]


# Parsing in a process of its own.


def test_a_parser_over_its_time_is_ended_and_the_next_file_is_read():
    child = ParserProcess(timeout_s=0.001, memory_bytes=1 << 30)
    guide = SAMPLE / "handbook" / "buying-guide.pdf"
    with pytest.raises(CannotParse, match=r"not parsed within 0\.001 s"):
        list(child.parse(guide))
    child = ParserProcess(timeout_s=60, memory_bytes=1 << 30)
    assert len(list(child.parse(guide))) == 1
    child.close()


def test_a_file_that_wants_all_the_memory_is_set_aside(tmp_path: Path):
    bomb = tmp_path / "bomb.docx"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("word/document.xml", "w", force_zip64=True) as entry:
            for _ in range(600):
                entry.write(b" " * 1_000_000)
    child = ParserProcess(timeout_s=60, memory_bytes=400 << 20)
    with pytest.raises(CannotParse, match=r"memory|damaged|ended"):
        list(child.parse(bomb))
    assert len(list(child.parse(SAMPLE / "handbook" / "buying-guide.pdf"))) == 1
    child.close()


def test_limits_come_from_the_configuration(tmp_path: Path):
    (tmp_path / "citewell.toml").write_text(DOCS + 'parse_timeout = "3s"\nparse_memory_mb = 300\nevery = "5m"\n')
    settings = load_settings(tmp_path / "citewell.toml")
    source = KnowledgeBase(settings).source("docs")
    assert (source.parse_timeout_s, source.parse_memory_mb) == (3.0, 300)
    assert settings.sources["docs"].every == 300

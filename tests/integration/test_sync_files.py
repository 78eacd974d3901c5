"""What a sync of files reads, and what it keeps."""

import hashlib
import os
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.files.source import FilesSource
from connectors.files.visibility import FileVisibility, PathRule
from connectors.parsers.child import ParserProcess
from connectors.parsers.errors import CannotParse
from rag.events import Checkpoint, Listed, SnapshotComplete, SourceEvent, Unreadable, Upsert
from rag.fakes import MemoryNotes
from service.catalogue import Catalogue, connector_of
from service.knowledge_base import KnowledgeBase
from service.settings.load import load_settings
from service.store.ledger.ports import Changes
from service.syncing.syncer import Syncer
from tests.support.command import SAMPLE, citewell
from tests.support.embedded import stop_engine
from tests.support.knowledge_bases import MakeKb
from tests.support.users import AsNobody, nobody, open_folder

DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\n'
LONG_AGO = 1_600_000_000


def write(path: Path, text: str, *, at: int = LONG_AGO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at, at))
    return path


def read(source: FilesSource, notes: MemoryNotes) -> list[SourceEvent]:
    events = list(source.read(notes))
    for event in events:
        notes.keep(event if isinstance(event, Checkpoint) else event.checkpoint if isinstance(event, Listed) else None)
    return events


def upserted(events: list[SourceEvent]) -> list[str]:
    return [event.document.id for event in events if isinstance(event, Upsert)]


def last(events: list[SourceEvent]) -> SnapshotComplete:
    found = events[-1]
    assert isinstance(found, SnapshotComplete)
    return found


def let_time_pass(notes: MemoryNotes) -> None:
    """Have the last read be later than it was, so that files made by this test count as old by then."""
    for key, note in notes.kept.items():
        head = note.head or {}
        notes.kept[key] = replace(note, head={**head, "read_at_ns": head["read_at_ns"] + 10**10})


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files whose content was read to be compared."""
    seen: list[str] = []
    digest = hashlib.file_digest

    def noted(file: Any, name: Any) -> Any:
        seen.append(file.name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    return seen


def summary(kb: KnowledgeBase, **options: Any) -> dict[str, int]:
    (report,) = kb.ingest(**options)
    return {name: getattr(report, name) for name in ("read", "added", "updated", "deleted", "chunks_embedded")}


def test_an_untouched_file_is_not_opened(tmp_path: Path, hashed: list[str]) -> None:
    write(tmp_path / "a.md", "first")
    source, notes = FilesSource(name="d", paths=("*",), root=tmp_path), MemoryNotes()
    assert upserted(read(source, notes)) == ["a.md"]
    let_time_pass(notes)
    del hashed[:]
    assert upserted(read(source, notes)) == []
    assert hashed == []


def edit_in_place(folder: Path) -> None:
    write(folder / "a.md", "again")  # five characters too, and the same time


def swap(folder: Path) -> None:
    (folder / "a.md").rename(folder / "c")
    (folder / "b.md").rename(folder / "a.md")
    (folder / "c").rename(folder / "b.md")


def copy_over(folder: Path) -> None:
    shutil.copy2(write(folder / "new", "again"), folder / "a.md")
    (folder / "new").unlink()


def put_in_place(folder: Path) -> None:
    """As rsync -t does."""
    write(folder / ".new", "again").replace(folder / "a.md")


def swap_folders(folder: Path) -> None:
    (folder / "one").rename(folder / "three")
    (folder / "two").rename(folder / "one")
    (folder / "three").rename(folder / "two")


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (edit_in_place, ["a.md"]),
        (swap, ["a.md", "b.md"]),
        (copy_over, ["a.md"]),
        (put_in_place, ["a.md"]),
        (swap_folders, ["one/c.md", "two/c.md"]),
    ],
)
def test_a_change_that_keeps_size_and_time_is_seen(
    tmp_path: Path, change: Callable[[Path], None], changed: list[str]
) -> None:
    for name, text in {"a.md": "first", "b.md": "other", "one/c.md": "third", "two/c.md": "forth"}.items():
        write(tmp_path / name, text)
    source, notes = FilesSource(name="d", paths=("**/*.md",), root=tmp_path), MemoryNotes()
    read(source, notes)
    let_time_pass(notes)
    change(tmp_path)
    assert upserted(read(source, notes)) == changed


def test_a_restored_file_with_its_old_time_answers_with_its_content(tmp_path: Path, make_kb: MakeKb) -> None:
    write(tmp_path / "docs" / "price.md", "The record costs 100 crowns.")
    kb = make_kb(DOCS)
    summary(kb)
    write(tmp_path / "docs" / "price.md", "The record costs 999 crowns.")
    assert summary(kb)["updated"] == 1
    assert "999" in kb.retrieve("what does the record cost")[0].chunk.text


def test_notes_of_an_earlier_version_have_files_hashed_once_and_not_parsed(tmp_path: Path, hashed: list[str]) -> None:
    write(tmp_path / "a.md", "first")
    source, notes = FilesSource(name="d", paths=("*",), root=tmp_path), MemoryNotes()
    read(source, notes)
    let_time_pass(notes)
    (note,) = notes.kept.values()
    old = {key: (note.head or {})[key] for key in ("signature", "size", "mtime_ns", "hash", "read_at_ns", "kind")}
    notes.keep(replace(note, head=old))
    del hashed[:]
    for _ in range(2):
        events = read(source, notes)
        assert upserted(events) == []
        assert last(events).documents is None
        let_time_pass(notes)
    assert len(hashed) == 1


def test_a_file_that_was_touched_is_not_parsed(tmp_path: Path) -> None:
    file = write(tmp_path / "a.md", "first")
    source, notes = FilesSource(name="d", paths=("*",), root=tmp_path), MemoryNotes()
    read(source, notes)
    os.utime(file, (LONG_AGO + 5, LONG_AGO + 5))
    assert upserted(read(source, notes)) == []


def test_a_file_changed_right_after_it_was_read_is_read_again(tmp_path: Path) -> None:
    """Two changes within one tick of the file system's clock leave the same time."""
    import time

    now = int(time.time())
    source, notes = FilesSource(name="d", paths=("*",), root=tmp_path), MemoryNotes()
    write(tmp_path / "a.md", "first", at=now)
    read(source, notes)
    write(tmp_path / "a.md", "other", at=now)
    assert upserted(read(source, notes)) == ["a.md"]


def test_a_renamed_folder_is_not_embedded_again_and_no_mass_deletion(tmp_path: Path, make_kb: MakeKb) -> None:
    for number in range(10):
        write(tmp_path / "docs" / "old" / f"{number}.md", f"# Record {number}\n\nThe shelf of record {number}.")
    kb = make_kb(DOCS)
    summary(kb)
    (tmp_path / "docs" / "old").rename(tmp_path / "docs" / "new")
    assert summary(kb) == {"read": 10, "added": 10, "updated": 0, "deleted": 10, "chunks_embedded": 0}
    assert {hit.chunk.document.id[:8] for hit in kb.retrieve("shelf", k=20)} == {"docs/new"}


def test_a_table_file_that_loses_rows_or_becomes_empty_forgets_them(tmp_path: Path, make_kb: MakeKb) -> None:
    rows = [f"{i},item {i}" for i in range(20)]
    file = write(tmp_path / "docs" / "a.csv", "id,name\n" + "\n".join(rows))
    kb = make_kb(DOCS)
    assert summary(kb)["added"] == 20
    write(file, "id,name\n" + "\n".join(rows[:-2]), at=LONG_AGO + 1)
    assert (summary(kb)["deleted"], kb.services.collection.current().index.count()) == (2, 18)
    write(file, "", at=LONG_AGO + 2)
    assert summary(kb, allow_mass_delete=True)["deleted"] == 18
    assert summary(kb) == {"read": 0, "added": 0, "updated": 0, "deleted": 0, "chunks_embedded": 0}


def test_a_csv_that_becomes_text_leaves_no_rows_behind(tmp_path: Path, make_kb: MakeKb) -> None:
    write(tmp_path / "docs" / "a.json", '[{"a": 1}, {"a": 2}]')
    kb = make_kb(DOCS)
    summary(kb)
    write(tmp_path / "docs" / "a.json", '{"opening": "at ten"}', at=LONG_AGO + 1)
    assert summary(kb, allow_mass_delete=True) == {
        "read": 1, "added": 1, "updated": 0, "deleted": 2, "chunks_embedded": 1
    }  # fmt: skip


def test_a_file_reached_by_links_is_one_document_and_loops_end(tmp_path: Path) -> None:
    write(tmp_path / "docs" / "real.md", "text")
    (tmp_path / "docs" / "alias.md").symlink_to("real.md")
    (tmp_path / "docs" / "loop").symlink_to(".")
    (tmp_path / "docs" / "broken.md").symlink_to("nowhere")
    write(tmp_path / "elsewhere" / "far.md", "far text")
    (tmp_path / "docs" / "far.md").symlink_to(tmp_path / "elsewhere" / "far.md")
    source = FilesSource(name="d", paths=("docs",), root=tmp_path)
    assert upserted(read(source, MemoryNotes())) == ["docs/far.md", "docs/real.md"]


def test_a_table_file_changed_while_it_is_read_is_read_again_by_the_next_run(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "id,name\n" + "\n".join(f"{i},first" for i in range(5000)))
    source, notes = FilesSource(name="d", paths=("*",), root=tmp_path), MemoryNotes()
    events = source.read(notes)
    begun = [next(events) for _ in range(10)]
    write(file, "id,name\n" + "\n".join(f"{i},second" for i in range(5000)), at=LONG_AGO + 9)
    rest = list(events)
    assert any(isinstance(event, Unreadable) and "changed while it was read" in event.reason for event in rest)
    assert not any(isinstance(event, Listed) for event in [*begun, *rest])
    texts = [event.document.text for event in read(source, notes) if isinstance(event, Upsert)]
    assert all("second" in text for text in texts)
    assert len(texts) == 5000


def test_a_large_table_file_is_read_in_constant_memory(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,name\n" + "\n".join(f"{i},item number {i}" for i in range(20_000)))
    source = FilesSource(name="d", paths=("*",), root=tmp_path)
    tracemalloc.start()
    count = sum(isinstance(event, Upsert) for event in source.read(MemoryNotes()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 5_000_000


def test_thousands_of_small_files_are_followed(tmp_path: Path) -> None:
    for number in range(3000):
        write(tmp_path / f"{number % 50}" / f"{number}.md", f"text {number}")
    source, notes = FilesSource(name="d", paths=("**/*",), root=tmp_path), MemoryNotes()
    assert len(upserted(read(source, notes))) == 3000
    write(tmp_path / "7" / "7.md", "new text", at=LONG_AGO + 1)
    (tmp_path / "8" / "8.md").unlink()
    events = read(source, notes)
    assert upserted(events) == ["7/7.md"]
    assert "8/8.md" not in last(events).scopes


def test_a_file_that_could_not_be_parsed_and_is_gone_leaves_the_quarantine(tmp_path: Path, make_kb: MakeKb) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("a.md", "b.md"):
        (tmp_path / "docs" / name).write_text("# Page\n\nText.\n")
    (tmp_path / "docs" / "bad.pdf").write_bytes(b"%PDF-1.4 broken")
    kb = make_kb('[sources.docs]\nkind = "files"\npaths = ["docs"]\n')
    assert kb.ingest()[0].quarantined == 1
    (tmp_path / "docs" / "bad.pdf").unlink()
    assert kb.ingest()[0].quarantined == 0


def test_a_file_that_cannot_be_parsed_stays_in_quarantine_until_it_changes(tmp_path: Path, make_kb: MakeKb) -> None:
    write(tmp_path / "docs" / "good.md", "Parking is free.")
    bad = write(tmp_path / "docs" / "bad.json", "{")
    kb = make_kb(DOCS)
    for _ in range(2):  # the second run does not read it again, and does not forget it
        (report,) = kb.ingest()
        assert report.quarantined == 1
    write(bad, '{"a": 1}', at=LONG_AGO + 1)
    (report,) = kb.ingest()
    assert (report.quarantined, report.added) == (0, 1)


def test_retry_reads_what_was_set_aside_again(tmp_path: Path, make_kb: MakeKb) -> None:
    write(tmp_path / "docs" / "bad.json", "{")
    kb = make_kb(DOCS)
    kb.ingest()
    assert kb.ingest()[0].unreadable == []
    assert [entry["document_id"] for entry in kb.ingest(retry=True)[0].unreadable] == ["docs/bad.json"]


# How many documents a source holds.


def held(source: FilesSource, notes: MemoryNotes) -> int | None:
    return last(read(source, notes)).documents


def test_a_read_says_how_many_documents_the_source_holds(tmp_path: Path) -> None:
    write(tmp_path / "a.md", "first")
    table = write(tmp_path / "b.csv", "id,name\n1,one\n2,two\n3,three\n")
    write(tmp_path / "empty.txt", "")
    source, notes = FilesSource(name="d", paths=("*",), root=tmp_path), MemoryNotes()
    assert held(source, notes) == 4
    let_time_pass(notes)
    assert held(source, notes) == 4  # by the notes
    write(table, "id,name\n1,one\n2,two\n", at=LONG_AGO + 1)
    assert held(source, notes) == 3
    (tmp_path / "a.md").unlink()
    assert held(source, notes) == 2


def test_a_read_that_met_something_unreadable_does_not_say_how_many(tmp_path: Path) -> None:
    write(tmp_path / "a.md", "first")
    bad = write(tmp_path / "bad.json", "{")
    source, notes = FilesSource(name="d", paths=("*",), root=tmp_path), MemoryNotes()
    assert held(source, notes) is None
    let_time_pass(notes)
    assert held(source, notes) is None  # what was indexed of it before is not known here
    write(bad, '[{"a": 1}, {"a": 2}]', at=LONG_AGO + 1)
    assert held(source, notes) == 3
    os.rename(tmp_path / "a.md", os.fsencode(tmp_path) + b"/a\xff.md")
    assert held(source, notes) is None


# Places that cannot be read, and names that are no text.


class Restricted(Catalogue):
    """Sources that are read as another user than the one who keeps the index."""

    def connector(self, name: str) -> Any:
        return AsNobody(super().connector(name))


@pytest.fixture
def restricted(make_kb: MakeKb) -> Iterator[tuple[KnowledgeBase, Path]]:
    """A knowledge base of six files in three folders, and the folder they are in."""
    with open_folder() as folder:
        for place in ("k1", "k2", "k3"):
            for number in range(2):
                write(folder / "docs" / place / f"{number}.md", f"# Page {number} of {place}\n\nText about {place}.")
        kb = make_kb(DOCS, name=f"{folder}/citewell.toml")
        made = kb.services
        sources = Restricted(made.settings, indexed=made.overview().sources)
        syncer = Syncer(made.ledger, made.collection, sources, made.settings, counter=made.counter)
        kb.services = replace(made, catalogue=sources, syncer=syncer)
        assert kb.ingest()[0].added == 6
        yield kb, folder / "docs"


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("mode", [0, 0o444, 0o311])
def test_what_was_indexed_of_a_locked_folder_stays(
    restricted: tuple[KnowledgeBase, Path], mode: int, full: bool
) -> None:
    kb, docs = restricted
    (docs / "k3").chmod(mode)
    write(docs / "k1" / "new.md", "A new page.")
    report = kb.ingest(full=full)[0]
    assert (report.added, report.deleted, report.quarantined) == (1, 0, 1)
    assert report.unreadable[0]["document_id"] == "docs/k3"
    assert any("k3" in hit.chunk.text for hit in kb.retrieve("text about k3"))
    (docs / "k3").chmod(0o755)
    report = kb.ingest()[0]
    assert (report.deleted, report.quarantined) == (0, 0)


def test_all_that_was_indexed_stays_when_the_folder_itself_is_locked(restricted: tuple[KnowledgeBase, Path]) -> None:
    kb, docs = restricted
    for mode in (0, 0o444):
        docs.chmod(mode)
        for full in (False, True):
            report = kb.ingest(full=full)[0]
            assert (report.deleted, report.quarantined, kb.services.ledger().counts("docs")[0]) == (0, 1, 6)


def test_a_link_that_leads_into_a_locked_folder_keeps_its_document(restricted: tuple[KnowledgeBase, Path]) -> None:
    kb, docs = restricted
    write(docs.parent / "far" / "page.md", "A page from afar.")
    (docs / "link.md").symlink_to(docs.parent / "far" / "page.md")
    assert kb.ingest()[0].added == 1
    (docs.parent / "far").chmod(0)
    report = kb.ingest()[0]
    assert (report.deleted, [entry["document_id"] for entry in report.unreadable]) == (0, ["docs/link.md"])


def test_a_folder_elsewhere_is_not_reached_through_the_configurations_folder() -> None:
    with open_folder() as folder:
        write(folder / "docs" / "a.md", "A page.")
        (folder / "app").mkdir(mode=0o700)
        source = FilesSource(name="d", paths=(f"{folder}/docs",), root=folder / "app")
        with nobody():
            assert upserted(list(source.read())) == ["../docs/a.md"]


def test_a_label_and_an_exclusion_hold_for_a_file_whose_folder_cannot_be_listed() -> None:
    with open_folder() as root:
        write(root / "docs" / "secret" / "a.md", "secret")
        write(root / "docs" / "private" / "b.md", "private")
        for place in ("secret", "private"):
            (root / "docs" / place).chmod(0o311)
        source = FilesSource(
            name="d",
            paths=("docs/*/a.md", "docs/private/b.md"),
            root=root,
            exclude=("docs/private/*",),
            labels=FileVisibility(rules=(PathRule(path="docs/secret/*.md", acl=("board",)),)),
        )
        with nobody():
            found = {e.document.id: e.document.acl for e in source.read() if isinstance(e, Upsert)}
        assert found == {"docs/secret/a.md": ("board",)}


@pytest.mark.parametrize("name", [b"bad\xff.md", b"\xc3.csv", b"\xed\xa0\x80.md", b"k\xfc/a.md", b"\xff\xfe"])
def test_a_name_that_is_not_utf8_is_set_aside_until_it_is_renamed(tmp_path: Path, make_kb: MakeKb, name: bytes) -> None:
    write(tmp_path / "docs" / "ok.md", "Parking is free.")
    there = os.path.join(os.fsencode(tmp_path), b"docs", name)
    os.makedirs(os.path.dirname(there), exist_ok=True)
    with open(there, "w") as file:
        file.write("The shop opens at ten.")
    kb = make_kb(DOCS)
    for full in (False, False, True):
        report = kb.ingest(full=full)[0]
        assert (report.deleted, report.quarantined, len(report.unreadable)) == (0, 1, 1)
        assert "rename it" in report.unreadable[0]["reason"]
    assert kb.retrieve("parking")[0].chunk.document.id == "docs/ok.md"
    os.renames(there, os.path.join(os.fsencode(tmp_path), b"docs", b"good.md"))
    report = kb.ingest()[0]
    assert (report.added, report.deleted, report.quarantined) == (1, 0, 0)


def test_a_file_renamed_to_what_is_no_utf8_is_gone_under_its_old_name(tmp_path: Path, make_kb: MakeKb) -> None:
    for number in range(10):
        write(tmp_path / "docs" / f"{number}.md", f"Page {number}.")
    kb = make_kb(DOCS)
    summary(kb)
    os.rename(tmp_path / "docs" / "3.md", os.fsencode(tmp_path) + b"/docs/3\xff.md")
    report = kb.ingest()[0]
    assert (report.deleted, report.quarantined) == (1, 1)
    os.unlink(os.fsencode(tmp_path) + b"/docs/3\xff.md")
    assert kb.ingest()[0].quarantined == 0


def test_the_command_reads_the_others_and_tells_the_name(tmp_path: Path) -> None:
    write(tmp_path / "docs" / "ok.md", "Parking is free.")
    os.rename(write(tmp_path / "docs" / "x", "Not read."), os.fsencode(tmp_path) + b"/docs/bad\xff\xfe.md")
    (tmp_path / "citewell.toml").write_text(DOCS)
    try:
        done = citewell("ingest", config=tmp_path / "citewell.toml")
        assert done.returncode == 3, done.stderr
        assert "1 added" in done.stdout
        assert r"docs/bad\xff\xfe.md" in done.stdout
        assert "Traceback" not in done.stderr
        assert "ok.md" in citewell("retrieve", "parking", config=tmp_path / "citewell.toml").stdout
    finally:
        stop_engine(tmp_path / ".citewell" / "qdrant")


# Parsing in a process of its own.


def test_a_parser_over_its_time_is_ended_and_the_next_file_is_read() -> None:
    child = ParserProcess(timeout_s=0.001, memory_bytes=1 << 30)
    guide = SAMPLE / "handbook" / "buying-guide.pdf"
    with pytest.raises(CannotParse, match=r"not parsed within 0\.001 s"):
        list(child.parse(guide))
    child = ParserProcess(timeout_s=60, memory_bytes=1 << 30)
    assert len(list(child.parse(guide))) == 1
    child.close()


def test_a_file_that_wants_all_the_memory_is_set_aside(tmp_path: Path) -> None:
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


def test_limits_come_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "citewell.toml").write_text(DOCS + 'parse_timeout = "3s"\nparse_memory_mb = 300\nevery = "5m"\n')
    settings = load_settings(tmp_path / "citewell.toml")
    source = connector_of("docs", settings.sources["docs"], settings.root, settings.own_files)
    assert isinstance(source, FilesSource)
    assert (source.parse_timeout, source.parse_memory_mb) == (3.0, 300)
    assert settings.sources["docs"].every == 300


def test_records_of_a_file_whose_read_was_broken_off_go_when_it_has_none_any_more(
    tmp_path: Path, make_kb: MakeKb
) -> None:
    """The first read forgot the file's note, so the next one cannot tell it from a new file without asking."""
    other = write(tmp_path / "docs" / "b.csv", "id,note\n1,one\n2,two\n")
    file = write(tmp_path / "docs" / "a.csv", "id,note\n1,one\n2,two\n3,three\n")
    kb = make_kb(DOCS)
    kb.ingest()
    with kb.services.ledger().lease("docs") as lease:
        kb.services.ledger().commit(lease, Changes(listings=["docs/a.csv"]))
        kb.services.ledger().forget_scopes(lease, ["docs/b.csv"], [])
    write(file, "id,note\n", at=LONG_AGO + 1)
    other.unlink()
    write(tmp_path / "docs" / "b.csv", "", at=LONG_AGO + 1)
    write(tmp_path / "docs" / "c.md", "Parking is free.")
    (report,) = kb.ingest()
    assert (report.deleted, report.read, report.error, kb.services.collection.current().index.count()) == (5, 1, "", 1)
    assert kb.ingest()[0].deleted == 0

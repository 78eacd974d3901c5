"""Files as a source: what is read, what is noted, and what is read again."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from connectors import parsers
from connectors.files.limits import PARSE_MEMORY_MB, PARSE_TIMEOUT
from connectors.files.source import FilesSource
from connectors.files.visibility import FileVisibility, PathRule
from connectors.parsers.parsed import Hidden, Item, Parsed
from rag.errors import SourceError
from rag.events import (
    Checkpoint,
    Expected,
    Listed,
    Listing,
    Notice,
    Passed,
    SnapshotComplete,
    SourceEvent,
    Unreadable,
    Upsert,
)
from tests.support.following import Follower
from tests.support.users import nobody, open_folder

LONG_AGO = 1_600_000_000

Event = TypeVar("Event", bound=SourceEvent)


def put(root: Path, name: str, content: str | bytes, *, at: int = LONG_AGO) -> Path:
    """Write a file that was last changed at a time, in seconds since the epoch."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (at, at))
    return path


def source(root: Path, **options: Any) -> FilesSource:
    return FilesSource(name="docs", paths=options.pop("paths", ("**/*",)), root=root, **options)


def of(events: Sequence[SourceEvent], kind: type[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


def end(events: Sequence[SourceEvent]) -> SnapshotComplete:
    """The last event, which says that the read is complete."""
    last = events[-1]
    assert isinstance(last, SnapshotComplete)
    return last


def settle(follower: Follower) -> None:
    """Have it that all was read long after it had changed, so that a file's time tells whether it changed since."""
    for key, note in follower.notes.kept.items():
        head = {**(note.head or {}), "read_at_ns": time.time_ns() + 10 * 1_000_000_000}
        follower.notes.kept[key] = replace(note, head=head)


def read_once(root: Path, **options: Any) -> Follower:
    follower = Follower(source=source(root, **options))
    follower.read()
    settle(follower)
    return follower


Reads = Callable[[Path], Iterator[Item]]


@pytest.fixture
def odd_files(monkeypatch: pytest.MonkeyPatch) -> Callable[[Reads], None]:
    """Registers a parser of files of a kind of their own, `.odd`."""

    def register(reads: Reads) -> None:
        def parse(path: Path, *, hidden: bool = False) -> Iterator[Item]:
            return reads(path)

        monkeypatch.setitem(parsers._BY_EXTENSION, ".odd", parse)

    return register


def test_a_file_is_a_document_with_its_place_and_its_time(tmp_path: Path) -> None:
    put(tmp_path, "a/b.md", "# Top\n")
    events = list(source(tmp_path).read())
    (upsert,) = of(events, Upsert)
    document = upsert.document
    assert (document.id, document.scope, document.source, document.title) == ("a/b.md", "a/b.md", "docs", "Top")
    assert document.uri == (tmp_path / "a/b.md").resolve().as_uri()
    assert (document.updated_at, document.kind, document.primary_key) == (LONG_AGO, "file", None)
    assert events[-1] == SnapshotComplete(scopes=frozenset({"a/b.md"}), changes_only=True, documents=1)


def test_a_file_without_a_title_is_called_by_its_name(tmp_path: Path) -> None:
    put(tmp_path, "a/b.txt", "text")
    assert [event.document.title for event in of(list(source(tmp_path).read()), Upsert)] == ["b.txt"]


def test_a_record_is_a_document_of_its_file(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "name,price\nx,1\ny,2\n")
    events = list(source(tmp_path).read())
    one, two = (event.document for event in of(events, Upsert))
    assert (one.id, two.id) == ("a.csv#row=2", "a.csv#row=3")
    assert (one.kind, one.primary_key, one.title, one.key_text) == ("row", {"row": 2}, "a.csv (row=2)", "a.csv")
    assert one.uri.endswith("a.csv#row=2")
    assert [type(e) for e in events if isinstance(e, Listing | Listed)] == [Listing, Listed]
    assert end(events).documents == 2


def test_a_file_that_looks_as_it_did_is_not_opened(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "text")
    follower = read_once(tmp_path)
    events = follower.read()
    assert of(events, Checkpoint) == []  # its note stands as it is
    assert end(events).documents == 1
    assert set(follower.documents) == {"a.md"}


def test_a_file_that_changed_a_moment_before_it_was_read_is_looked_at_again(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "text")
    follower = Follower(source=source(tmp_path))
    follower.read()
    events = follower.read()
    assert (len(of(events, Checkpoint)), of(events, Upsert)) == (1, [])


def test_a_file_with_the_same_content_is_not_parsed_again(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "text")
    follower = read_once(tmp_path)
    put(tmp_path, "a.md", "text", at=LONG_AGO + 9)
    events = follower.read()
    assert (len(of(events, Checkpoint)), of(events, Upsert), end(events).documents) == (1, [], 1)


@pytest.mark.parametrize(
    "options", [{"labels": FileVisibility(acl=("staff",))}, {"labels": FileVisibility(tags=("x",))}, {"hidden": True}]
)
def test_a_file_is_read_again_when_what_its_documents_hang_on_changed(tmp_path: Path, options: dict[str, Any]) -> None:
    put(tmp_path, "a.md", "text")
    follower = read_once(tmp_path)
    follower.source = source(tmp_path, **options)
    assert follower.changed() == {"a.md"}


def test_a_file_that_moved_says_what_it_was_called(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "text")
    put(tmp_path, "b.csv", "name\nx\n")
    follower = Follower(source=source(tmp_path))
    follower.read()
    (tmp_path / "a.md").rename(tmp_path / "c.md")
    (tmp_path / "b.csv").rename(tmp_path / "d.csv")
    moved = {event.document.id: event.moved_from for event in of(follower.read(), Upsert)}
    assert moved == {"c.md": "a.md", "d.csv#row=2": "b.csv#row=2"}
    assert set(follower.documents) == {"c.md", "d.csv#row=2"}


def test_a_copy_of_a_file_that_is_still_there_has_not_moved(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "text")
    follower = Follower(source=source(tmp_path))
    follower.read()
    put(tmp_path, "b.md", "text")
    assert [event.moved_from for event in of(follower.read(), Upsert)] == [""]


def test_records_that_a_file_does_not_have_any_more_go(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "name,price\nx,1\ny,2\n")
    follower = Follower(source=source(tmp_path))
    follower.read()
    put(tmp_path, "a.csv", "name,price\nx,1\n")
    follower.read()
    assert set(follower.documents) == {"a.csv#row=2"}


def test_records_go_when_the_file_is_a_text_now(tmp_path: Path) -> None:
    put(tmp_path, "a.json", '[{"a": 1}]')
    follower = Follower(source=source(tmp_path))
    follower.read()
    put(tmp_path, "a.json", '{"a": 1}')
    follower.read()
    assert set(follower.documents) == {"a.json"}


def test_a_file_that_became_empty_has_no_document(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "text")
    follower = Follower(source=source(tmp_path))
    follower.read()
    put(tmp_path, "a.md", "")
    events = follower.read()
    assert of(events, Unreadable)[0].ignored
    assert follower.documents == {}
    assert of(follower.read(), Listing) == []  # it had nothing before, so nothing can go


def test_an_ignored_file_that_was_never_read_needs_no_listing(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "")
    assert of(list(source(tmp_path).read()), Listing) == []


def test_a_damaged_file_keeps_what_was_indexed_of_it_and_heals(tmp_path: Path) -> None:
    put(tmp_path, "a.json", '{"a": 1}')
    follower = Follower(source=source(tmp_path))
    follower.read()
    put(tmp_path, "a.json", "{")
    events = follower.read()
    assert "JSON" in of(events, Unreadable)[0].reason
    assert end(events).documents is None
    assert set(follower.documents) == {"a.json"}
    put(tmp_path, "a.json", '[{"a": 2}]')
    follower.read()
    assert set(follower.documents) == {"a.json#item=1"}


def test_a_file_of_which_others_may_see_what_was_indexed_is_withdrawn_when_it_cannot_be_read(tmp_path: Path) -> None:
    put(tmp_path, "a.json", '{"a": 1}')
    follower = Follower(source=source(tmp_path))
    follower.read()
    put(tmp_path, "a.json", "{")
    follower.source = source(tmp_path, labels=FileVisibility(acl=("staff",)))
    assert of(follower.read(), Unreadable)[0].withdrawn
    assert follower.documents == {}


def test_a_first_read_that_was_broken_off_has_the_file_listed(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "name\nx\ny\n")
    follower = Follower(source=source(tmp_path))
    follower.read(stop_after=4)
    put(tmp_path, "a.csv", '"just text')
    follower.read()
    assert not any(document_id.endswith("row=3") for document_id in follower.documents)


def test_a_file_that_was_half_read_and_is_empty_now_has_no_document(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "name\nx\ny\n")
    follower = Follower(source=source(tmp_path))
    follower.read(stop_after=4)
    assert follower.documents != {}
    put(tmp_path, "a.csv", "")
    follower.read()
    assert follower.documents == {}


@pytest.mark.parametrize(("acl", "withdrawn"), [((), []), (("staff",), ["locked/a.md"])])
def test_a_file_out_of_reach_is_withdrawn_only_when_others_may_see_it_now(
    acl: tuple[str, ...], withdrawn: list[str]
) -> None:
    with open_folder() as root:
        put(root, "locked/a.md", "text")
        put(root, "b.md", "text")
        follower = read_once(root)
        (root / "locked").chmod(0)
        with nobody():
            events = list(source(root, labels=FileVisibility(acl=acl)).read(follower.notes))
    assert [event.document_id for event in of(events, Unreadable) if event.withdrawn] == withdrawn
    assert end(events).scopes == {"b.md", "locked", "locked/a.md"}
    assert end(events).documents is None


def test_a_file_with_an_error_of_a_library_is_told_and_the_others_go_on(tmp_path: Path, odd_files: Any) -> None:
    def fails(path: Path) -> Iterator[Item]:
        raise RuntimeError("a bug of a library")

    odd_files(fails)
    put(tmp_path, "a.odd", "text")
    put(tmp_path, "b.md", "text")
    events = list(source(tmp_path).read())
    assert "RuntimeError: a bug of a library" in of(events, Unreadable)[0].reason
    assert [event.document.id for event in of(events, Upsert)] == ["b.md"]


def test_a_parser_that_does_not_start_ends_the_read(tmp_path: Path, odd_files: Any) -> None:
    def fails(path: Path) -> Iterator[Item]:
        raise SourceError("it does not start")

    odd_files(fails)
    put(tmp_path, "a.odd", "text")
    with pytest.raises(SourceError):
        list(source(tmp_path).read())


def replaced(path: Path, read: list[str], *, times: int) -> Iterator[Item]:
    """A file that is replaced so many times while it is read. read: the texts that were read of it."""
    text = path.read_text()
    read.append(text)
    if len(read) <= times:
        put(path.parent, path.name, f"version {len(read)}")
    yield Parsed(text=text)


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path, odd_files: Any) -> None:
    read: list[str] = []
    odd_files(partial(replaced, read=read, times=1))
    put(tmp_path, "a.odd", "first")
    events = list(source(tmp_path).read())
    assert read == ["first", "version 1"]
    assert [event.document.text for event in of(events, Upsert)] == ["version 1"]


def test_a_file_that_is_replaced_again_and_again_is_left_for_the_next_run(tmp_path: Path, odd_files: Any) -> None:
    odd_files(partial(replaced, read=[], times=9))
    put(tmp_path, "a.odd", "first")
    events = list(source(tmp_path).read())
    assert "changed while it was read" in of(events, Unreadable)[0].reason
    assert of(events, Checkpoint) == []


def test_a_file_that_is_gone_before_it_is_read_is_told(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "text")
    put(tmp_path, "b.md", "text")
    events = []
    for event in source(tmp_path).read():
        events.append(event)
        (tmp_path / "b.md").unlink(missing_ok=True)
    assert [event.document_id for event in of(events, Unreadable)] == ["b.md"]


def test_progress_is_told_in_bytes_that_add_up(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "a,b\n" + ("x" * 40 + ",1\n") * 381)  # three bytes over two buffers
    put(tmp_path, "b.md", "text")
    events = list(source(tmp_path).read())
    (expected,) = of(events, Expected)
    assert expected.size_bytes == sum(event.size_bytes for event in of(events, Passed)) == 16_387 + 4
    assert len(of(events, Passed)) > 2


def test_rules_say_who_may_see_a_file_and_one_that_names_none_is_told(tmp_path: Path) -> None:
    put(tmp_path, "open/a.md", "text")
    put(tmp_path, "b.md", "text")
    rules = (PathRule(path="open/*", acl=("*",)), PathRule(path="nothing/*", acl=("x",)))
    events = list(source(tmp_path, labels=FileVisibility(acl=("staff",), rules=rules)).read())
    assert {event.document.id: event.document.acl for event in of(events, Upsert)} == {
        "open/a.md": (),
        "b.md": ("staff",),
    }
    assert [("nothing/*" in event.text) for event in of(events, Notice)] == [True]


def test_what_is_left_out_is_told_once(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "text")
    put(tmp_path, "id_rsa", "key")
    events = list(source(tmp_path).read())
    assert len(of(events, Notice)) == 1
    assert end(events).scopes == {"a.md"}


def test_include_and_own_files_are_heeded(tmp_path: Path) -> None:
    for name in ("a.md", "secrets.toml", "citewell.md"):
        put(tmp_path, name, "text")
    events = list(source(tmp_path, include=("secrets.toml",), own=(tmp_path / "citewell.md",)).read())
    assert end(events).scopes == {"a.md", "secrets.toml"}


def test_a_check_says_how_many_files_there_are(tmp_path: Path) -> None:
    put(tmp_path, "a.md", "text")
    assert source(tmp_path).check() == "**/*: 1 files"
    with pytest.raises(SourceError, match="no file matches"):
        source(tmp_path, paths=("*.pdf",)).check()


def test_hidden_parts_are_told_with_the_way_to_read_them(tmp_path: Path, odd_files: Any) -> None:
    odd_files(lambda path: iter([Hidden(what="1 hidden sheet is"), Parsed(text="text")]))
    put(tmp_path, "a.odd", "text")
    events = list(source(tmp_path).read())
    assert "hidden = true" in of(events, Notice)[0].text
    assert len(of(events, Upsert)) == 1


def test_limits_of_parsing_have_one_default(tmp_path: Path) -> None:
    assert (source(tmp_path).parse_timeout, source(tmp_path).parse_memory_mb) == (PARSE_TIMEOUT, PARSE_MEMORY_MB)

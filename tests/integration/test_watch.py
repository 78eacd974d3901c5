"""Watching folders: what is put in their place, and what happens to the index meanwhile, is followed."""

import itertools
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from indexes.embedders.unpacked import unpacked_model
from service.knowledge_base import KnowledgeBase, connect
from service.settings.load import load_settings
from service.syncing.background.schedule import Schedule
from service.syncing.background.watching import follow_files
from tests.integration.test_run_commands import committed, start
from tests.support.command import citewell
from tests.support.databases import change, sqlite_with
from tests.support.embedded import stop_engine
from tests.support.knowledge_bases import MakeKb
from tests.support.running import wait_until
from tests.support.users import nobody, open_folder

DOCS = '[sources.docs]\nkind = "files"\npaths = ["docs"]\nwatch = true\n'


def write(path: Path, text: str = "Parking is free.") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@contextmanager
def watched(kb: KnowledgeBase, sync: Callable[[str], bool], *, rescan_s: float = 300) -> Iterator[None]:
    schedule = Schedule(
        kb.settings.sources,
        sync,
        root=kb.settings.root,
        data_dir=kb.settings.data_dir,
        note_next=kb.services.overview().set_next_run,
        rescan_s=rescan_s,
    )
    schedule.start()
    try:
        yield
    finally:
        schedule.stop()


class Seen:
    """A sync that only remembers the files that it met, or that there were none."""

    def __init__(self, kb: KnowledgeBase) -> None:
        self._kb = kb
        self.reads: list[set[str]] = []

    def __call__(self, name: str) -> bool:
        root = self._kb.settings.root
        self.reads.append({path.name for path in root.rglob("*.md")})
        return True

    def wait_for(self, name: str) -> None:
        wait_until(lambda: self.reads and name in self.reads[-1], timeout_s=20, what=f"a sync that sees {name}")


def deploy(root: Path, *, release: str) -> None:
    write(root / "releases" / release / "docs" / f"of-{release}.md")
    (root / "next").symlink_to(f"releases/{release}")
    (root / "next").replace(root / "current")


def swap_folder(root: Path) -> None:
    (root / "docs").rename(root / "docs.old")
    (root / "docs").mkdir()


def make_anew(root: Path) -> None:
    """The new folder may get the old one's inode."""
    shutil.rmtree(root / "docs")
    (root / "docs").mkdir()


def swap_above(root: Path) -> None:
    (root / "deep").rename(root / "deep.old")
    (root / "deep" / "docs").mkdir(parents=True)


def point_elsewhere(root: Path) -> None:
    deploy(root, release="43")


@pytest.mark.parametrize(
    ("path", "replace"),
    [
        ("docs", swap_folder),
        ("docs/**/*.md", make_anew),
        ("deep/docs", swap_above),
        ("current/docs/*.md", point_elsewhere),
    ],
)
def test_a_folder_that_was_replaced_is_followed(tmp_path: Path, path: str, replace: Callable[[Path], None]) -> None:
    write(tmp_path / "docs" / "first.md")
    write(tmp_path / "deep" / "docs" / "first.md")
    deploy(tmp_path, release="42")
    (tmp_path / "citewell.toml").write_text(DOCS.replace('"docs"]', f'"{path}"]'))
    with KnowledgeBase(load_settings(tmp_path / "citewell.toml")) as kb, watched(kb, seen := Seen(kb)):
        wait_until(lambda: len(seen.reads) == 1, what="the first sync")
        replace(tmp_path)
        wait_until(lambda: len(seen.reads) == 2, timeout_s=20, what="the sync of what was put there")
        folder = tmp_path / path.removesuffix("/**/*.md").removesuffix("/*.md")
        write(folder / "second.md")
        seen.wait_for("second.md")
        write(folder / "third.md")
        seen.wait_for("third.md")


def test_a_folder_that_is_away_for_a_moment_is_followed_again_and_nothing_is_deleted(
    tmp_path: Path, make_kb: MakeKb
) -> None:
    write(tmp_path / "docs" / "a.md")
    kb = make_kb(DOCS)
    failures: list[str] = []

    def sync(name: str) -> bool:
        try:
            kb.ingest(name)
        except Exception as err:  # noqa: BLE001 whatever it is, the test looks at it
            failures.append(str(err))
            return False
        return True

    with watched(kb, sync):
        wait_until(lambda: kb.services.ledger().counts("docs")[0] == 1, timeout_s=120, what="the first sync")
        (tmp_path / "docs").rename(tmp_path / "away")
        wait_until(lambda: failures, timeout_s=20, what="a sync without the folder")
        assert "no file matches" in failures[0]
        assert kb.services.ledger().counts("docs")[0] == 1
        write(tmp_path / "away" / "b.md", "The shop opens at ten.")
        (tmp_path / "away").rename(tmp_path / "docs")
        wait_until(lambda: kb.services.ledger().counts("docs")[0] == 2, timeout_s=20, what="the sync after its return")
        write(tmp_path / "docs" / "c.md", "The shop closes at six.")
        wait_until(lambda: kb.services.ledger().counts("docs")[0] == 3, timeout_s=20, what="the sync of a new file")


def test_a_watched_folder_is_read_now_and_then_though_nothing_is_told(tmp_path: Path) -> None:
    write(tmp_path / "docs" / "a.md")
    (tmp_path / "citewell.toml").write_text(DOCS)
    with KnowledgeBase(load_settings(tmp_path / "citewell.toml")) as kb, watched(kb, seen := Seen(kb), rescan_s=0.1):
        wait_until(lambda: len(seen.reads) == 3, what="the third sync")


def test_a_sync_that_fails_in_whatever_way_is_tried_again(tmp_path: Path) -> None:
    write(tmp_path / "docs" / "a.md")
    (tmp_path / "citewell.toml").write_text(DOCS)
    tries: list[str] = []

    def sync(name: str) -> bool:
        tries.append(name)
        raise PermissionError(13, "Permission denied")

    with KnowledgeBase(load_settings(tmp_path / "citewell.toml")) as kb, watched(kb, sync):
        wait_until(lambda: len(tries) == 2, what="another try")


@pytest.mark.parametrize("path", [".wiki", "a.md", "docs/[ab]*", "late", "**/*.md"])
def test_every_kind_of_path_is_watched(tmp_path: Path, path: str) -> None:
    for name in (".wiki/a.md", "docs/a.md", "a.md"):
        write(tmp_path / name)
    (tmp_path / "citewell.toml").write_text(DOCS.replace('"docs"]', f'"{path}"]'))
    with KnowledgeBase(load_settings(tmp_path / "citewell.toml")) as kb, watched(kb, seen := Seen(kb)):
        wait_until(lambda: len(seen.reads) == 1, what="the first sync")
        place = {".wiki": ".wiki/b.md", "a.md": "a.md", "late": "late/b.md"}.get(path, "docs/b.md")
        write(tmp_path / place, "changed")
        wait_until(lambda: len(seen.reads) == 2, timeout_s=20, what="the sync of the change")


def test_a_locked_folder_does_not_keep_the_others_from_being_watched() -> None:
    with open_folder() as folder:
        for place in ("one", "locked", "two"):
            write(folder / place / "a.md")
        (folder / "locked").chmod(0)
        stop = threading.Event()
        news = follow_files([folder], ignore=folder / ".citewell", stop=stop)

        def told(path: Path) -> set[str]:
            write(path)
            return set(itertools.islice(news, 4))

        folder.chmod(0o777)
        for place in ("one", "two"):
            (folder / place).chmod(0o777)
        with nobody():
            assert next(news) == "begun"
            assert "changed" in told(folder / "one" / "b.md")
            assert "changed" in told(folder / "two" / "b.md")
            assert "begun" in told(folder / "three" / "b.md")
            assert "changed" in told(folder / "three" / "c.md")
        stop.set()


def test_hidden_files_and_our_own_data_are_no_news(tmp_path: Path) -> None:
    stop = threading.Event()
    news = follow_files([tmp_path], ignore=tmp_path / "data", stop=stop)
    for name in ("data/x", "docs/x"):
        write(tmp_path / name)
    assert next(news) == "begun"
    for name in ("data/y", "docs/.y", ".git/y"):
        write(tmp_path / name)
    assert {next(news) for _ in range(4)} == {""}
    stop.set()


def test_watching_goes_on_after_a_re_index(tmp_path: Path) -> None:
    """The installed command: the index that it began with is not there any more."""
    write(tmp_path / "docs" / "a.md")
    url = (
        f"sqlite:///{sqlite_with(tmp_path / 'shop.sqlite', 'CREATE TABLE album (id INTEGER PRIMARY KEY, title TEXT)')}"
    )
    change(url, "INSERT INTO album VALUES (1, 'Let There Be Rock')")
    config = tmp_path / "citewell.toml"
    config.write_text(f'{DOCS}[sources.shop]\nkind = "sql"\nurl = "{url}"\nevery = "1s"\n')
    (tmp_path / "other-e5").symlink_to(unpacked_model())
    process = start(config, "ingest", "--watch")
    try:
        wait_until(lambda: committed(tmp_path) == 2, timeout_s=90, what="the first syncs")
        command = ("reindex", "--model", str(tmp_path / "other-e5"))
        # 75: the source, which is read every second, is being read at this moment.
        wait_until(lambda: citewell(*command, config=config).returncode == 0, timeout_s=120, what="a moment of rest")
        write(tmp_path / "docs" / "b.md", "The shop opens at ten.")
        change(url, "INSERT INTO album VALUES (2, 'Powerage')")
        wait_until(lambda: committed(tmp_path) == 4, timeout_s=120, what="the syncs after the re-index")
        with connect(config) as kb:
            assert kb.services.collection.current().index.count() == 4
            assert kb.retrieve("Powerage")[0].chunk.document.id == "album/2"
            assert kb.retrieve("when does the shop open")[0].chunk.document.id == "docs/b.md"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        stop_engine(tmp_path / ".citewell" / "qdrant")
    assert process.returncode == 0


def test_a_folder_that_is_away_is_told_once(tmp_path: Path) -> None:
    write(tmp_path / "docs" / "a.md")
    (tmp_path / "citewell.toml").write_text(DOCS)
    process = start(tmp_path / "citewell.toml", "ingest", "--watch")
    try:
        wait_until(lambda: committed(tmp_path) == 1, timeout_s=90, what="the first sync")
        (tmp_path / "docs").rename(tmp_path / "away")
        wait_until(lambda: runs(tmp_path) >= 4, timeout_s=120, what="the third try")
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        stop_engine(tmp_path / ".citewell" / "qdrant")
    assert err.count("no file matches") == 1


def runs(tmp_path: Path) -> int:
    """How many runs were begun."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / '.citewell' / 'state.sqlite'}")
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM citewell_runs").scalar_one())

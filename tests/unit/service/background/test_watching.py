"""What of the files that changed counts, and when a folder is another one."""

import threading
from pathlib import Path

import pytest

from service.syncing.background.watching import _counts, _identity, follow_files

BASES = [Path("/docs"), Path("/more/.hidden")]


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/docs/a.md", True),
        ("/docs/deep/a.md", True),
        ("/docs/.git/index", False),
        ("/docs/deep/.a.md.swp", False),
        ("/more/.hidden/a.md", True),
        ("/more/.hidden/.b", False),
        ("/docs/data/state.sqlite", False),
        ("/elsewhere/a.md", False),
    ],
)
def test_a_file_counts_that_is_not_hidden_below_a_base_and_not_our_own(path: str, counts: bool) -> None:
    assert _counts(Path(path), BASES, Path("/docs/data")) is counts


def test_a_folder_is_the_same_while_its_files_change_and_another_one_when_it_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    before = _identity(folder)
    (folder / "a.md").write_text("new")
    assert _identity(folder) == before
    folder.rename(tmp_path / "old")
    assert _identity(folder) == ()
    folder.mkdir()
    assert _identity(folder) not in (before, ())


def test_a_file_is_another_one_when_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("a")
    before = _identity(file)
    file.write_text("longer")
    assert _identity(file) != before


def test_nothing_is_followed_once_it_has_ended(tmp_path: Path) -> None:
    ended = threading.Event()
    ended.set()
    assert list(follow_files([tmp_path], ignore=tmp_path / "data", stop=ended)) == []

"""Which files a source's paths name, on folders as they are found in the wild."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from connectors.files.search import Found, below, find_files, matching
from rag.errors import SourceError
from tests.support.users import nobody, open_folder


@pytest.fixture
def root() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def find(root: Path, *paths: str, exclude: tuple[str, ...] = ()) -> Found:
    with nobody():
        return find_files("docs", root, paths, exclude)


def names(root: Path, *paths: str, exclude: tuple[str, ...] = ()) -> list[str]:
    found = find(root, *paths, exclude=exclude)
    assert found.unreadable == {}
    return list(found.files)


# Patterns.


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("docs", ["docs/a.md", "docs/b.txt", "docs/one/a.md", "docs/one/deep/a.md", "docs/two/c.md"]),
        ("docs/", ["docs/a.md", "docs/b.txt", "docs/one/a.md", "docs/one/deep/a.md", "docs/two/c.md"]),
        ("docs/**/*", ["docs/a.md", "docs/b.txt", "docs/one/a.md", "docs/one/deep/a.md", "docs/two/c.md"]),
        ("docs/**", ["docs/a.md", "docs/b.txt", "docs/one/a.md", "docs/one/deep/a.md", "docs/two/c.md"]),
        ("**/*.txt", ["docs/b.txt"]),
        ("**/a.md", ["docs/a.md", "docs/one/a.md", "docs/one/deep/a.md"]),
        ("docs/*", ["docs/a.md", "docs/b.txt"]),
        ("docs/[ab]*", ["docs/a.md", "docs/b.txt"]),
        ("docs/[!a]*", ["docs/b.txt"]),
        ("docs/?.md", ["docs/a.md"]),
        ("docs/*/a.md", ["docs/one/a.md"]),
        ("docs/*/*", ["docs/one/a.md", "docs/two/c.md"]),
        ("docs/**/one/**/*.md", ["docs/one/a.md", "docs/one/deep/a.md"]),
        ("docs/**/**/c.md", ["docs/two/c.md"]),
        ("docs/a.md", ["docs/a.md"]),
        ("./docs/./a.md", ["docs/a.md"]),
        ("docs/two/../a.md", ["docs/a.md"]),
    ],
)
def test_patterns_name_files(root: Path, pattern: str, expected: list[str]) -> None:
    make(root, "docs/a.md", "docs/b.txt", "docs/one/a.md", "docs/one/deep/a.md", "docs/two/c.md", "other.md")
    assert names(root, pattern) == expected


def test_absolute_paths_and_the_home_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(root, "base/docs/a.md", "home/notes/b.md")
    monkeypatch.setenv("HOME", str(root / "home"))
    base = root / "base"
    assert names(base, str(base / "docs")) == ["docs/a.md"]
    assert names(base, str(root / "**/*.md")) == ["../home/notes/b.md", "docs/a.md"]
    assert names(base, "~/notes", "docs") == ["../home/notes/b.md", "docs/a.md"]


def test_a_name_with_brackets_of_its_own_is_that_name(root: Path) -> None:
    make(root, "docs/[draft] a.md", "docs/d.md", "[old]/b.md")
    assert names(root, "docs/[draft] a.md") == ["docs/[draft] a.md"]
    assert names(root, "[old]") == ["[old]/b.md"]
    assert names(root, "**/*.md", exclude=("docs/[draft] a.md", "[old]")) == ["docs/d.md"]


def test_hidden_files_are_left_out_unless_the_path_itself_goes_there(root: Path) -> None:
    make(root, "docs/.a.md", "docs/.git/b.md", "docs/c.md", ".wiki/d.md", ".wiki/.e.md")
    assert names(root, "**/*") == ["docs/c.md"]
    assert names(root, ".wiki") == [".wiki/d.md"]
    assert names(root, "docs/.a.md") == ["docs/.a.md"]


def test_two_stars_within_a_name_are_refused_with_the_remedy(root: Path) -> None:
    make(root, "docs/a.md")
    with pytest.raises(SourceError, match=r"'docs/\*\*\.md'.*docs/\*\*/\*\.md"):
        names(root, "docs/**.md")
    with pytest.raises(SourceError, match="segment of its own"):
        names(root, "docs", exclude=("docs/a**",))


@pytest.mark.parametrize(
    "pattern", ["none", "none/**", "docs/*.pdf", "docs/a.md/*", "docs/a.md/b", "docs/**/..", "a\0b"]
)
def test_a_path_that_matches_nothing_is_an_error_though_others_match(root: Path, pattern: str) -> None:
    make(root, "docs/a.md")
    with pytest.raises(SourceError, match="no file matches"):
        names(root, "docs", pattern)


def test_a_mistyped_path_is_told_whatever_is_left_out(root: Path) -> None:
    make(root, "docs/a.md", "docs/private/b.md")
    with pytest.raises(SourceError, match="no file matches"):
        names(root, "docs/*/*.mdd", exclude=("docs/private",))
    assert names(root, "docs/private", "docs/a.md", exclude=("docs/private",)) == ["docs/a.md"]


@pytest.mark.parametrize(
    "exclude", ["docs/private", "docs/private/**", "docs/private/**/*", "**/private/**/*", "docs/p*/**"]
)
def test_a_folder_that_is_left_out_is_not_looked_into(root: Path, exclude: str) -> None:
    make(root, "docs/a.md", "docs/private/b.md", "docs/private/deep/c.md")
    (root / "docs/private").chmod(0)
    assert names(root, "docs", exclude=(exclude,)) == ["docs/a.md"]


# Links.


def test_links_to_folders_are_followed_by_name_and_not_by_two_stars(root: Path) -> None:
    make(root, "docs/a.md", "far/x/b.md")
    (root / "docs/link").symlink_to(root / "far/x")
    (root / "docs/loop").symlink_to(".")
    assert names(root, "docs/**/*") == ["docs/a.md"]
    assert names(root, "docs/*/b.md") == ["docs/link/b.md"]
    assert names(root, "docs/link") == ["docs/link/b.md"]
    assert names(root, "docs/*/*/*/a.md") == ["docs/loop/loop/loop/a.md"]


def test_a_file_by_several_names_is_the_one_that_is_no_link(root: Path) -> None:
    make(root, "docs/z.md", "far/y.md")
    (root / "docs/a.md").symlink_to("z.md")
    (root / "docs/b.md").symlink_to(root / "far/y.md")
    (root / "docs/c.md").symlink_to(root / "far/y.md")
    (root / "alias").symlink_to("docs")
    (root / "by-link").symlink_to(root)
    for place in (root, root / "by-link"):
        assert names(place, "docs") == ["docs/b.md", "docs/z.md"]
        assert names(place, "alias", "docs/z.md") == ["alias/b.md", "docs/z.md"]
        assert names(place, "docs", "far") == ["docs/z.md", "far/y.md"]


def test_dangling_and_circular_links_are_no_files(root: Path) -> None:
    make(root, "docs/a.md")
    (root / "docs/gone.md").symlink_to("nowhere")
    (root / "docs/self.md").symlink_to("self.md")
    (root / "docs/under.md").symlink_to("a.md/b")
    os.mkfifo(root / "docs/pipe.md")
    assert names(root, "docs") == ["docs/a.md"]


# Places that cannot be read.


@pytest.mark.parametrize("mode", [0, 0o444, 0o311])
@pytest.mark.parametrize("pattern", ["docs", "docs/**/*", "docs/**/*.md", "docs/*/*.md", "**/*.md"])
def test_a_locked_folder_is_told_and_the_rest_is_found(root: Path, pattern: str, mode: int) -> None:
    make(root, "docs/k1/a.md", "docs/k2/b.md")
    (root / "docs/k2").chmod(mode)
    found = find(root, pattern)
    assert list(found.files) == ["docs/k1/a.md"]
    assert list(found.unreadable) == ["docs/k2"]
    assert "Permission denied" in found.unreadable["docs/k2"]


@pytest.mark.parametrize("mode", [0, 0o444])
@pytest.mark.parametrize("pattern", ["docs", "docs/*", "docs/**/*", "docs/*/*.md", "docs/*.md"])
def test_a_locked_folder_that_a_path_begins_with_is_told(root: Path, pattern: str, mode: int) -> None:
    make(root, "docs/a.md", "docs/k/b.md", "other/c.md")
    (root / "docs").chmod(mode)
    found = find(root, pattern, "other")
    assert list(found.files) == ["other/c.md"]
    assert list(found.unreadable) == ["docs"]


def test_a_file_in_a_locked_folder_is_told_by_its_name(root: Path) -> None:
    make(root, "docs/a.md", "docs/k/b.md")
    (root / "docs").chmod(0o444)
    assert list(find(root, "docs/a.md").unreadable) == ["docs/a.md"]
    assert list(find(root, "docs/k").unreadable) == ["docs/k"]
    assert list(find(root, "docs/[a].md").unreadable) == ["docs"]


def test_a_folder_that_only_lets_through_gives_what_is_named(root: Path) -> None:
    make(root, "docs/k1/a.md", "docs/k2/a.md")
    (root / "docs/k1").chmod(0o311)
    assert names(root, "docs/*/a.md") == ["docs/k1/a.md", "docs/k2/a.md"]
    (root / "docs/k1").chmod(0)
    assert list(find(root, "docs/*/a.md").unreadable) == ["docs/k1"]


@pytest.mark.parametrize(
    ("pattern", "found_files"),
    [
        ("docs", ["docs/a.md", "docs/one/b.md"]),
        ("docs/*", ["docs/a.md"]),
        ("docs/*/*.md", ["docs/one/b.md"]),
        ("docs/*.md", ["docs/a.md"]),
    ],
)
def test_a_link_into_a_locked_folder_is_told(root: Path, pattern: str, found_files: list[str]) -> None:
    make(root, "docs/a.md", "docs/one/b.md", "far/x/c.md")
    (root / "docs/link").symlink_to(root / "far/x")
    (root / "docs/c.md").symlink_to(root / "far/x/c.md")
    (root / "far").chmod(0o444)
    found = find(root, pattern)
    assert list(found.files) == found_files
    assert list(found.unreadable) == ["docs/c.md", *(["docs/link"] if pattern != "docs/*.md" else [])]


def test_a_link_to_a_locked_folder_is_told_where_links_are_followed(root: Path) -> None:
    make(root, "docs/one/b.md", "far/c.md")
    (root / "docs/link").symlink_to(root / "far")
    (root / "far").chmod(0o444)
    assert list(find(root, "docs/*/*.md").unreadable) == ["docs/link"]
    assert list(find(root, "docs/link", "docs").unreadable) == ["docs/link"]
    assert find(root, "docs").unreadable == {}  # two stars do not look behind it


def test_a_root_that_cannot_be_listed_is_told(root: Path) -> None:
    make(root, "a.md")
    root.chmod(0o311)
    assert list(find(root, "**/*").unreadable) == ["."]


@pytest.mark.parametrize("pattern", ["docs", "docs/*/*.md", "docs/*/a.md"])
def test_a_folder_that_vanishes_while_it_is_walked_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    make(root, "docs/k1/a.md", "docs/k2/a.md", "docs/k3/a.md")
    look = os.stat

    def stat(path: str, **options: bool) -> os.stat_result:
        if str(path).endswith("k2/."):
            (root / "docs/k2").rename(root / "elsewhere")
        return look(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    found = find_files("docs", root, [pattern], ())
    assert list(found.files) == ["docs/k1/a.md", "docs/k3/a.md"]
    assert list(found.unreadable) == ["docs/k2"]
    assert "next run" in found.unreadable["docs/k2"]
    assert find_files("docs", root, [pattern], ()).unreadable == {}


# Names that are no text.


def test_names_that_are_not_utf8_are_told_under_an_escaped_name(root: Path) -> None:
    make(root, "docs/a.md")
    os.mkdir(os.fsencode(root) + b"/docs/k\xfc")
    for name in (b"bad\xff.md", b"k\xfc/b.md", b"k\xfc/c.md", b"\xed\xa0\x80.md", b"other\xff.txt"):
        with open(os.fsencode(root) + b"/docs/" + name, "w") as file:
            file.write("text")
    found = find(root, "docs/**/*.md")
    assert list(found.files) == ["docs/a.md"]
    assert list(found.unreadable) == ["docs/\\xed\\xa0\\x80.md", "docs/bad\\xff.md", "docs/k\\xfc"]
    assert all("ename" in reason for reason in found.unreadable.values())
    assert list(find(root, "docs/a.md").unreadable) == []
    assert names(root, "docs/**/*", exclude=("docs/bad*", "docs/k?/**", "**/*.txt", "docs/*??.md")) == ["docs/a.md"]


def test_a_link_with_a_good_name_stands_for_a_file_with_a_bad_one(root: Path) -> None:
    make(root, "docs/a.md")
    os.rename(os.fsencode(root) + b"/docs/a.md", os.fsencode(root) + b"/docs/a\xff.md")
    os.symlink(b"a\xff.md", os.fsencode(root) + b"/docs/good.md")
    assert names(root, "docs") == ["docs/good.md"]


# Counts.


def noted(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[str]:
    """The paths that a function of the standard library is called with."""
    paths: list[str] = []
    real = getattr(module, name)

    def call(path: Any, **options: Any) -> Any:
        paths.append(str(path))
        return real(path, **options)

    monkeypatch.setattr(module, name, call)
    return paths


def test_real_paths_are_asked_for_links_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(root, *(f"docs/{folder}/{number}.md" for folder in range(5) for number in range(100)))
    (root / "docs/link.md").symlink_to("0/0.md")
    asked = noted(monkeypatch, os.path, "realpath")
    listed = noted(monkeypatch, os, "scandir")
    assert len(find_files("docs", root, ["docs"], ["docs/4/**/*.txt"]).files) == 500
    assert len(asked) <= 4
    assert len(listed) == 6


# By names alone.


def test_files_that_a_pattern_names_are_told_by_their_names_alone() -> None:
    files = ["open/a.md", "open/b/c.md", "d.md"]
    assert matching(Path("/srv"), "open/*", files) == {"open/a.md"}
    assert matching(Path("/srv"), "nothing/*", files) == set()


def test_files_below_a_place_are_told_by_their_names_alone() -> None:
    files = ["locked/a.md", "locked/b/c.md", "d.md", "lock"]
    assert below(Path("/srv"), ["locked"], files) == {"locked/a.md", "locked/b/c.md"}
    assert below(Path("/srv"), ["d.md"], files) == {"d.md"}
    assert below(Path("/srv"), [], files) == set()
    assert below(Path("/srv"), ["../srv"], files) == set(files)

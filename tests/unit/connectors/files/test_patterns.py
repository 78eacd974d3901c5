"""Patterns such as `docs/**/*.md`, by names alone: nothing is looked up but whether a name with brackets is there."""

from pathlib import Path

import pytest

from connectors.files.patterns import Pattern, base_of
from rag.errors import SourceError

ROOT = Path("/srv/shop")


def of(text: str) -> Pattern:
    return Pattern.of(ROOT, text)


@pytest.mark.parametrize(
    ("text", "path", "fits"),
    [
        ("docs", "/srv/shop/docs", True),
        ("docs", "/srv/shop/docs/a/b.md", True),
        ("docs", "/srv/shop/docsy/a.md", False),
        ("docs/*.md", "/srv/shop/docs/a.md", True),
        ("docs/*.md", "/srv/shop/docs/a.txt", False),
        ("docs/*.md", "/srv/shop/docs/b/a.md", False),
        ("docs/**/*.md", "/srv/shop/docs/a.md", True),
        ("docs/**/*.md", "/srv/shop/docs/b/c/a.md", True),
        ("docs/**", "/srv/shop/docs/b/a.md", True),
        ("docs/*/x/**/*.md", "/srv/shop/docs/b/x/c/a.md", True),
        ("docs/*/x/**/*.md", "/srv/shop/docs/b/y/x/a.md", False),
        ("**/*", "/srv/shop/.git/config", False),
        ("**/*", "/srv/shop/docs/.hidden", False),
        (".github/*", "/srv/shop/.github/a.md", True),
        ("**/*", "/elsewhere/a.md", False),
        ("/data/*.md", "/data/a.md", True),
        ("../*.md", "/srv/a.md", True),
        ("*", "/srv/shop", False),
    ],
)
def test_a_pattern_fits_a_file(text: str, path: str, fits: bool) -> None:
    assert of(text).fits(path) is fits


@pytest.mark.parametrize(
    ("folder", "reaches"),
    [
        ("/srv", True),
        ("/srv/shop/docs", True),
        ("/srv/shop/docs/a", True),
        ("/srv/shop/other", False),
        ("/srv/sho", False),
    ],
)
def test_a_pattern_may_name_something_below_a_folder(folder: str, reaches: bool) -> None:
    assert of("docs/*/*.md").reaches(folder) is reaches


def test_a_pattern_covers_a_folder_only_when_it_names_all_below() -> None:
    assert of("docs").covers("/srv/shop/docs/a")
    assert of("docs/**/*").covers("/srv/shop/docs")
    assert not of("docs/**/*.md").covers("/srv/shop/docs")
    assert not of("docs").covers("/srv/shop")
    assert of("*/build").covers("/srv/shop/x/build") is False


def test_names_that_can_come_next_are_known_until_a_wildcard_comes() -> None:
    whole = of("*/a/*.md")
    first = whole.step(whole.start, "any")
    assert whole.names_next(whole.start) is None
    assert whole.names_next(first) == ["a"]
    assert whole.names_next(whole.step(first, "a")) is None


def test_a_link_is_not_followed_by_two_stars() -> None:
    whole = of("**/*.md")
    assert whole.step(whole.start, "folder") == whole.start
    assert whole.step(whole.start, "folder", stays=False) == frozenset()
    assert whole.end in whole.step(whole.start, "a.md", stays=False)


def test_two_stars_within_a_name_are_refused() -> None:
    with pytest.raises(SourceError, match=r"\*\* within 'a\*\*'"):
        of("docs/a**/b.md")


def test_a_name_has_no_wildcard_and_a_pattern_has_a_base() -> None:
    assert of("docs/a.md").is_name
    assert not of("docs/*").is_name
    assert base_of(ROOT, "docs/*/a.md") == Path("/srv/shop/docs")
    assert base_of(ROOT, "docs/../a.md") == Path("/srv/shop/a.md")


def test_a_name_with_brackets_that_is_there_is_that_name(tmp_path: Path) -> None:
    (tmp_path / "a[1].md").write_text("x")
    assert Pattern.of(tmp_path, "a[1].md").is_name
    assert not Pattern.of(tmp_path, "b[1].md").is_name

"""Text, Markdown and HTML, with their headings."""

from collections.abc import Callable, Iterator
from pathlib import Path

from connectors.parsers import markup
from connectors.parsers.parsed import HeadingPath, Item, Parsed, Record, lines


def parsed(path: Path, content: str, parser: Callable[[Path], Iterator[Item]] = markup.markdown) -> Parsed:
    path.write_text(content, encoding="utf-8")
    (item,) = parser(path)
    assert isinstance(item, Parsed)
    return item


def headings(item: Parsed) -> list[tuple[str, str]]:
    """Each section's heading, and the line that stands at its offset."""
    return [(s.heading, item.text[s.start :].split("\n", 1)[0]) for s in item.sections]


def test_markdown_keeps_its_text_and_tells_its_headings(tmp_path: Path) -> None:
    item = parsed(tmp_path / "a.md", "# Top\n\ntext\n\n## Sub\nmore\n\nOther\n=====\n```\n# no heading\n```\n")
    assert headings(item) == [("Top", "# Top"), ("Top > Sub", "## Sub"), ("Other", "Other")]
    assert (item.title, item.text[:5]) == ("Top", "# Top")


def test_a_heading_in_a_list_is_one_too_and_a_text_without_headings_has_no_title(tmp_path: Path) -> None:
    assert parsed(tmp_path / "a.md", "no heading").title == ""
    assert parsed(tmp_path / "a.md", "# \n\n# Second\n").title == "Second"


def test_html_reads_as_it_is_shown(tmp_path: Path) -> None:
    page = (
        "<html><script>tracker()</script><h1>Top</h1><p>a</p><h2></h2><h2>Sub</h2><table><tr><td>x<td>y</table></html>"
    )
    item = parsed(tmp_path / "a.html", page, markup.html)
    assert "tracker" not in item.text
    assert [heading for heading, _ in headings(item)] == ["Top", "Top > Sub"]
    assert all(at.strip() in heading for heading, at in headings(item))
    assert item.title == "Top"


def test_a_declared_encoding_that_the_text_no_longer_has_is_no_error(tmp_path: Path) -> None:
    item = parsed(tmp_path / "a.html", '<?xml version="1.0" encoding="latin-1"?><p>Größe</p>', markup.html)
    assert item.text.strip() == "Größe"


def test_the_page_s_title_is_no_heading(tmp_path: Path) -> None:
    assert parsed(tmp_path / "a.html", "<title>Site</title><h1>Page</h1>", markup.html).title == "Page"


def test_plain_text_has_no_sections(tmp_path: Path) -> None:
    item = parsed(tmp_path / "a.txt", "# text\r\nmore\0", markup.text)
    assert (item.text, item.sections) == ("# text\nmore", ())


def test_a_heading_ends_those_of_its_level_and_below() -> None:
    path = HeadingPath()
    assert [path.enter(level, text) for level, text in ((1, "a"), (3, " b  c "), (2, "d"), (1, "e"))] == [
        "a", "a > b c", "a > d", "e",
    ]  # fmt: skip


def test_fields_without_a_value_are_left_out() -> None:
    assert lines([("a", 1), ("b", None), ("", " x "), ("c", " ")]) == "a: 1\nx"


def test_the_place_of_a_record_is_written_like_a_query() -> None:
    assert Record(text="", title="", key={"sheet": "Prices", "row": 3}).place == "sheet=Prices&row=3"

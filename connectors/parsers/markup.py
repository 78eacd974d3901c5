"""Plain text, Markdown and HTML, with their headings."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from connectors.parsers.encoding import read_text
from connectors.parsers.errors import CannotParse
from connectors.parsers.parsed import HeadingPath, Item, Parsed
from rag.documents import Section


def text(path: Path, *, hidden: bool = False) -> Iterator[Item]:
    yield Parsed(text=read_text(path))


def markdown(path: Path, *, hidden: bool = False) -> Iterator[Item]:
    """Markdown stays as it was written; headings are found by markdown-it."""
    from markdown_it import MarkdownIt

    source = read_text(path)
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tokens = MarkdownIt("commonmark").parse(source)
    headings = HeadingPath()
    sections: list[Section] = []
    title = ""
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.map:
            title = title or inline.content
            heading = headings.enter(int(token.tag[1]), inline.content)
            sections.append(Section(start=starts[token.map[0]], heading=heading))
    yield Parsed(text=source, title=title, sections=tuple(sections))


def html(path: Path, *, hidden: bool = False) -> Iterator[Item]:
    """HTML as it reads, by inscriptis: blocks on lines of their own, tables aligned, scripts and styles dropped."""
    from inscriptis import get_annotated_text
    from inscriptis.model.config import ParserConfig
    from lxml import etree

    rules = {f"h{level}": [f"h{level}"] for level in range(1, 7)} | {"title": ["title"]}
    try:
        annotated = get_annotated_text(_without_declaration(read_text(path)), ParserConfig(annotation_rules=rules))
    except (etree.LxmlError, ValueError) as err:
        raise CannotParse(f"the HTML cannot be read: {err}") from err
    body = str(annotated["text"])
    headings = HeadingPath()
    sections = []
    title = ""
    for start, end, label in sorted(annotated.get("label", [])):
        heading = body[start:end].strip()
        if label.startswith("h") and heading:
            title = title or heading
            line = body.rfind("\n", 0, start) + 1
            sections.append(Section(start=line, heading=headings.enter(int(label[1]), heading)))
    yield Parsed(text=body, title=title, sections=tuple(sections))


def _without_declaration(source: str) -> str:
    """Drop an XML declaration: it may name an encoding that the decoded text no longer has."""
    stripped = source.lstrip()
    return stripped.partition("?>")[2] if stripped.startswith("<?xml") else source

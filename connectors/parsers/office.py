"""Word and PowerPoint files, with headings and slide numbers."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from connectors.parsers.errors import CannotParse
from connectors.parsers.parsed import HeadingPath, Hidden, Item, Parsed
from rag.boundary.extras import needs_extra
from rag.documents import Section

_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING_STYLE = re.compile(r"(?:heading|标题|überschrift|titre)\s*(\d)", re.I)


def docx(path: Path, *, hidden: bool = False) -> Iterator[Item]:
    """Paragraphs and tables in reading order; a table row is a line, cells between bars."""
    try:
        import docx as python_docx
    except ModuleNotFoundError as err:
        raise CannotParse(needs_extra("DOCX files need", "docs")) from err
    try:
        document = python_docx.Document(str(path))
        blocks = list(_docx_blocks(document))
    except (KeyError, ValueError, BadZipFile, SyntaxError, AttributeError) as err:
        raise CannotParse(f"the Word file is damaged: {err}") from err
    headings = HeadingPath()
    sections: list[Section] = []
    parts: list[str] = []
    title, offset = "", 0
    for level, block in blocks:
        if level is not None and block.strip():
            title = title or block.strip()
            sections.append(Section(start=offset, heading=headings.enter(level, block)))
        parts.append(block + "\n")
        offset += len(block) + 1
    yield Parsed(text="".join(parts), title=title, sections=tuple(sections))


def _docx_blocks(document: Any) -> Iterator[tuple[int | None, str]]:
    """(heading level or None, text) of each block, headers and footers last."""
    for block in document.iter_inner_content():
        if hasattr(block, "rows"):
            yield from ((None, line) for line in _table_lines(block.rows, lambda cell: _element_text(cell._tc)))
            continue
        style = block.style.name if block.style is not None else ""
        match = _HEADING_STYLE.match(style or "")
        level = int(match.group(1)) if match else (1 if style == "Title" else None)
        yield level, block.text
        yield from ((None, line) for line in _boxed_lines(block))
    seen: set[str] = set()
    for section in document.sections:
        for part in (section.header, section.footer):
            for paragraph in part.paragraphs:
                if paragraph.text.strip() and paragraph.text not in seen:
                    seen.add(paragraph.text)
                    yield None, paragraph.text


def _boxed_lines(paragraph: Any) -> Iterator[str]:
    """Text boxes anchored at a paragraph; Word stores each twice, for new readers and for old ones."""
    seen: set[str] = set()
    for box in paragraph._p.iter(f"{_WORD}txbxContent"):
        text = _element_text(box)
        if text and text not in seen:
            seen.add(text)
            yield text


def _element_text(element: Any) -> str:
    """All paragraphs inside an element, those of nested tables too, on one line."""
    paragraphs = ("".join(run.text or "" for run in p.iter(f"{_WORD}t")) for p in element.iter(f"{_WORD}p"))
    return " ".join(part for text in paragraphs if (part := " ".join(text.split())))


def _table_lines(rows: Any, text_of: Callable[[Any], str]) -> Iterator[str]:
    """Each row as a line; a merged cell, which the library repeats, is given once."""
    for row in rows:
        cells: list[str] = []
        previous = None
        for cell in row.cells:
            if previous is None or cell._tc is not previous._tc:
                cells.append(text_of(cell))
            previous = cell
        if any(cells):
            yield " | ".join(cells)


def _slide_cell(cell: Any) -> str:
    return " ".join(cell.text.split())


def pptx(path: Path, *, hidden: bool = False) -> Iterator[Item]:
    """Each slide's shapes, tables and notes; a slide is a page."""
    try:
        import pptx as python_pptx
    except ModuleNotFoundError as err:
        raise CannotParse(needs_extra("PPTX files need", "docs")) from err
    try:
        found = list(python_pptx.Presentation(str(path)).slides)
        shown = [(number, slide) for number, slide in enumerate(found, start=1) if hidden or not _is_hidden(slide)]
        slides = [(number, list(_slide_lines(slide))) for number, slide in shown]
    except (KeyError, ValueError, BadZipFile, SyntaxError, AttributeError) as err:
        raise CannotParse(f"the PowerPoint file is damaged: {err}") from err
    if left := len(found) - len(shown):
        yield Hidden(what="1 hidden slide is" if left == 1 else f"{left} hidden slides are")
    sections: list[Section] = []
    parts: list[str] = []
    offset = 0
    for number, slide_lines in slides:
        block = "\n".join(slide_lines) + "\n"
        sections.append(Section(start=offset, page=number, heading=slide_lines[0] if slide_lines else ""))
        parts.append(block)
        offset += len(block)
    yield Parsed(
        text="".join(parts), title=next((s.heading for s in sections if s.heading), ""), sections=tuple(sections)
    )


def _is_hidden(slide: Any) -> bool:
    return slide.element.get("show") in ("0", "false")


def _slide_lines(slide: Any) -> Iterator[str]:
    title = slide.shapes.title
    if title is not None and title.text.strip():
        yield " ".join(title.text.split())
    for shape in slide.shapes:
        if title is None or shape.shape_id != title.shape_id:
            yield from _shape_lines(shape)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        yield from (line for line in slide.notes_slide.notes_text_frame.text.splitlines() if line.strip())


def _shape_lines(shape: Any) -> Iterator[str]:
    if getattr(shape, "shapes", None) is not None:  # a group
        for inner in shape.shapes:
            yield from _shape_lines(inner)
    elif getattr(shape, "has_table", False):
        yield from _table_lines(shape.table.rows, _slide_cell)
    elif shape.has_text_frame:
        yield from (line for line in shape.text_frame.text.splitlines() if line.strip())

"""PDF, page by page, by PDFium."""

from collections.abc import Iterator
from pathlib import Path

from connectors.parsers.errors import CannotParse
from connectors.parsers.parsed import Item, Parsed
from rag.boundary.extras import needs_extra
from rag.documents import Section


def pages(path: Path, *, hidden: bool = False) -> Iterator[Item]:
    """The text of all pages, each page a section that keeps its number, counted from 1."""
    try:
        import pypdfium2
    except ModuleNotFoundError as err:
        raise CannotParse(needs_extra("PDF files need", "docs")) from err
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as err:
        raise CannotParse(_explain(str(err))) from err
    parts: list[str] = []
    sections: list[Section] = []
    damaged: list[int] = []
    offset = 0
    try:
        for number in range(len(document)):
            try:
                page_text = _page_text(document, number)
            except pypdfium2.PdfiumError:
                damaged.append(number + 1)
                continue
            sections.append(Section(start=offset, page=number + 1))
            parts.append(page_text + "\n")
            offset += len(page_text) + 1
    finally:
        document.close()
    if any(part.strip() for part in parts):
        yield Parsed(text="".join(parts), sections=tuple(sections))
    elif not damaged:
        raise CannotParse(f"none of its {len(parts)} pages has a text layer (a scan?); run OCR on it first")
    if damaged:
        raise CannotParse(f"page {', '.join(map(str, damaged))} is damaged; the other {len(parts)} were read")


def _page_text(document: object, number: int) -> str:
    page = document[number]  # type: ignore[index]
    text_page = page.get_textpage()
    try:
        found = str(text_page.get_text_bounded())
    finally:
        text_page.close()
        page.close()
    # PDFium marks a hyphen at a line's end with U+FFFE; NUL and lone surrogates cannot be stored as UTF-8.
    joined = found.replace("\r\n", "\n").replace("\ufffe\n", "").replace("\ufffe", "").replace("\0", "")
    return joined.encode("utf-8", "ignore").decode("utf-8")


def _explain(reason: str) -> str:
    if "assword" in reason:
        return "the PDF is protected by a password; save it without one"
    return f"the PDF is damaged: {reason}"

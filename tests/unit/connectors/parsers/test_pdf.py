"""PDF, page by page."""

from pathlib import Path

import pytest

from connectors.parsers import pdf
from connectors.parsers.errors import CannotParse
from connectors.parsers.parsed import Parsed

pytest.importorskip("pypdfium2")
canvas = pytest.importorskip("reportlab.pdfgen.canvas")


def make(path: Path, *pages: str, password: str | None = None) -> Path:
    file = canvas.Canvas(str(path), encrypt=password)
    for text in pages:
        file.drawString(72, 720, text)
        file.showPage()
    file.save()
    return path


def test_pages_keep_their_numbers_and_places(tmp_path: Path) -> None:
    (item,) = pdf.pages(make(tmp_path / "a.pdf", "one", "", "three"))
    assert isinstance(item, Parsed)
    assert [section.page for section in item.sections] == [1, 2, 3]
    assert item.text[item.sections[2].start :].strip() == "three"


def test_a_scan_says_what_helps(tmp_path: Path) -> None:
    with pytest.raises(CannotParse, match=r"2 pages has a text layer.*OCR"):
        list(pdf.pages(make(tmp_path / "a.pdf", "", "")))


def test_a_protected_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(CannotParse, match="protected by a password"):
        list(pdf.pages(make(tmp_path / "a.pdf", "one", password="secret")))


def test_a_damaged_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7 broken")
    with pytest.raises(CannotParse, match="damaged"):
        list(pdf.pages(tmp_path / "a.pdf"))

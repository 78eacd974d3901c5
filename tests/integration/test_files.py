"""The files connector, on files written here and on broken ones."""

import json
import zipfile
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
import pytest

from connectors.files.source import FilesSource
from connectors.parsers import parse
from connectors.parsers.errors import CannotParse
from rag.documents import Document
from rag.errors import SourceError
from rag.events import Notice, SnapshotComplete, Unreadable, Upsert
from tests.support.command import SAMPLE


def read(root: Path, *paths: str, exclude: tuple[str, ...] = ()) -> tuple[dict[str, Document], dict[str, Unreadable]]:
    events = list(FilesSource(name="docs", paths=paths or ("**/*",), root=root, exclude=exclude).read())
    assert isinstance(events[-1], SnapshotComplete)
    found = {event.document.id: event.document for event in events if isinstance(event, Upsert)}
    return found, {event.document_id: event for event in events if isinstance(event, Unreadable)}


def headings(document: Document) -> list[tuple[str, str]]:
    """Each section's heading, and the text that stands at its offset."""
    return [(s.heading, document.text[s.start :].split("\n", 1)[0]) for s in document.sections]


def test_markdown_keeps_its_headings_at_their_offsets(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Top\n\nText\n\n## Sub *one*\nmore\n\nAnother\n-------\nend\n")
    document = read(tmp_path)[0]["a.md"]
    assert document.title == "Top"
    assert headings(document) == [("Top", "# Top"), ("Top > Sub *one*", "## Sub *one*"), ("Top > Another", "Another")]


def test_html_drops_scripts_and_keeps_headings_and_tables(tmp_path: Path) -> None:
    document = read(SAMPLE, "handbook/stores.html")[0]["handbook/stores.html"]
    assert "tracker" not in document.text
    assert "Brazil" in document.text
    assert ("Stores and opening hours > Edmonton, Jasper Avenue", "Edmonton, Jasper Avenue") in headings(document)


def test_pdf_pages_keep_their_numbers() -> None:
    document = read(SAMPLE, "handbook/buying-guide.pdf")[0]["handbook/buying-guide.pdf"]
    assert [section.page for section in document.sections] == [1, 2, 3, 4]
    assert document.text[document.sections[3].start :].startswith("Cleaning")


def test_word_files_give_headings_tables_boxes_and_headers(tmp_path: Path) -> None:
    file = docx.Document()
    file.add_heading("Terms", level=1)
    file.add_paragraph("Payment within ten days.")
    table = file.add_table(rows=2, cols=2)
    for cell, text in zip(
        (c for row in table.rows for c in row.cells), ("Region", "Days", "Brazil", "12"), strict=True
    ):
        cell.text = text
    file.sections[0].header.paragraphs[0].text = "Confidential"
    file.save(str(tmp_path / "a.docx"))
    document = read(tmp_path)[0]["a.docx"]
    assert headings(document) == [("Terms", "Terms")]
    assert "Brazil | 12" in document.text
    assert "Confidential" in document.text


def test_slides_are_pages_with_tables_and_notes(tmp_path: Path) -> None:
    deck = pptx.Presentation()
    for number in (1, 2):
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = f"Slide {number}"
    slide.notes_slide.notes_text_frame.text = "Say this aloud."
    deck.save(str(tmp_path / "a.pptx"))
    document = read(tmp_path)[0]["a.pptx"]
    assert [(s.page, s.heading) for s in document.sections] == [(1, "Slide 1"), (2, "Slide 2")]
    assert document.text.endswith("Slide 2\nSay this aloud.\n")


def test_sheets_give_records_with_sheet_and_row(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Prices"
    for row in (("Format", "Price"), ("LP", 20), (None, None), ("Grade", "Share"), ("Mint", 0.5)):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    found = read(tmp_path)[0]
    assert found["a.xlsx#sheet=Prices&row=2"].text == "Format: LP\nPrice: 20"
    assert found["a.xlsx#sheet=Prices&row=5"].text == "Grade: Mint\nShare: 0.5"
    assert found["a.xlsx#sheet=Prices&row=5"].primary_key == {"sheet": "Prices", "row": 5}


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8"), (";", "gb18030"), ("\t", "utf-16")])
def test_csv_rows_are_records_whatever_delimiter_and_encoding(tmp_path: Path, delimiter: str, encoding: str) -> None:
    rows = [["名称", "价格"], ["黑胶唱片存放架子", "20"], ["唱片清洁液体", "3"]]
    (tmp_path / "a.csv").write_text("\n".join(delimiter.join(row) for row in rows), encoding=encoding)
    found = read(tmp_path)[0]
    assert found["a.csv#row=2"].text == "名称: 黑胶唱片存放架子\n价格: 20"
    assert found["a.csv#row=3"].primary_key == {"row": 3}


def test_json_and_jsonl(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps([{"a": 1, "b": {"c": [1, 2]}}, {"a": "中"}]))
    (tmp_path / "tree.json").write_text('{"opening": {"monday": "10:00"}}')
    (tmp_path / "log.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    found = read(tmp_path)[0]
    assert found["list.json#item=1"].text == "a: 1\nb.c: 1, 2"
    assert found["tree.json"].text == "opening.monday: 10:00"
    assert found["log.jsonl#line=3"].text == "a: 2"


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16", "utf-8-sig"])
def test_chinese_text_is_read_in_every_usual_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("黑胶唱片必须竖直存放。\r\n库房温度适中。".encode(encoding))
    assert read(tmp_path)[0]["a.txt"].text == "黑胶唱片必须竖直存放。\n库房温度适中。"


def test_an_unreadable_file_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 nothing more")
    (tmp_path / "broken.docx").write_bytes(b"PK\x03\x04 nothing more")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0 old")
    (tmp_path / "fine.txt").write_text("Fine.")
    found, unreadable = read(tmp_path)
    assert set(found) == {"fine.txt"}
    assert set(unreadable) == {"broken.pdf", "broken.docx", "broken.json", "old.doc"}
    assert not any(entry.ignored for entry in unreadable.values())
    assert "convert it to DOCX" in unreadable["old.doc"].reason


def test_files_with_nothing_to_read_are_left_out_and_said_so(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    (tmp_path / "fine.txt").write_text("Fine.")
    unreadable = read(tmp_path)[1]
    assert {name for name, entry in unreadable.items() if entry.ignored} == {"empty.txt", "picture.png"}


def test_the_kind_is_found_by_content_too(tmp_path: Path) -> None:
    (tmp_path / "guide").write_bytes((SAMPLE / "handbook" / "buying-guide.pdf").read_bytes())
    (tmp_path / "page.txt").write_text("just text")
    assert len(read(tmp_path)[0]["guide"].sections) == 4


def test_globs_folders_and_exclusions(tmp_path: Path) -> None:
    for name in ("a.md", "sub/b.md", "sub/deep/c.txt", ".hidden/d.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# x")
    assert set(read(tmp_path)[0]) == {"a.md", "sub/b.md", "sub/deep/c.txt"}
    assert set(read(tmp_path, "sub")[0]) == {"sub/b.md", "sub/deep/c.txt"}
    assert set(read(tmp_path, "**/*.md", exclude=("sub/*",))[0]) == {"a.md"}


def test_a_path_that_matches_nothing_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file matches 'none/\*\*'"):
        read(tmp_path, "none/**")


def test_a_protected_workbook_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    with pytest.raises(CannotParse, match="password"):
        list(parse(tmp_path / "a.xlsx"))


def test_an_office_file_full_of_surprises_does_not_stop_the_run(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("word/document.xml", "<not-a-document/>")
    (tmp_path / "fine.txt").write_text("Fine.")
    found, unreadable = read(tmp_path)
    assert set(found) == {"fine.txt"}
    assert set(unreadable) == {"a.docx"}


def notes_of(root: Path, **options: Any) -> list[str]:
    source = FilesSource(name="docs", paths=("**/*",), root=root, **options)
    return [event.text for event in source.read() if isinstance(event, Notice)]


def test_hidden_sheets_rows_and_columns_are_left_out_and_told(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Prices"
    for row in (("Format", "Cost", "Price"), ("LP", 7, 20), ("EP", 5, 12), ("CD", 3, 9)):
        book.active.append(row)
    book.active.row_dimensions[3].hidden = True
    book.active.column_dimensions["B"].hidden = True
    for title, state in (("Salaries", "hidden"), ("Bonus", "veryHidden")):
        sheet = book.create_sheet(title)
        sheet.sheet_state = state
        sheet.append(("Name", "Salary"))
        sheet.append(("Ann", 9000))
    book.save(tmp_path / "a.xlsx")
    found = read(tmp_path)[0]
    assert {key: document.text for key, document in found.items()} == {
        "a.xlsx#sheet=Prices&row=2": "Format: LP\nPrice: 20",
        "a.xlsx#sheet=Prices&row=4": "Format: CD\nPrice: 9",
    }
    (told,) = notes_of(tmp_path)
    assert told.startswith(
        "a.xlsx: 2 hidden sheets, 1 hidden row, 1 hidden column are not read. To read them, set hidden = true"
    )
    assert notes_of(tmp_path, hidden=True) == []
    everything = [
        e.document.text
        for e in FilesSource(name="d", paths=("*",), root=tmp_path, hidden=True).read()
        if isinstance(e, Upsert)
    ]
    assert len(everything) == 5
    assert "Name: Ann\nSalary: 9000" in everything
    assert "Format: EP\nCost: 5\nPrice: 12" in everything


def test_hidden_slides_are_left_out_and_told_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    deck = pptx.Presentation()
    for number in (1, 2, 3):
        deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = f"Slide {number}"
    deck.slides[1].element.set("show", "0")
    deck.save(str(tmp_path / "a.pptx"))
    document = read(tmp_path)[0]["a.pptx"]
    assert [(s.page, s.heading) for s in document.sections] == [(1, "Slide 1"), (3, "Slide 3")]
    assert "Slide 2" not in document.text
    assert notes_of(tmp_path)[0].startswith("a.pptx: 1 hidden slide is not read")


def test_a_private_key_is_no_document_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAA\n")
    found, unreadable = read(tmp_path)
    assert found == {}
    assert (unreadable["notes.md"].reason, unreadable["notes.md"].ignored) == ("it contains a private key", True)

"""Word and PowerPoint files."""

from pathlib import Path
from typing import Any

import pytest

from connectors.parsers import office
from connectors.parsers.errors import CannotParse
from connectors.parsers.parsed import Hidden, Parsed

docx = pytest.importorskip("docx")
pptx = pytest.importorskip("pptx")


def parsed(path: Path, file: Any) -> Parsed:
    file.save(path)
    (item,) = office.docx(path)
    assert isinstance(item, Parsed)
    return item


def test_headings_have_their_place_and_their_path(tmp_path: Path) -> None:
    file = docx.Document()
    file.add_heading("Handbook", 0)
    file.add_heading("Terms", 1)
    file.add_paragraph("Payment within ten days.")
    file.add_heading("", 1)
    file.add_heading("Returns", 2)
    item = parsed(tmp_path / "a.docx", file)
    assert item.title == "Handbook"
    assert [s.heading for s in item.sections] == ["Handbook", "Terms", "Terms > Returns"]
    assert [item.text[s.start :].split("\n")[0] for s in item.sections] == ["Handbook", "Terms", "Returns"]


def test_a_row_of_a_table_is_a_line_and_a_merged_cell_is_given_once(tmp_path: Path) -> None:
    file = docx.Document()
    table = file.add_table(rows=3, cols=2)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "Regions"
    table.cell(1, 0).text, table.cell(1, 1).text = "Brazil", "12"
    assert parsed(tmp_path / "a.docx", file).text.strip().split("\n") == ["Regions", "Brazil | 12"]


def test_headers_and_footers_come_last_and_once(tmp_path: Path) -> None:
    file = docx.Document()
    file.sections[0].header.paragraphs[0].text = "Confidential"
    file.sections[0].footer.paragraphs[0].text = "Confidential"
    file.add_paragraph("text")
    assert parsed(tmp_path / "a.docx", file).text.strip().split("\n") == ["text", "Confidential"]


BOX = "<w:pict><w:txbxContent><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:txbxContent></w:pict>"


def test_a_text_box_that_word_stores_twice_is_read_once(tmp_path: Path) -> None:
    file = docx.Document()
    paragraph = file.add_paragraph("text")
    boxes = "".join(BOX.format(text) for text in ("In a box", "", "In a box"))
    paragraph._p.append(docx.oxml.parse_xml(f"<w:r {docx.oxml.ns.nsdecls('w')}>{boxes}</w:r>"))
    assert parsed(tmp_path / "a.docx", file).text.strip().split("\n") == ["text", "In a box"]


def deck(path: Path, titles: list[str], *, hidden: tuple[int, ...] = ()) -> Path:
    file = pptx.Presentation()
    for number, title in enumerate(titles, start=1):
        slide = file.slides.add_slide(file.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = f"body {number}"
        slide.notes_slide.notes_text_frame.text = f"note {number}\n"
        if number in hidden:
            slide.element.set("show", "0")
    file.save(path)
    return path


def test_a_slide_is_a_page_with_its_title_first_and_its_notes_last(tmp_path: Path) -> None:
    (item,) = office.pptx(deck(tmp_path / "a.pptx", ["", "Second"]))
    assert isinstance(item, Parsed)
    assert item.text == "body 1\nnote 1\nSecond\nbody 2\nnote 2\n"
    assert [(s.page, s.heading) for s in item.sections] == [(1, "body 1"), (2, "Second")]
    assert item.title == "body 1"


@pytest.mark.parametrize(("hidden", "told"), [((2,), "1 hidden slide is"), ((1, 2), "2 hidden slides are")])
def test_hidden_slides_are_told_and_the_others_keep_their_numbers(
    tmp_path: Path, hidden: tuple[int, ...], told: str
) -> None:
    path = deck(tmp_path / "a.pptx", ["a", "b", "c"], hidden=hidden)
    left, item = office.pptx(path)
    (whole,) = office.pptx(path, hidden=True)
    assert isinstance(item, Parsed)
    assert isinstance(whole, Parsed)
    assert left == Hidden(what=told)
    assert [s.page for s in item.sections] == [n for n in (1, 2, 3) if n not in hidden]
    assert len(whole.sections) == 3


def test_tables_and_groups_of_a_slide_are_read(tmp_path: Path) -> None:
    file = pptx.Presentation()
    slide = file.slides.add_slide(file.slide_layouts[6])
    table = slide.shapes.add_table(1, 2, 0, 0, 9, 9).table
    table.cell(0, 0).text, table.cell(0, 1).text = "Brazil", "12"
    slide.shapes.add_group_shape().shapes.add_textbox(0, 0, 9, 9).text_frame.text = "in a group\n\nand more"
    slide.shapes.add_connector(1, 0, 0, 9, 9)
    file.save(tmp_path / "a.pptx")
    (item,) = office.pptx(tmp_path / "a.pptx")
    assert isinstance(item, Parsed)
    assert item.text == "Brazil | 12\nin a group\nand more\n"


@pytest.mark.parametrize(("parser", "kind"), [(office.docx, "Word"), (office.pptx, "PowerPoint")])
def test_a_damaged_file_says_so(tmp_path: Path, parser: Any, kind: str) -> None:
    deck(tmp_path / "deck", ["a"]) if kind == "Word" else docx.Document().save(tmp_path / "deck")
    with pytest.raises(CannotParse, match=f"{kind} file is damaged"):
        list(parser(tmp_path / "deck"))

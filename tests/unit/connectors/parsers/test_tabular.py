"""CSV, XLSX, JSON and JSONL: a record of the file is a document."""

import json
from pathlib import Path
from typing import Any

import pytest

from connectors.parsers import tabular
from connectors.parsers.errors import CannotParse
from connectors.parsers.parsed import Hidden, Parsed, Record

openpyxl = pytest.importorskip("openpyxl")


def records(parser: Any, path: Path, content: str | None = None, **options: bool) -> list[Any]:
    if content is not None:
        path.write_text(content, encoding="utf-8")
    return list(parser(path, **options))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_row_stands_under_the_names_of_the_first(tmp_path: Path, delimiter: str) -> None:
    text = "name,price\nA,1\n\nB,2\n".replace(",", delimiter)
    found = records(tabular.csv, tmp_path / "a.csv", text)
    assert [item.text for item in found] == ["name: A\nprice: 1", "name: B\nprice: 2"]
    assert [item.key for item in found] == [{"row": 2}, {"row": 4}]


def test_a_row_may_be_longer_or_shorter_than_the_first(tmp_path: Path) -> None:
    found = records(tabular.csv, tmp_path / "a.csv", "name,price\nA\nB,2,extra\n")
    assert [item.text for item in found] == ["name: A", "name: B\nprice: 2\nextra"]


def test_a_file_whose_delimiter_nobody_can_tell_is_read_by_commas(tmp_path: Path) -> None:
    assert [item.text for item in records(tabular.csv, tmp_path / "a.csv", "name\nA\n")] == ["name: A"]
    assert records(tabular.csv, tmp_path / "a.csv", "") == []


def test_a_csv_file_that_is_no_text_further_down_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"name,price\n" + (b"x" * 1000 + b",1\n") * 300 + b"\xff,1\n")
    with pytest.raises(CannotParse, match="CSV"):
        list(tabular.csv(tmp_path / "a.csv"))


def test_a_list_of_objects_is_a_record_each(tmp_path: Path) -> None:
    found = records(tabular.json, tmp_path / "a.json", json.dumps([{"a": {"b": 1}, "c": [1, 2]}, {"d": [{"e": 3}, 4]}]))
    assert [(item.text, item.key) for item in found] == [
        ("a.b: 1\nc: 1, 2", {"item": 1}),
        ("d.1.e: 3\nd.2: 4", {"item": 2}),
    ]
    assert [item.share for item in found] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("value", "text"),
    [({"a": 1}, "a: 1"), ([1, "中"], '[\n 1,\n "中"\n]'), ([], "[]"), ([{"a": 1}, 2], None), ("x", '"x"')],
)
def test_any_other_json_is_one_document(tmp_path: Path, value: Any, text: str | None) -> None:
    (item,) = records(tabular.json, tmp_path / "a.json", json.dumps(value))
    assert isinstance(item, Parsed)
    assert text is None or item.text == text


def test_each_line_of_jsonl_is_a_record(tmp_path: Path) -> None:
    found = records(tabular.jsonl, tmp_path / "a.jsonl", '{"a": 1}\n\n"x"\n')
    assert [(item.text, item.key) for item in found] == [("a: 1", {"line": 1}), ("x", {"line": 3})]


@pytest.mark.parametrize("parser", [tabular.json, tabular.jsonl])
@pytest.mark.parametrize("content", ["{", "[" * 200_000])
def test_what_is_no_json_says_so(tmp_path: Path, parser: Any, content: str) -> None:
    with pytest.raises(CannotParse, match="JSON"):
        records(parser, tmp_path / "a.json", content)


def workbook(path: Path, rows: list[list[object]], *, hide: bool = False) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Prices"
    for row in rows:
        sheet.append(row)
    if hide:
        sheet.row_dimensions[3].hidden = True
        sheet.column_dimensions["B"].hidden = True
        other = book.create_sheet("Secret")
        other.append(["a", "b"])
        other.append([1, 2])
        other.sheet_state = "hidden"
    book.save(path)
    return path


TABLE: list[list[object]] = [["name", "price"], ["A", 1], ["B", 2]]


def test_rows_of_a_sheet_stand_under_its_names(tmp_path: Path) -> None:
    found = records(tabular.xlsx, workbook(tmp_path / "a.xlsx", TABLE))
    assert [(item.text, item.key) for item in found] == [
        ("name: A\nprice: 1", {"sheet": "Prices", "row": 2}), ("name: B\nprice: 2", {"sheet": "Prices", "row": 3}),
    ]  # fmt: skip
    assert found[0].title == "a.xlsx: Prices"
    assert [item.share for item in found] == [2 / 3, 1.0]


def test_an_empty_row_ends_a_table_and_the_next_has_names_of_its_own(tmp_path: Path) -> None:
    found = records(
        tabular.xlsx, workbook(tmp_path / "a.xlsx", [*TABLE, [], ["town", "shop"], ["Berlin", "x"], ["note"]])
    )
    assert [item.text for item in found][2:] == ["town: Berlin\nshop: x", "town: note"]


def test_a_first_row_with_numbers_or_a_single_text_names_nothing(tmp_path: Path) -> None:
    found = records(tabular.xlsx, workbook(tmp_path / "a.xlsx", [["Prices of May"], ["A", 1]]))
    assert [item.text for item in found] == ["Prices of May", "A\n1"]


def test_what_a_workbook_hides_is_told_and_not_read(tmp_path: Path) -> None:
    hidden, *rows = records(tabular.xlsx, workbook(tmp_path / "a.xlsx", TABLE, hide=True))
    assert hidden == Hidden(what="1 hidden sheet, 1 hidden row, 1 hidden column are")
    assert [item.text for item in rows] == ["name", "A"]  # a single text names no column


def test_what_a_workbook_hides_is_read_where_that_is_wanted(tmp_path: Path) -> None:
    found = records(tabular.xlsx, workbook(tmp_path / "a.xlsx", TABLE, hide=True), hidden=True)
    assert [item.text for item in found] == ["name: A\nprice: 1", "name: B\nprice: 2", "a: 1\nb: 2"]


@pytest.mark.parametrize(
    ("counts", "told"),
    [((1, 0, 0), "1 hidden sheet is"), ((0, 2, 0), "2 hidden rows are"), ((0, 0, 1), "1 hidden column is")],
)
def test_one_hidden_part_is_told_in_the_singular(counts: tuple[int, int, int], told: str) -> None:
    sheets, rows, columns = counts
    left = tabular._Hides(frozenset(range(rows)), frozenset(range(columns)))
    assert list(tabular._told(sheets, [left])) == [Hidden(what=told)]
    assert list(tabular._told(0, [tabular._Hides()])) == []


def test_a_workbook_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(CannotParse, match="Excel"):
        records(tabular.xlsx, tmp_path / "a.xlsx", "no workbook")


def test_each_item_is_a_record_of_its_file(tmp_path: Path) -> None:
    assert all(isinstance(item, Record) for item in records(tabular.csv, tmp_path / "a.csv", "a,b\n1,2\n"))

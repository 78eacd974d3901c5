"""CSV, XLSX, JSON and JSONL: a record of the file is a document. CSV and JSONL are read in constant memory."""

import csv as csv_module
import json as json_module
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from lxml import etree

from connectors.parsers.encoding import detect_file, read_text
from connectors.parsers.errors import CannotParse
from connectors.parsers.parsed import Hidden, Item, Parsed, Record, lines
from rag.boundary.extras import needs_extra

_LONGEST_FIELD = 16 * 1024 * 1024
_COLUMNS = 16_384  # of a sheet, at most


def csv(path: Path, *, hidden: bool = False) -> Iterator[Item]:
    """Each row under the first row's names; the delimiter is found among , ; tab and |."""
    csv_module.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open("rb") as raw, TextIOWrapper(raw, detect_file(path), newline="") as file:
            size = path.stat().st_size
            dialect = _dialect(file.read(64 * 1024))
            file.seek(0)
            rows = csv_module.reader((line.replace("\0", "") for line in file), dialect)
            header: Sequence[str] = next(rows, [])
            for row in rows:
                if any(cell.strip() for cell in row):
                    yield _record(path.name, {"row": rows.line_num}, header, row, raw.tell() / size)
    except (csv_module.Error, UnicodeDecodeError) as err:
        raise CannotParse(f"the CSV file cannot be read: {err}") from err


def _dialect(sample: str) -> Any:
    try:
        return csv_module.Sniffer().sniff(sample, delimiters=",;\t|")
    except csv_module.Error:
        return csv_module.excel


def _record(
    name: str, key: dict[str, str | int], header: Sequence[object], row: Sequence[object], share: float
) -> Record:
    names = [str(cell).strip() if cell is not None else "" for cell in header]
    names += [""] * (len(row) - len(names))
    return Record(text=lines(zip(names, row, strict=False)), title=name, key=key, share=share)


def xlsx(path: Path, *, hidden: bool = False) -> Iterator[Item]:
    """Each sheet's rows under the sheet's first row that is not empty. hidden: those too that the file hides."""
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ModuleNotFoundError as err:
        raise CannotParse(needs_extra("XLSX files need", "docs")) from err
    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (InvalidFileException, BadZipFile, KeyError, ValueError, OSError) as err:
        raise CannotParse(f"the Excel file is damaged or protected by a password: {err}") from err
    try:
        sheets = [sheet for sheet in book.worksheets if hidden or sheet.sheet_state == "visible"]
        left = {sheet.title: _Hides.of(book, sheet) for sheet in sheets} if not hidden else {}
        yield from _told(len(book.worksheets) - len(sheets), list(left.values()))
        rows = sum(sheet.max_row or 0 for sheet in sheets)  # as the file says, which may leave it out
        before = 0
        for sheet in sheets:
            yield from _sheet(path.name, sheet, before, rows, left.get(sheet.title, _Hides()))
            before += sheet.max_row or 0
    finally:
        book.close()


@dataclass(frozen=True, slots=True)
class _Hides:
    """Numbers of the rows and columns of a sheet that it hides, from 1."""

    rows: frozenset[int] = frozenset()
    columns: frozenset[int] = frozenset()

    @classmethod
    def of(cls, book: Any, sheet: Any) -> "_Hides":
        """Read from the sheet's XML, because openpyxl does not tell it of a book that is only read."""
        rows, columns, number = set(), set(), 0
        with book._archive.open(sheet._worksheet_path) as file:
            for _, element in etree.iterparse(file, tag=("{*}row", "{*}col"), resolve_entities=False):
                is_hidden = element.get("hidden") in ("1", "true")
                if etree.QName(element).localname == "row":
                    number = int(element.get("r", number + 1))
                    rows |= {number} if is_hidden else set()
                elif is_hidden:
                    columns |= set(range(int(element.get("min", 1)), min(int(element.get("max", 1)), _COLUMNS) + 1))
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
        return cls(frozenset(rows), frozenset(columns))


def _told(sheets: int, sheets_left: Sequence[_Hides]) -> Iterator[Hidden]:
    rows, columns = (sum(len(getattr(left, name)) for left in sheets_left) for name in ("rows", "columns"))
    counts = [(sheets, "sheet"), (rows, "row"), (columns, "column")]
    parts = [f"{count} hidden {what}{'s' if count > 1 else ''}" for count, what in counts if count]
    if parts:
        yield Hidden(what=f"{', '.join(parts)} {'is' if sheets + rows + columns == 1 else 'are'}")


def _sheet(name: str, sheet: Any, before: int, rows: int, left: _Hides) -> Iterator[Record]:
    """before: rows of the sheets before it, of all the file's rows; 0 where they are not known. left: not read."""
    header: Sequence[object] | None = None
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        if number in left.rows:
            continue
        if left.columns:
            row = tuple(None if place in left.columns else cell for place, cell in enumerate(row, start=1))
        filled = [cell for cell in row if cell is not None and str(cell).strip()]
        if not filled:
            header = None  # an empty row ends a table; the next one begins with names of its own
        elif header is None and len(filled) > 1 and all(isinstance(cell, str) for cell in filled):
            header = row
        else:
            share = min((before + number) / rows, 1.0) if rows else 0.0
            yield _record(f"{name}: {sheet.title}", {"sheet": sheet.title, "row": number}, header or (), row, share)


def json(path: Path, *, hidden: bool = False) -> Iterator[Item]:
    """A list of objects gives a record each; anything else is one document, written out with its keys."""
    try:
        value = json_module.loads(read_text(path))
    except (ValueError, RecursionError) as err:
        raise CannotParse(f"the JSON is not valid: {err}") from err
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for number, item in enumerate(value, start=1):
            share = number / len(value)
            yield Record(text=lines(_flat(item)), title=path.name, key={"item": number}, share=share)
        return
    text = lines(_flat(value)) if isinstance(value, dict) else json_module.dumps(value, ensure_ascii=False, indent=1)
    yield Parsed(text=text)


def jsonl(path: Path, *, hidden: bool = False) -> Iterator[Item]:
    """Each line is a record."""
    try:
        with path.open("rb") as raw, TextIOWrapper(raw, detect_file(path)) as file:
            size = path.stat().st_size
            for number, line in enumerate(file, start=1):
                if line.strip():
                    value = json_module.loads(line)
                    fields = _flat(value) if isinstance(value, dict) else [("", value)]
                    share = raw.tell() / size
                    yield Record(text=lines(fields), title=path.name, key={"line": number}, share=share)
    except (ValueError, RecursionError) as err:
        raise CannotParse(f"a line is not valid JSON: {err}") from err


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested keys as paths: {"a": {"b": 1}} gives ("a.b", 1); a list of plain values is joined by commas."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, inner in enumerate(value, start=1):
            yield from _flat(inner, f"{prefix}.{number}")
    elif isinstance(value, list):
        yield prefix, ", ".join(str(item) for item in value)
    else:
        yield prefix, value

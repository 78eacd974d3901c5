"""Files as text with positions, or as records; the kind is found by content, then by extension."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from connectors.parsers import markup, office, pdf, tabular
from connectors.parsers.encoding import looks_like_text
from connectors.parsers.errors import CannotParse, Ignored
from connectors.parsers.parsed import Hidden, Item, Parsed, Record
from connectors.parsers.private_key import is_private_key

__all__ = ["Hidden", "Item", "Parsed", "Record", "is_binary", "parse"]


class Parser(Protocol):
    """Reads files of one kind. hidden: with what they hide from their readers, where the kind can hide anything."""

    def __call__(self, path: Path, *, hidden: bool = False) -> Iterator[Item]: ...


_BY_EXTENSION: dict[str, Parser] = {
    ".md": markup.markdown,
    ".markdown": markup.markdown,
    ".txt": markup.text,
    ".rst": markup.text,
    ".log": markup.text,
    ".html": markup.html,
    ".htm": markup.html,
    ".xhtml": markup.html,
    ".pdf": pdf.pages,
    ".docx": office.docx,
    ".pptx": office.pptx,
    ".xlsx": tabular.xlsx,
    ".xlsm": tabular.xlsx,
    ".csv": tabular.csv,
    ".tsv": tabular.csv,
    ".json": tabular.json,
    ".jsonl": tabular.jsonl,
    ".ndjson": tabular.jsonl,
}
_OFFICE_FOLDERS: dict[str, Parser] = {"word/": office.docx, "ppt/": office.pptx, "xl/": tabular.xlsx}
_CONVERT = {
    ".doc": "DOCX", ".xls": "XLSX", ".ppt": "PPTX", ".odt": "DOCX", ".ods": "XLSX", ".odp": "PPTX", ".rtf": "DOCX",
    ".epub": "HTML", ".eml": "text", ".msg": "text",
}  # fmt: skip


def parse(path: Path, *, hidden: bool = False) -> Iterator[Item]:
    """Read a file. hidden: with what it hides from its readers; else that is told.

    Raises CannotParse when it cannot be read, Ignored when there is nothing in it to read.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise Ignored("the file is empty")
    if is_private_key(head):
        raise Ignored("it contains a private key")
    parser = _parser(path, head)
    count = 0
    for item in parser(path, hidden=hidden):
        if isinstance(item, Hidden):
            yield item
        elif item.text.strip():
            count += 1
            yield item
    if not count:
        raise Ignored("the file contains no text")


def is_binary(path: Path) -> bool:
    """Whether a file is of a kind that is parsed by a library for a binary format."""
    with path.open("rb") as file:
        head = file.read(1024)
    return b"%PDF-" in head or head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0"))


def _parser(path: Path, head: bytes) -> Parser:
    extension = path.suffix.lower()
    if b"%PDF-" in head[:1024]:
        return pdf.pages
    if head.startswith(b"PK\x03\x04") and (found := _office_parser(path)):
        return found
    if head.startswith(b"\xd0\xcf\x11\xe0") and extension in (".docx", ".xlsx", ".pptx"):
        raise CannotParse("the file is protected by a password or in the old binary format; save it without either")
    if extension in _CONVERT:
        raise CannotParse(f"{extension} files are not read; convert it to {_CONVERT[extension]}")
    if extension in _BY_EXTENSION:
        return _BY_EXTENSION[extension]
    if not looks_like_text(head):
        raise Ignored(f"files {f'of type {extension}' if extension else 'without an extension'} are not read")
    if head.lstrip()[:200].lower().startswith((b"<!doctype html", b"<html")):
        return markup.html
    return markup.text


def _office_parser(path: Path) -> Parser | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as err:
        raise CannotParse(f"the file is damaged: {err}") from err
    if "[Content_Types].xml" not in names:
        return None
    return next((p for folder, p in _OFFICE_FOLDERS.items() if any(n.startswith(folder) for n in names)), None)

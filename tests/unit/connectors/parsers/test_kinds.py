"""Which parser reads a file, and what of it is no document."""

import zipfile
from pathlib import Path

import pytest

from connectors.parsers import Hidden, Parsed, Record, is_binary, parse
from connectors.parsers.errors import CannotParse, Ignored
from connectors.parsers.private_key import is_private_key


def texts(path: Path) -> list[str]:
    return [item.text for item in parse(path) if not isinstance(item, Hidden)]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [
        ("a.md", "# Top\n\ntext", "Top"),
        ("A.MARKDOWN", "# Top\n", "Top"),
        ("a.html", "<h1>Top</h1>", "Top"),
        ("a.txt", "# Top", ""),
    ],
)
def test_the_kind_is_found_by_the_extension(tmp_path: Path, name: str, content: str, title: str) -> None:
    (item,) = parse(write(tmp_path / name, content))
    assert isinstance(item, Parsed)
    assert item.title == title


def test_records_of_a_file_are_given_one_by_one(tmp_path: Path) -> None:
    assert [type(item) for item in parse(write(tmp_path / "a.csv", "name,price\nx,1\ny,2\n"))] == [Record, Record]


@pytest.mark.parametrize("content", ["<!DOCTYPE html><p>text</p>", "\n<HTML><p>text</p></HTML>"])
def test_a_page_without_an_extension_is_known_by_its_beginning(tmp_path: Path, content: str) -> None:
    assert [text.strip() for text in texts(write(tmp_path / "page", content))] == ["text"]


def test_text_of_another_extension_is_text(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "notes.xyz", "plain words <p>")) == ["plain words <p>"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.md", b"", "is empty"),
        ("a.md", b"  \n\n", "no text"),
        ("a.png", bytes(range(256)), "files of type .png"),
        ("picture", bytes(range(256)), "without an extension"),
        ("a.txt", b"-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "private key"),
    ],
)
def test_a_file_with_nothing_to_read_is_ignored(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    with pytest.raises(Ignored, match=told):
        list(parse(write(tmp_path / name, content)))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.docx", b"\xd0\xcf\x11\xe0" + b"\0" * 60, "password"),
        ("a.doc", b"\xd0\xcf\x11\xe0" + b"\0" * 60, "DOCX"),
        ("a.eml", b"From: a", "text"),
        ("a.docx", b"PK\x03\x04broken", "damaged"),
        ("a.json", b"{", "JSON"),
    ],
)
def test_a_file_that_should_be_readable_and_is_not_says_what_helps(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    with pytest.raises(CannotParse, match=told):
        list(parse(write(tmp_path / name, content)))


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return path


@pytest.mark.parametrize(("folder", "kind"), [("word/", "Word"), ("ppt/", "PowerPoint"), ("xl/", "Excel")])
def test_office_files_are_known_by_what_is_in_them(tmp_path: Path, folder: str, kind: str) -> None:
    with pytest.raises(CannotParse, match=kind):
        list(parse(archive(tmp_path / "renamed.bin", "[Content_Types].xml", f"{folder}document.xml")))


def test_another_archive_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(Ignored):
        list(parse(archive(tmp_path / "a.zip", "word/document.xml")))


def test_a_pdf_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    with pytest.raises(CannotParse, match="PDF"):
        list(parse(write(tmp_path / "renamed.md", b"junk\n%PDF-1.7 broken")))


@pytest.mark.parametrize(
    ("content", "binary"), [(b"%PDF-1.7", True), (b"PK\x03\x04", True), (b"\xd0\xcf\x11\xe0", True), (b"text", False)]
)
def test_binary_kinds_are_parsed_elsewhere(tmp_path: Path, content: bytes, binary: bool) -> None:
    assert is_binary(write(tmp_path / "a", content)) is binary


@pytest.mark.parametrize(
    "head", [b"\xef\xbb\xbf-----BEGIN RSA PRIVATE KEY-----", b"# a note\n-----BEGIN PGP PRIVATE KEY BLOCK-----"]
)
def test_a_private_key_is_known_whatever_stands_before_it(head: bytes) -> None:
    assert is_private_key(head)
    assert not is_private_key(b"-----BEGIN PUBLIC KEY-----")

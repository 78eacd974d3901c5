from pathlib import Path

import pytest

from connectors.parsers.encoding import detect, detect_file, looks_like_text, read_text

CHINESE = "黑胶唱片必须竖直存放，库房温度保持在十八至二十二摄氏度。"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (CHINESE.encode(), CHINESE),
        (CHINESE.encode("gb18030"), CHINESE),
        (CHINESE.encode("gbk"), CHINESE),
        (CHINESE.encode("utf-16"), CHINESE),
        ("Größe und Farbe: schön, für dich".encode("cp1252"), "Größe und Farbe: schön, für dich"),
        ("plain text in UTF-16".encode("utf-16-le"), "plain text in UTF-16"),
        ("\ufeffwith a mark".encode(), "with a mark"),
    ],
)
def test_the_encoding_of_a_text_is_found(data: bytes, text: str) -> None:
    assert data.decode(detect(data)) == text


def test_binary_is_told_from_text() -> None:
    assert not looks_like_text(bytes(range(256)))
    assert looks_like_text(b"name\tprice\r\n")


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("plain text".encode("utf-16-be"), "utf-16-be"),
        (b"\0" * 100, "utf-8"),
        ("中文".encode("gb18030"), "gb18030"),
        ("，。「」中文！？".encode("gb18030"), "gb18030"),
        ("жизнь и слово, жизнь".encode("cp1251"), "cp1251"),
        (b"\x81\x8d\x8f\x90\x9d" * 9, "cp1252"),
        (bytes(range(128, 256)) * 3, "cp1252"),
        ("text".encode("utf-32"), "utf-32"),
    ],
)
def test_an_encoding_is_known_by_what_only_it_would_give(data: bytes, encoding: str) -> None:
    assert detect(data) == encoding


@pytest.mark.parametrize("text", ["，。！", "中", "龘龗龖中国"])
def test_a_few_bytes_that_are_hardly_common_chinese_are_not_taken_for_it(text: str) -> None:
    assert detect(text.encode("gb18030")) != "gb18030"


def test_of_a_large_file_whole_lines_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(("中" * 20 + "\n") * 6000, encoding="utf-8")
    assert detect_file(tmp_path / "a.csv") == "utf-8"
    (tmp_path / "a.csv").write_text("x" * 300_000)
    assert detect_file(tmp_path / "a.csv") == "utf-8"


def test_of_a_small_file_the_last_line_counts_without_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("ascii\nGröße und Farbe: schön, für dich".encode("cp1252"))
    assert (
        (tmp_path / "a.csv")
        .read_bytes()
        .decode(detect_file(tmp_path / "a.csv"))
        .endswith("Größe und Farbe: schön, für dich")
    )


def test_a_text_has_line_ends_of_one_kind_and_no_mark(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffa\r\nb\rc\0\n".encode())
    assert read_text(tmp_path / "a.txt") == "a\nb\nc\n"


def test_text_in_utf16_is_text() -> None:
    assert looks_like_text("text".encode("utf-16"))
    assert looks_like_text("a longer text".encode("utf-16-le"))
    assert not looks_like_text(b"\0" * 40)

import pytest

from connectors.parsers.encoding import detect, looks_like_text

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
def test_the_encoding_of_a_text_is_found(data: bytes, text: str):
    assert data.decode(detect(data)) == text


def test_binary_is_told_from_text():
    assert not looks_like_text(bytes(range(256)))
    assert looks_like_text(b"name\tprice\r\n")

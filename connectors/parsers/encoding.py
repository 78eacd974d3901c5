"""Which encoding a text file has. UTF-8 first, then UTF-16, then GB18030, then what charset-normalizer finds."""

import codecs
from pathlib import Path

from charset_normalizer import from_bytes

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 256 * 1024
_COMMON_HAN = range(0xB0, 0xD8)  # first bytes of GB 2312's level 1: the 3,755 most used characters


def read_text(path: Path) -> str:
    """A file's text with line ends as \\n and no byte order mark."""
    data = path.read_bytes()
    encoding = detect(data)
    return data.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def detect_file(path: Path) -> str:
    """The encoding of a file too large to read whole, from its first 256 KiB."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    if len(sample) == _SAMPLE_BYTES:
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    return detect(sample)


def detect(data: bytes) -> str:
    """The name of the codec that reads data."""
    for bom, name in _BOMS:
        if data.startswith(bom):
            return name
    if wide := _utf16_without_bom(data):
        return wide
    if _decodes(data, "utf-8"):
        return "utf-8"
    if _is_gb18030(data):
        return "gb18030"
    best = from_bytes(data[:_SAMPLE_BYTES]).best()
    return best.encoding if best is not None and _decodes(data, best.encoding) else "cp1252"


def looks_like_text(head: bytes) -> bool:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _utf16_without_bom(head):
        return True
    control = sum(byte < 9 or 13 < byte < 32 for byte in head)
    return control * 50 < len(head)


def _utf16_without_bom(data: bytes) -> str:
    """Latin text in UTF-16 has a zero in every other byte."""
    sample = data[:4096]
    if len(sample) < 4:
        return ""
    half = len(sample) // 2
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.4 * half and odd < 0.05 * half:
        return "utf-16-be"
    return ""


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return False
    return True


def _is_gb18030(data: bytes) -> bool:
    """Strictly valid, and most of its double bytes are common Chinese characters."""
    if not _decodes(data, "gb18030"):
        return False
    wide = [char for char in data[:_SAMPLE_BYTES].decode("gb18030", errors="ignore") if ord(char) > 127]
    common = sum(1 for char in wide if (code := char.encode("gb18030"))[0] in _COMMON_HAN and len(code) == 2)
    punctuation = sum(1 for char in wide if "\u3000" <= char <= "\u303f" or "\uff00" <= char <= "\uffef")
    return common >= 2 and common + punctuation > 0.7 * len(wide)

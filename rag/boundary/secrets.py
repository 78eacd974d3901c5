"""Keeps passwords, keys and what `${VARIABLES}` held out of every text that leaves, by their values.

A text is searched for the values themselves, not for places where one may stand: an error of a driver puts them where
no parser looks. Values of fewer than six characters are not masked, because they stand in ordinary words.
"""

import base64
import html
import json
import logging
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
_SHORTEST = 6
_known: set[str] = set()
_pattern: re.Pattern[str] | None = None


def remember(values: Iterable[str]) -> None:
    """Have values masked from now on, in this process."""
    global _pattern
    new = {value for value in values if len(value.strip()) >= _SHORTEST} - _known
    if new:
        _known.update(new)
        forms = {form for value in _known for form in _forms(value) if len(form) >= _SHORTEST}
        _pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))), re.IGNORECASE)


def masked(text: str) -> str:
    """A text without the values that are to be kept secret, in whatever encoding they stand in it."""
    return _pattern.sub(MASK, text) if _pattern is not None and text else text


def masked_in(value: Any) -> Any:
    """The same for all texts in something that can be JSON."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {name: masked_in(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked_in(inner) for inner in value]
    return value


def _mask_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = masked(record.getMessage()), ()
    return True


logging.getLogger("citewell").addFilter(_mask_record)  # wherever its records go: the command sets up no handler


def _forms(value: str) -> set[str]:
    """A value as it may be written: as it is, in a URL, in JSON, in Python's form, in HTML, in base64."""
    encoded = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
    return {
        value, value.strip(), quote(value, safe="", errors="replace"), quote(value, errors="replace"),
        quote_plus(value, errors="replace"), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1], html.escape(value), encoded, encoded.rstrip("="),
    }  # fmt: skip

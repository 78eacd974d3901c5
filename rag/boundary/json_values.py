"""JSON that others wrote, callers and language models: what of it is taken."""

import json
import math
from typing import Any

MOST_LEVELS = 64


def flaw(value: object) -> str:
    """What is wrong with a JSON value: too deep, a number that is none, half a character. Empty where nothing is."""
    waiting = [(value, 1)]
    while waiting:
        inner, level = waiting.pop()
        if level > MOST_LEVELS:
            return f"it is nested over {MOST_LEVELS} levels deep"
        if isinstance(inner, float) and not math.isfinite(inner):
            return f"{inner} is not a number that JSON allows"
        if isinstance(inner, str) and not is_unicode(inner):
            return f"{inner!r} contains an unpaired UTF-16 surrogate"
        if isinstance(inner, dict):
            waiting += [(each, level + 1) for pair in inner.items() for each in pair]
        elif isinstance(inner, list | tuple):
            waiting += [(each, level + 1) for each in inner]
    return ""


def parsed(text: str) -> Any:
    """The value of a text in JSON. Raises ValueError for what is none, or has a flaw."""
    try:
        value = json.loads(text)
    except RecursionError as err:
        raise ValueError(f"it is nested over {MOST_LEVELS} levels deep") from err
    if wrong := flaw(value):
        raise ValueError(wrong)
    return value


def is_unicode(text: str) -> bool:
    """Whether a text has whole characters only."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

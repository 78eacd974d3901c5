"""Every regular expression of ours takes time in proportion to the text, whatever the text is.

Each pattern of a module, and each that stands in a call, is searched for in texts derived from its own parts: a run of
what one of its repetitions repeats, behind what may stand before it, with an end that does not fit.
"""

import ast
import importlib
import pkgutil
import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import connectors
import indexes
import rag
import service

re_parser: Any = importlib.import_module("re._parser")
_MANY = 16  # of a repetition whose most is so high, a run is made
_SHORT, _LONG = 1_000, 8_000
_WORTH_S = 0.02  # a quadratic pattern takes ten times as long for the long text
_LINEAR = 3 * _LONG / _SHORT
_CALLS = {"search", "match", "fullmatch", "findall", "finditer", "sub", "subn", "split"}


def modules() -> Iterator[ModuleType]:
    for package in (rag, connectors, indexes, service):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def patterns() -> dict[str, tuple[re.Pattern[str], str]]:
    """By place: the patterns that modules hold, and those that stand as a text in a call of re; and how each is used."""
    found: dict[str, tuple[re.Pattern[Any], str]] = {}
    for module in modules():
        for name, value in vars(module).items():
            for number, pattern in enumerate(_held_by(value)):
                found[f"{module.__name__}.{name}.{number}"] = pattern, "finditer"
        tree = ast.parse(Path(str(module.__file__)).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CALLS:
                first = node.args[0] if node.args else None
                of_re = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
                if of_re and isinstance(first, ast.Constant) and isinstance(first.value, str):
                    anchored = node.func.attr in ("match", "fullmatch")
                    found[f"{module.__name__}:{node.lineno}"] = (
                        re.compile(first.value), node.func.attr if anchored else "finditer"
                    )  # fmt: skip
    return {place: (pattern, use) for place, (pattern, use) in found.items() if isinstance(pattern.pattern, str)}


def _held_by(value: object) -> list[re.Pattern[Any]]:
    """A pattern; or those that a function without parameters compiles on first use, from words that stand in a file."""
    if isinstance(value, re.Pattern):
        return [value]
    made = getattr(getattr(value, "__wrapped__", None), "__annotations__", {})
    if set(made) != {"return"} or "re.Pattern" not in str(made["return"]):
        return []
    given = value()  # type: ignore[operator]
    return [part for part in (given if isinstance(given, tuple) else (given,)) if isinstance(part, re.Pattern)]


def sample(parsed: Any, deep: int = 0) -> list[str]:
    """A few texts that a part of a pattern fits."""
    texts = [""]
    for operation, argument in parsed:
        texts = [before + each for before in texts for each in _samples(str(operation), argument, deep)][:6]
    return texts


def _samples(operation: str, argument: Any, deep: int) -> list[str]:
    match operation:
        case "LITERAL":
            return [chr(argument)]
        case "NOT_LITERAL":
            return ["a" if argument != 97 else "b"]
        case "ANY":
            return ["a"]
        case "IN":
            return _members(argument)
        case "BRANCH":
            return [text for branch in argument[1] for text in sample(branch, deep)[:2]]
        case "SUBPATTERN":
            return sample(argument[-1], deep)
        case "ATOMIC_GROUP":
            return sample(argument, deep)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, _, body = argument
            return [text * max(least, 1) for text in sample(body, deep)] + ([""] if least == 0 else [])
        case _:
            return [""]


def _members(items: Any) -> list[str]:
    """Some signs of a set: of each of its kinds, or one that it leaves out."""
    if str(items[0][0]) == "NEGATE":
        taken = set("".join(_members(items[1:]))) if len(items) > 1 else set()
        return [sign for sign in 'a1 .\t"-' if sign not in taken][:4] or ["\u4e00"]
    signs = []
    for operation, argument in items:
        match str(operation):
            case "LITERAL":
                signs.append(chr(argument))
            case "RANGE":
                signs.append(chr(argument[0]))
            case "CATEGORY":
                signs += {"CATEGORY_SPACE": [" ", "\n"], "CATEGORY_DIGIT": ["1"], "CATEGORY_WORD": ["a", "1"]}.get(
                    str(argument), ["."]
                )
    return list(dict.fromkeys(signs))[:8]


def runs(parsed: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """What may stand before a repetition, and what it repeats, for each of a pattern's repetitions."""
    items = list(parsed)
    for place, (operation, argument) in enumerate(items):
        lead = before + sample(items[:place])[0]
        match str(operation):
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                _, most, body = argument
                if most >= _MANY:
                    for text in sample(body):
                        yield lead, text
                yield from runs(body, lead)
            case "BRANCH":
                for branch in argument[1]:
                    yield from runs(branch, lead)
            case "SUBPATTERN":
                yield from runs(argument[-1], lead)
            case "ATOMIC_GROUP":
                yield from runs(argument, lead)


def hostile(pattern: re.Pattern[str], length: int) -> set[str]:
    """Texts of about so many characters that are derived from a pattern."""
    texts = set()
    for lead, unit in runs(re_parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)):
        if unit:
            run = unit * (length // len(unit))
            texts |= {
                run,
                f"{lead}{run}\0",
                f"{run}\0",
                f"{lead}{run}{lead}",
                (lead + unit) * (length // len(lead + unit)),
            }
    return texts | {sign * length for sign in " .\n[("}


def seconds(pattern: re.Pattern[str], text: str, use: str = "finditer") -> float:
    """The least CPU time of using a pattern on a text, of three times."""
    least = float("inf")
    for _ in range(3):
        begun = time.process_time()
        found = getattr(pattern, use)(text)
        if use == "finditer":
            deque(found, maxlen=0)
        least = min(least, time.process_time() - begun)
        if least < _WORTH_S:
            break
    return least


ALL = patterns()


@pytest.mark.parametrize("place", sorted(ALL))
def test_a_pattern_is_linear_in_the_text(place: str) -> None:
    pattern, use = ALL[place]
    for text in sorted(hostile(pattern, _LONG)):
        long_s = seconds(pattern, text, use)
        if long_s > _WORTH_S:
            assert long_s < _LINEAR * seconds(pattern, text[: len(text) * _SHORT // _LONG], use), repr(text[:40])


@pytest.mark.parametrize("text", [r"[.!?]+\s+", r"\s*\n\s*", r"(a+)+$", r"[ \t]+\n"])
def test_patterns_that_are_not_linear_are_found(text: str) -> None:
    pattern = re.compile(text)
    length = 22 if text.startswith("(") else _LONG
    assert any(seconds(pattern, each) > _WORTH_S for each in hostile(pattern, length))

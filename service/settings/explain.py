"""What is wrong with a configuration, where it stands, and how to mend it."""

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from service.settings.environment import PREFIX
from service.settings.sections import Settings
from service.settings.sources import FilesSettings, SqlSettings


def explained(err: ValidationError, path: Path, text: str) -> str:
    """A line for each mistake: the file with its line, or the variable; the key; what is wrong. text: of the file."""
    lines = []
    for problem in err.errors():
        location = _location(problem["loc"])
        line = line_of(text, location)
        variable = PREFIX + "__".join(location).upper()
        where = f"{path}, line {line}" if line else f"{path}, or the environment variable {variable}"
        lines.append(f"{where}: {'.'.join(location)}: {_reason(problem, location)}")
    return "\n".join(lines)


def _location(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """Where a value stands in the file; pydantic names the kind of a source behind the source."""
    return tuple(str(part) for place, part in enumerate(loc) if place != 2 or loc[0] != "sources")


def _reason(problem: Any, location: tuple[str, ...]) -> str:
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        return f"unknown key {location[-1]!r}" + (f"; known keys: {', '.join(known)}" if known else "")
    if problem["type"].startswith("union_tag"):
        return 'a source needs kind = "sql" or kind = "files"'
    return str(problem["msg"]).removeprefix("Value error, ")


def _known_keys(section: tuple[str, ...]) -> list[str]:
    fields = Settings.model_fields
    if not section:
        return [name for name, field in fields.items() if not field.exclude]
    model = fields[section[0]].annotation if section[0] in fields else None
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    if section[0] == "sources":
        return sorted({(f.alias or n) for m in (SqlSettings, FilesSettings) for n, f in m.model_fields.items()})
    return []


def line_of(text: str, location: tuple[str, ...]) -> int | None:
    """The line of a key: the last part of its location that the file has, under its section."""
    *section, key = location
    current: list[str] = []
    fallback = None
    for number, line in enumerate(text.splitlines(), start=1):
        names = _names(line)
        if names:
            current = names
            if current in (section, [*location]):
                fallback = number
        assigned = re.match(r"""\s*["']?([\w-]+)["']?\s*=""", line)
        if assigned and current == section and assigned[1] == key:
            return number
        if assigned and assigned[1] in location and current == section[: len(current)] and fallback is None:
            fallback = number
    return fallback


def _names(line: str) -> list[str]:
    """The names in a section's header, without their quotes; none in another line, or one that only looks like it."""
    header = re.match(r"\s*\[[^\[\]]+\]", line)
    names: list[str] = []
    try:
        place: dict[str, Any] = tomllib.loads(header[0]) if header else {}
    except tomllib.TOMLDecodeError:  # a line of a longer text
        return []
    while place:
        name, place = next(iter(place.items()))
        names.append(name)
    return names

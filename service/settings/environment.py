"""What the environment says of the configuration: ${VARIABLES} in its values, and CITEWELL_SECTION__KEY over it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rag.boundary.secrets import remember
from rag.boundary.urls import user_part
from rag.errors import ConfigError

PREFIX = "CITEWELL_"
_NOT_SETTINGS = {"CITEWELL_CONFIG"}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def expanded(value: Any, environ: Mapping[str, str], path: Path) -> Any:
    """A configuration with its ${VARIABLES} filled in, encoded where they stand in an address.

    Raises ConfigError for a variable that is not set.
    """
    if isinstance(value, dict):
        return {key: expanded(inner, environ, path) for key, inner in value.items()}
    if isinstance(value, list):
        return [expanded(inner, environ, path) for inner in value]
    if not isinstance(value, str):
        return value

    start, end = user_part(value)
    query = value.find("?") if "://" in value else -1

    def variable(match: re.Match[str]) -> str:
        if match.group(1) not in environ:
            raise ConfigError(f"{path} uses ${{{match.group(1)}}}, but no such environment variable is set.")
        found = environ[match.group(1)]
        remember([found])
        is_value = start <= match.start() < end or 0 <= query < match.start()  # of a URL, whose signs it may hold
        return quote(found, safe="") if is_value else found

    return _VARIABLE.sub(variable, value)


def with_environment(raw: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Put CITEWELL_SECTION__KEY values over the file's; JSON where it parses as such, text where not.

    Raises ConfigError for a variable whose section is none.
    """
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name in _NOT_SETTINGS:
            continue
        *sections, key = name.removeprefix(PREFIX).lower().split("__")
        place = raw
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(
                    f"The environment variable {name} does not name a setting: {section!r} is not a section."
                )
        place[key] = _parsed(value)
    return raw


def _parsed(value: str) -> Any:
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, list | dict | bool) else value

"""Reading the configuration file."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from rag.errors import ConfigError
from service.settings.environment import expanded, with_environment
from service.settings.explain import explained, line_of
from service.settings.sections import Settings

DEFAULT_PATH = "citewell.toml"


def load_settings(path: str | Path = DEFAULT_PATH, *, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read a configuration file. Raises ConfigError naming file, line and key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except FileNotFoundError as err:
        raise ConfigError(f"There is no configuration at {path}. Create one with `citewell init`.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"The configuration {path} cannot be read: {err}") from err
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(f"{path} is not valid TOML: {err}") from err
    for key in {"root", "file"} & raw.keys():
        raise ConfigError(f"{path}, line {line_of(text, (key,))}: unknown key {key!r}.")
    root = path.resolve().parent
    merged = with_environment(expanded(raw, environ, path), environ)
    try:
        settings = Settings.model_validate(merged | {"root": root})
    except ValidationError as err:
        raise ConfigError(explained(err, path, text)) from err
    return settings.model_copy(update={"data_dir": root / settings.data_dir.expanduser(), "file": path.resolve()})

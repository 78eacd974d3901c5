"""Adds a source to citewell.toml, and keeps what stands in it as it is."""

import os
import re
from pathlib import Path
from typing import Any

from connectors.sql.connection import database_name, rooted
from rag.errors import ConfigError
from service.settings.edit import set_values
from service.settings.load import load_settings
from service.settings.sections import Settings
from service.wiring import build

_SQLITE_ENDINGS = (".sqlite", ".sqlite3", ".db", ".db3")


def describe_source(url_or_path: str, *, name: str, tables: list[str], config: Path) -> tuple[str, dict[str, Any]]:
    """A source's name and settings, from what `citewell add` was given; paths become relative to the configuration."""
    root = config.resolve().parent
    if "://" in url_or_path:
        settings: dict[str, Any] = {"kind": "sql", "url": rooted(url_or_path, Path.cwd())}
        proposed = database_name(url_or_path) or "database"
    elif Path(url_or_path).is_file() and url_or_path.lower().endswith(_SQLITE_ENDINGS):
        settings = {"kind": "sql", "url": f"sqlite:///{os.path.relpath(url_or_path, root)}"}
        proposed = Path(url_or_path).stem
    else:
        path = Path(url_or_path).expanduser()
        relative = os.path.relpath(path, root) if not path.is_absolute() else str(path)
        settings = {"kind": "files", "paths": [os.path.join(relative, "**", "*") if path.is_dir() else relative]}
        proposed = path.stem if "*" not in path.name else path.parent.name
    if tables:
        if settings["kind"] != "sql":
            raise ConfigError("--table can only be used with a database, not with files.")
        settings["tables"] = tables
    return name or re.sub(r"\W+", "_", proposed).strip("_").lower() or "source", settings


def add_source(config: Path, name: str, settings: dict[str, Any]) -> str:
    """Check a source and put it into the configuration file; returns what the check found.

    Raises ConfigError when the name is taken, SourceError when the source cannot be read.
    """
    current = load_settings(config)
    if name in current.sources:
        raise ConfigError(f"{config} already has a source {name!r}. Choose another name with --name.")
    candidate = Settings.model_validate({"sources": {name: settings}, "root": current.root, "file": current.file})
    candidate = candidate.model_copy(update={"data_dir": current.data_dir})
    summary = build(candidate).catalogue.connector(name).check()
    set_values(config, f"sources.{name}", **settings)
    os.chmod(config, 0o600)  # the source's URL may hold a password
    return summary

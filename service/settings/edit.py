"""Changes to a configuration file that leave what else stands in it as it is."""

import os
from pathlib import Path
from typing import Any

import tomlkit


def set_values(config: Path, section: str, **values: Any) -> None:
    """Put values into a section (dotted for one within another), atomically, with the file's own mode."""
    document = tomlkit.parse(config.read_text(encoding="utf-8"))
    place: Any = document
    *outer, last = section.split(".", 1)
    for name in outer:
        place = place.setdefault(name, tomlkit.table(is_super_table=True))
    place = place.setdefault(last, tomlkit.table())
    for key, value in values.items():
        place[key] = value
    scratch = config.with_name(config.name + ".tmp")
    scratch.touch(mode=0o600)
    scratch.write_text(tomlkit.dumps(document), encoding="utf-8")
    os.chmod(scratch, config.stat().st_mode)
    os.replace(scratch, config)

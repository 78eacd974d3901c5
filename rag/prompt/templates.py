"""The texts around passages and questions. They are files, and each can be replaced by a user's own."""

import hashlib
import re
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from rag.errors import ConfigError

_BUILT_IN = Path(__file__).parent / "prompt_templates"
_SLOTS = {
    "system": frozenset[str](),
    "json": frozenset[str](),
    "user": frozenset({"passages", "question"}),
    "standalone": frozenset({"history", "question"}),
}
_OPTIONAL = {"user": frozenset({"order"})}
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """system: the instructions. json: those for answers in JSON. user: a turn. standalone: to rewrite a follow-up."""

    system: str
    json: str
    user: str
    standalone: str

    @property
    def version(self) -> str:
        """Eight hex digits that change with any of the texts."""
        texts = "\0".join(getattr(self, field.name) for field in fields(self))
        return hashlib.sha256(texts.encode()).hexdigest()[:8]


@lru_cache(maxsize=8)
def load_templates(folder: Path | None = None) -> Templates:
    """The built-in templates, or a folder's system.txt, json.txt, user.txt and standalone.txt where it has them.

    Raises ConfigError for a file that cannot be read, lacks a slot, or has one that does not exist.
    """
    texts = {}
    for field in fields(Templates):
        name = f"{field.name}.txt"
        path = folder / name if folder is not None and (folder / name).exists() else _BUILT_IN / name
        try:
            texts[field.name] = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as err:
            raise ConfigError(f"The prompt template {path} cannot be read: {err}") from err
        _check(field.name, texts[field.name], path)
    if folder is not None:
        _check_folder(folder)
    return Templates(**texts)


def _check_folder(folder: Path) -> None:
    names = {f"{field.name}.txt" for field in fields(Templates)}
    found = {path.name for path in folder.glob("*.txt")} if folder.is_dir() else set()
    if not found & names:
        raise ConfigError(f"{folder} contains no prompt template; it may contain {', '.join(sorted(names))}.")
    if found - names:
        raise ConfigError(
            f"{folder} has {', '.join(sorted(found - names))}, which no prompt uses; "
            f"the templates are {', '.join(sorted(names))}."
        )


def _check(name: str, text: str, path: Path) -> None:
    slots = _SLOT.findall(text)
    required, allowed = _SLOTS[name], _SLOTS[name] | _OPTIONAL.get(name, frozenset())
    if not text:
        raise ConfigError(f"The prompt template {path} is empty.")
    for slot in sorted(required):
        if slots.count(slot) != 1:
            raise ConfigError(
                f"The prompt template {path} must contain {{{slot}}} once; it has it {slots.count(slot)} times."
            )
    if name in ("user", "standalone") and (unknown := sorted(set(slots) - allowed)):
        raise ConfigError(
            f"The prompt template {path} has the unknown slot {{{unknown[0]}}}; it may have "
            f"{', '.join(f'{{{slot}}}' for slot in sorted(allowed))}."
        )
    if name == "user":
        _check_user(text, path)


def _check_user(text: str, path: Path) -> None:
    """What the prefix cache and exact counts ask for: passages first, in a paragraph of their own."""
    before, _, after = text.partition("{passages}")
    if _SLOT.search(before):
        raise ConfigError(
            f"The prompt template {path} must have {{passages}} before {{question}} and {{order}}: what changes with "
            "the question belongs after the passages, or the prefix cache never hits."
        )
    if (before and not before.endswith("\n\n")) or not after.startswith("\n\n") or after[2:3].isspace():
        raise ConfigError(f"The prompt template {path} must have {{passages}} in a paragraph of its own.")

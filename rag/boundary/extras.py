"""What to install where a package of an extra is missing."""

import re
from importlib import metadata


def install_command(extra: str) -> str:
    """The command that installs an extra's packages, as the installed distribution names them."""
    needed = sorted(_requirements(extra))
    return "pip install " + " ".join(f"'{each}'" for each in needed)


def needs_extra(what: str, extra: str) -> str:
    """A sentence that says that something needs an extra, and how to install it."""
    return f"{what} the extra {extra!r}: {install_command(extra)}"


def _requirements(extra: str) -> set[str]:
    found = set()
    for line in metadata.requires("citewell") or ():
        requirement, _, marker = line.partition(";")
        if re.search(rf"extra == ['\"]{extra}['\"]", marker):
            own = re.fullmatch(r"citewell\[([\w,]+)\]", requirement.strip())
            found |= set().union(*map(_requirements, own[1].split(","))) if own else {requirement.strip()}
    return found

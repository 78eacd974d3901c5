"""What the documents say of the code is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_DEFINED = re.compile(r"^( {4})?(?:async )?(def|class) (\w+)", re.M)
_PATH = re.compile(r"`((?:rag|connectors|indexes|service|tests|benchmarks)/[\w./-]*)(?:::([\w.]+))?`")


def names_in(path: Path) -> set[str]:
    """Functions, classes and their methods, as Class.method."""
    found, within = set(), ""
    for indent, kind, name in _DEFINED.findall(path.read_text(encoding="utf-8")):
        within = within if indent else name
        found.add(f"{within}.{name}" if indent and kind != "class" else name)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_and_function_that_a_document_names_is_there(document: Path) -> None:
    named = _PATH.findall(document.read_text(encoding="utf-8"))
    gone = [path for path, _ in named if not (ROOT / path).exists()]
    gone += [
        f"{path}::{name}"
        for path, name in named
        if name and (ROOT / path).is_file() and name not in names_in(ROOT / path)
    ]
    assert gone == []

"""The house stays one that can be lived in; which room may use which, import-linter says (pyproject.toml)."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("rag", "connectors", "indexes", "service")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
_TYPES_ONLY = re.compile(r"^if TYPE_CHECKING:\n(?:[ \t]+.*\n|\n)+", re.M)
_IMPORT = re.compile(r"( *)from ((?:rag|connectors|indexes|service)[\w.]*) import ")
# Imported when they are needed: what is behind them takes a second or more, or may not be installed.
LAZY = {
    "connectors/sql/connection.py",
    "indexes/summary.py",
    "service/__init__.py",
    "service/knowledge_base.py",
    "service/wiring.py",
}


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def own_imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Modules of our own that a file imports, and whether it does so inside a function.

    Read by lines: Python 3.11 cannot always parse while another thread, left by another test, parses too.
    """
    for line in _TYPES_ONLY.sub("", path.read_text(encoding="utf-8")).splitlines():
        if found := _IMPORT.match(line):
            yield found[2], bool(found[1])


def test_no_folder_has_more_than_twelve_modules() -> None:
    counts = Counter(path.parent for path in MODULES)
    assert {shown(folder): count for folder, count in counts.items() if count > 12} == {}


def test_the_service_has_at_most_eight_modules_beside_its_rooms() -> None:
    assert len(list((ROOT / "service").glob("*.py"))) <= 8


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    files = [*MODULES, *(ROOT / "service" / "web").glob("*.js")]
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_no_line_is_longer_than_a_hundred_and_sixty_characters() -> None:
    code = [
        *MODULES,
        *(
            path
            for folder in ("tests", "benchmarks")
            for path in (ROOT / folder).rglob("*.py")
            if "node_modules" not in path.parts
        ),
    ]
    files = [*code, *(path for kind in ("js", "css", "html") for path in (ROOT / "service" / "web").glob(f"*.{kind}"))]
    lines = ((path, number, line) for path in files for number, line in enumerate(_lines(path), start=1))
    assert [f"{shown(path)}:{number}" for path, number, line in lines if len(line) > 160] == []


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")


def test_nothing_in_the_service_is_handed_a_knowledge_base() -> None:
    named = re.compile(r"from service(?:\.knowledge_base import| import knowledge_base)")
    users = [shown(path) for path in MODULES if named.search(path.read_text(encoding="utf-8"))]
    assert users == ["service/__init__.py"]


def test_only_what_must_be_fast_to_start_imports_our_own_in_functions() -> None:
    hidden = {shown(path) for path in MODULES if any(inside for _, inside in own_imports(path))}
    assert {path for path in hidden if not path.startswith("service/cli/")} <= LAZY

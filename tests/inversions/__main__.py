"""Inverts conditions of the code that decides, one at a time in a copy of the tree, and runs the unit tests of its package.

SEED chooses the conditions (1 when it is not set), COUNT how many (50; with QUICK=1 five). The last line is one JSON object, with what survived.
"""

import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("rag", "connectors", "indexes", "service")
# What is decided there shows only with what unit tests do without: models, servers, terminals, processes of its own.
NOT_MEASURED = (
    "connectors/parsers/", "indexes/embedded/", "indexes/embedders/", "rag/fakes/", "service/cli/", "service/web/",
    "service/telemetry/", "service/vllm/plan/run", "service/http/server", "service/syncing/background/watching",
)  # fmt: skip
LONGEST_S = 120  # of one run of tests; what is inverted may not end


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A condition, by its place in a file's bytes."""

    path: str
    line: int
    start: int
    end: int
    text: str


def sites(path: Path) -> Iterator[Site]:
    """Conditions of `if` statements and expressions, of loops, and of comprehensions."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in ast.walk(ast.parse(source)):
        tests = (
            [node.test]
            if isinstance(node, ast.If | ast.IfExp)
            else node.ifs
            if isinstance(node, ast.comprehension)
            else []
        )
        for test in tests:
            if "TYPE_CHECKING" in ast.dump(test):
                continue
            start = starts[test.lineno - 1] + test.col_offset
            end = starts[(test.end_lineno or test.lineno) - 1] + (test.end_col_offset or 0)
            text = " ".join(source[start:end].decode().split())
            yield Site(path=path.relative_to(ROOT).as_posix(), line=test.lineno, start=start, end=end, text=text)


def chosen(count: int, seed: str) -> list[Site]:
    """Conditions of different modules as far as there are enough, the same for a seed and a tree."""
    rng = random.Random(seed)
    modules = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    measured = [path for path in modules if not path.relative_to(ROOT).as_posix().startswith(NOT_MEASURED)]
    by_module = [found for path in measured if (found := list(sites(path)))]
    rng.shuffle(by_module)
    picked: list[Site] = []
    while len(picked) < count and by_module:
        for found in by_module:
            picked.append(found.pop(rng.randrange(len(found))))
        by_module = [found for found in by_module if found]
    return picked[:count]


def copied(folder: Path) -> None:
    kept = [*PACKAGES, "tests", "pyproject.toml", "README.md", "CONTRIBUTING.md", "docs", "examples"]
    for name in kept:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules", ".citewell")
            )
        else:
            shutil.copy(source, folder / name)


def turns_red(folder: Path, site: Site) -> bool:
    """Whether a unit test fails with the condition inverted."""
    target = folder / site.path
    whole = target.read_bytes()
    inverted = whole[: site.start] + b"(not (" + whole[site.start : site.end] + b"))" + whole[site.end :]
    target.write_bytes(inverted)
    try:
        return tests_fail(folder, site.path.split("/")[0])
    finally:
        target.write_bytes(whole)


def tests_fail(folder: Path, package: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", f"tests/unit/{package}"]
    environ = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(command, cwd=folder, env=environ, capture_output=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        return True
    return ended.returncode != 0


def main() -> None:
    seed = os.environ.get("SEED", "1")
    count = int(os.environ.get("COUNT", "5" if os.environ.get("QUICK") == "1" else "50"))
    survivors = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copied(folder)
        for package in PACKAGES:
            if tests_fail(folder, package):
                sys.exit(f"The unit tests of {package} fail with nothing inverted.")
        picked = chosen(count, seed)
        for site in picked:
            if not turns_red(folder, site):
                survivors.append(f"{site.path}:{site.line} {site.text}")
                print(f"survives: {survivors[-1]}", flush=True)
    print(json.dumps({"inverted": len(picked), "survivors": survivors, "seed": seed}))
    sys.exit(1 if len(survivors) > 3 else 0)


if __name__ == "__main__":
    main()

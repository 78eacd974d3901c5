"""The results of the GPU benchmarks as Markdown tables.

python -m benchmarks.gpu.report [FOLDER]       benchmarks/results when none is named
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def rows(figures: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The innermost objects of a result, each with the names that lead to it."""
    plain = {key: value for key, value in figures.items() if not isinstance(value, dict)}
    if plain:
        yield name, plain
    for key, value in figures.items():
        if isinstance(value, dict):
            yield from rows(value, (*name, key))


def markdown(path: Path) -> str:
    result = json.loads(path.read_text(encoding="utf-8"))
    lines = [f"### {result['table']} ({result['device']}, vLLM {result['vllm']})", ""]
    columns: list[str] = []
    for name, figures in rows(result["figures"]):
        if list(figures) != columns:
            columns = list(figures)
            lines += ["", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        lines.append(f"| {', '.join(name)} | {' | '.join(str(figures[column]) for column in columns)} |")
    return "\n".join(lines)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/results")
    print("\n\n".join(markdown(path) for path in sorted(folder.glob("gpu-*.json"))))


if __name__ == "__main__":
    main()

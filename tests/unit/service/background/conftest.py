"""Children that are small shell scripts in the place of `citewell ingest`."""

import json
from collections.abc import Sequence
from pathlib import Path

REPORTS = [{"source": "docs", "read": 2}]
PROGRESS = """echo '{"event": "progress", "source": "docs", "read": 1}' >&2"""
HELD = "trap 'kill $!; exit 143' TERM; {before}; sleep 30 >/dev/null 2>&1 & wait"


class Script:
    """A Command; asked: what it was asked for. then: what the next ones run."""

    def __init__(self, *then: str) -> None:
        self.then = list(then)
        self.asked: list[tuple[list[str], list[str]]] = []

    def __call__(self, config: Path, sources: Sequence[str], options: Sequence[str] = ()) -> list[str]:
        self.asked.append((list(sources), list(options)))
        return ["sh", "-c", self.then.pop(0) if len(self.then) > 1 else self.then[0]]


def reported(*, code: int = 0, before: str = ":") -> str:
    """A script that reports as an ingest does, and ends with a code."""
    return f"{before}; echo '{json.dumps({'sources': REPORTS})}'; exit {code}"


def held(before: str = ":") -> str:
    """A script that goes on until it is asked to end."""
    return HELD.format(before=before)

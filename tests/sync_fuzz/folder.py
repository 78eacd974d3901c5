"""Random changes of a folder: the same for the same seed."""

import json
import os
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.sync_fuzz.steps import FOLDER, Step, note_of

_TIME = 1_700_000_000
_FOLDERS = ("docs", "docs/deep", "docs/deep/er")
_WEIGHTS = {
    "write": 8, "write_many": 2, "rewrite": 8, "rewrite_unseen": 6, "touch": 3, "delete": 6, "delete_many": 1, "rename": 5,
    "swap": 6, "replace": 4, "gain_records": 8, "lose_records": 6, "lose_all_records": 1, "write_table": 2, "new_json": 3,
}  # fmt: skip
KINDS = tuple(_WEIGHTS)


class FolderWorld:
    """A folder of texts, CSV and JSON files. A file's time is set, so that it tells of a change only when it should."""

    listed, reader = False, ""

    def __init__(self, seed: str, *, size: int = 60) -> None:
        self._rng, self._trouble_rng, self._size = random.Random(seed), random.Random(f"{seed} trouble"), size
        self._texts: dict[str, tuple[str, int]] = {}  # path: text and time
        self._tables: dict[str, list[int]] = {}  # path: numbers of records
        self._edition = self._count = 0
        self._spoilt = ""
        self.forgotten: set[str] = set()

    @property
    def trouble(self) -> frozenset[str]:
        return frozenset({self._spoilt} if self._spoilt else ())

    def missing(self) -> set[str]:
        return set()

    @property
    def names(self) -> list[str]:
        return []

    def expected(self) -> dict[str, dict[str, int]]:
        return {FOLDER: {**dict.fromkeys(self._texts, 1), **{p: len(rows) for p, rows in self._tables.items() if rows}}}

    def quarantined(self) -> int:
        return 1  # broken.json, which never was anything else

    def create(self) -> Step:
        made = [self._write_text(self._path("md")) for _ in range(self._size)]
        for ending in ("csv", "csv", "json"):
            path = self._path(ending)
            self._tables[path] = list(range(20))
            made.append(self._table_at(path))
        return Step(kind="create", statements=(*made, ("write", "docs/broken.json", '{"broken": ', _TIME)))

    def step(self, kinds: Sequence[str] = ()) -> Step:
        wanted = [kind for kind in KINDS if kind in kinds] or list(KINDS)
        for _ in range(100):
            (kind,) = self._rng.choices(wanted, [_WEIGHTS[kind] for kind in wanted])
            statements: tuple[Any, ...] | None = getattr(self, f"_{kind}")()
            if statements:
                return Step(kind=kind, statements=statements)
        return self.step()

    def spoil(self) -> Step:
        """Cut a JSON file short."""
        files = sorted(path for path, rows in self._tables.items() if path.endswith(".json") and rows)
        if self._spoilt or not files:
            return Step(kind="spoil", statements=())
        self._spoilt = self._trouble_rng.choice(files)
        return Step(kind="spoil", statements=(("write", self._spoilt, '[{"id": 1, "no', self._time()),))

    def mend(self) -> Step:
        path, self._spoilt = self._spoilt, ""
        return Step(kind="mend", statements=(self._table_at(path),) if path in self._tables else ())

    # Texts.

    def _time(self) -> int:
        self._edition += 1
        return _TIME + self._edition

    def _path(self, ending: str) -> str:
        self._count += 1
        return f"{self._rng.choice(_FOLDERS)}/{self._rng.choice(('notes', 'a b', '書', 'é#1'))}-{self._count}.{ending}"

    def _write_text(self, path: str, text: str = "", time: int = 0) -> tuple[Any, ...]:
        time = time or self._time()
        self._texts[path] = (text or self._text(), time)
        return ("write", path, *self._texts[path])

    def _text(self) -> str:
        """All texts but the long ones have one length."""
        return f"# Record\n\nCode {self._code()}. {note_of(self._rng, 'the record', 100_000 + self._edition)}\n"

    def _code(self) -> int:
        return self._rng.randint(100, 999)

    def _at(self, path: str, time: int) -> tuple[Any, ...]:
        """Set a file's time."""
        self._texts[path] = (self._texts[path][0], time)
        return ("touch", path, time)

    def _some(self, count: int = 1) -> list[str]:
        return self._rng.sample(sorted(self._texts), count) if len(self._texts) >= count else []

    def _write(self) -> tuple[Any, ...] | None:
        return (self._write_text(self._path("md")),) if len(self._texts) < 2 * self._size else None

    def _write_many(self) -> tuple[Any, ...] | None:
        if len(self._texts) >= 2 * self._size:
            return None
        return tuple(self._write_text(self._path("md")) for _ in range(self._rng.randint(5, 20)))

    def _rewrite(self) -> tuple[Any, ...] | None:
        return tuple(self._write_text(path) for path in self._some())

    def _rewrite_unseen(self) -> tuple[Any, ...] | None:
        """Another text of the same size, with the time that the file had."""
        return tuple(
            self._write_text(
                path, re.sub(r"Code \d+", f"Code {self._code()}", self._texts[path][0]), self._texts[path][1]
            )
            for path in self._some()
        )

    def _touch(self) -> tuple[Any, ...] | None:
        return tuple(self._at(path, self._time()) for path in self._some())

    def _delete(self) -> tuple[Any, ...] | None:
        return self._unlink(self._some())

    def _delete_many(self) -> tuple[Any, ...] | None:
        """So many that a run refuses to follow."""
        return self._unlink(self._some(len(self._texts) * 7 // 10)) if len(self._texts) >= 40 else None

    def _unlink(self, paths: Sequence[str]) -> tuple[Any, ...]:
        for path in paths:
            del self._texts[path]
        return tuple(("delete", path) for path in paths)

    def _rename(self) -> tuple[Any, ...] | None:
        found = self._some()
        if not found:
            return None
        new = self._path("md")
        self._texts[new] = self._texts.pop(found[0])
        return (("rename", found[0], new),)

    def _swap(self) -> tuple[Any, ...] | None:
        """Two files change their names; both get one time, so that only their content tells them apart."""
        found = self._some(2)
        if not found:
            return None
        a, b = found
        time = max(self._texts[a][1], self._texts[b][1])
        times = (self._at(a, time), self._at(b, time))
        self._texts[a], self._texts[b] = self._texts[b], self._texts[a]
        return (*times, ("rename", a, "swap"), ("rename", b, a), ("rename", "swap", b))

    def _replace(self) -> tuple[Any, ...] | None:
        """A file takes the name of another one."""
        found = self._some(2)
        if not found:
            return None
        a, b = found
        self._texts[b] = self._texts.pop(a)
        return (("rename", a, b),)

    # Records.

    def _table(self, least: int = 0) -> str:
        found = sorted(path for path, rows in self._tables.items() if len(rows) >= least and path != self._spoilt)
        return self._rng.choice(found) if found else ""

    def _table_at(self, path: str) -> tuple[Any, ...]:
        time = self._time()
        records = [{"id": n, "note": note_of(self._rng, f"record {n}", self._edition % 3)} for n in self._tables[path]]
        lines = ["id,note", *(f'{r["id"]},"{r["note"]}"' for r in records)]
        text = "\n".join(lines) + "\n" if path.endswith(".csv") else json.dumps(records)
        return ("write", path, text, time)

    def _gain_records(self) -> tuple[Any, ...] | None:
        path = self._table()
        if not path or len(self._tables[path]) > 40:
            return None
        rows = self._tables[path]
        start = self._rng.choice((0, len(rows) // 2, len(rows)))
        new = range(1000 + self._edition, 1000 + self._edition + self._rng.randint(1, 10))
        self._tables[path] = [*rows[:start], *new, *rows[start:]]
        return (self._table_at(path),)

    def _lose_records(self) -> tuple[Any, ...] | None:
        path = self._table(3)
        if not path:
            return None
        rows = self._tables[path]
        gone = set(self._rng.sample(rows, self._rng.randint(1, len(rows) // 3)))
        self._tables[path] = [n for n in rows if n not in gone]
        return (self._table_at(path),)

    def _lose_all_records(self) -> tuple[Any, ...] | None:
        """A CSV of nothing but its head."""
        path = self._table(1)
        if not path.endswith(".csv"):
            return None
        self._tables[path] = []
        return (self._table_at(path),)

    def _write_table(self) -> tuple[Any, ...] | None:
        path = self._table()
        return (self._table_at(path),) if path else None

    def _new_json(self) -> tuple[Any, ...] | None:
        if len(self._tables) > 6:
            return None
        path = self._path("json")
        self._tables[path] = list(range(self._rng.randint(1, 10)))
        return (self._table_at(path),)


def apply(root: Path, action: Sequence[Any]) -> None:
    """Do to a folder what a step says."""
    what, path, *rest = action[0], root / action[1], *action[2:]
    match what:
        case "write":
            text, time = rest
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            os.utime(path, (time, time))
        case "touch":
            os.utime(path, (rest[0], rest[0]))
        case "delete":
            path.unlink()
        case "rename":
            path.rename(root / rest[0])

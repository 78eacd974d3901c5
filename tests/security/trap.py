"""A folder whose modules tell that they ran, for those who start children in it."""

import subprocess
import sys
from pathlib import Path

import docx

from tests.support.embedded import stop_engine

# What a child imports late, from the standard library, from us, from others; and what Python itself looks for.
PLANTED = (
    "json", "zipfile", "csv", "multiprocessing", "pickle", "resource", "select", "shutil", "sqlite3", "asyncio", "socket",
    "rag", "connectors", "indexes", "service", "numpy", "docx", "lxml", "httpx", "orjson", "uvicorn", "onnxruntime",
    "qdrant_edge", "tokenizers", "sentencepiece", "onnx", "sqlalchemy", "sitecustomize", "usercustomize",
)  # fmt: skip


def lay(folder: Path) -> Path:
    """A folder with a document to read, and all these modules."""
    place = folder / "trap"
    place.mkdir()
    tells = f"open({str(folder / 'ran')!r}, 'a').write(__name__ + '\\n')\n"
    for number, name in enumerate(PLANTED):
        if number % 2:
            (place / f"{name}.py").write_text(tells)
        else:
            (place / name).mkdir()
            (place / name / "__init__.py").write_text(tells)
    (place / "notes").mkdir()
    note = docx.Document()
    note.add_paragraph("The Edmonton store opens at nine in the morning.")
    note.save(str(place / "notes" / "hours.docx"))
    (place / "citewell.toml").write_text('[sources.notes]\nkind = "files"\npaths = ["notes"]\nevery = "1s"\n')
    return place


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "citewell"), *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300, check=False)


def ran(place: Path) -> set[str]:
    """The modules that ran."""
    told = place.parent / "ran"
    return set(told.read_text().split()) if told.exists() else set()


def attack(folder: Path) -> tuple[set[str], int]:
    """The modules that ran, and the number of commands that were started."""
    place = lay(folder)
    commands = (
        ("ingest",),
        ("retrieve", "When does the store open?"),
        ("ask", "When does the Edmonton store open?"),
        ("doctor",),
    )
    for command in commands:
        run(place, *command)
    stop_engine(place / ".citewell" / "qdrant")
    return ran(place), len(commands)

"""What the commands load and take: limits on modules and memory, which no machine's speed changes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import citewell
from tests.support.embedded import stop_engine

HEAVY = {
    "torch", "transformers", "sentence_transformers", "tokenizers", "huggingface_hub", "safetensors", "scipy", "sklearn", "onnx",
    "llama_index", "openai", "matplotlib", "pandas", "nltk", "fastapi", "uvicorn",
}  # fmt: skip
NOT_FOR_STATUS = HEAVY | {"qdrant_client", "onnxruntime", "sentencepiece", "rjieba", "grpc", "pydantic_settings"}
ASK_MB, STATUS_MB = 450, 130
RUN = """
import atexit, json, os, sys
@atexit.register
def tell():
    found = {"modules": sorted({name.split(".")[0] for name in sys.modules}),
             "peak_mb": int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024}
    os.write(2, json.dumps(found).encode())
from service.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("light")
    (folder / "docs").mkdir()
    (folder / "docs" / "a.md").write_text(
        "# 年假\n\n员工每年享有十二天带薪年假。\n\n# Lamps\n\nA lamp costs 12 dollars.\n"
    )
    (folder / "citewell.toml").write_text('[sources.docs]\nkind = "files"\npaths = ["docs"]\n')
    assert citewell("ingest", config=folder / "citewell.toml").returncode == 0
    yield folder / "citewell.toml"
    stop_engine(folder / ".citewell" / "qdrant")


def loaded(config: Path, *arguments: str) -> tuple[set[str], float, str]:
    """The packages that a command imports, its peak in MB, and what it prints."""
    environment = os.environ | {"CITEWELL_CONFIG": str(config)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stderr[done.stderr.index('{"modules"') :])
    return set(found["modules"]), found["peak_mb"], done.stdout


@pytest.mark.parametrize("question", ["How much does a lamp cost?", "员工每年有多少天年假？"])
def test_a_question_loads_no_pytorch_and_little_memory(config: Path, question: str) -> None:
    modules, peak_mb, answer = loaded(config, "ask", question)
    assert HEAVY & modules == set()
    assert "12" in answer or "十二" in answer
    assert peak_mb < ASK_MB


def test_a_status_loads_neither_models_nor_the_client_of_the_index(config: Path) -> None:
    modules, peak_mb, said = loaded(config, "status")
    assert NOT_FOR_STATUS & modules == set()
    assert "multilingual-e5-small/int7" in said
    assert peak_mb < STATUS_MB


def test_a_status_does_not_start_the_engine_and_tells_the_same_points(config: Path) -> None:
    while_it_runs = json.loads(citewell("status", "--json", config=config).stdout)
    stop_engine(config.parent / ".citewell" / "qdrant")
    without = json.loads(citewell("status", "--json", config=config).stdout)
    assert (without["points"], without["embedder"]) == (while_it_runs["points"], while_it_runs["embedder"])
    assert without["points"] > 0
    assert not (config.parent / ".citewell" / "qdrant" / "engine.pid").exists()


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_load_next_to_nothing(config: Path, argument: str) -> None:
    modules, peak_mb, said = loaded(config, argument)
    assert (NOT_FOR_STATUS | {"numpy", "sqlalchemy", "pydantic"}) & modules == set()
    assert "citewell" in said.lower() or "--version" in said
    assert peak_mb < 60

"""Offline: after the installation nothing is fetched, sent or queued, and nothing is written beside data and cache."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import SAMPLE
from tests.support.embedded import stop_engine

COMMAND = str(Path(sys.executable).parent / "citewell")


def can_unshare() -> bool:
    return (
        shutil.which("unshare") is not None and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0
    )


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.timeout(900)  # it turns the model into ONNX anew, half a minute of two quiet cores
@pytest.mark.skipif(not can_unshare(), reason="no network namespace can be made here")
def test_the_demo_runs_without_a_network_and_writes_nothing_beside_its_data(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "shop"
    home.mkdir()
    shutil.copytree(SAMPLE / "handbook", folder / "handbook")
    (folder / "citewell.toml").write_text('[sources.handbook]\nkind = "files"\npaths = ["handbook"]\n')
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_", "HF_"))}
    before = files(folder)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        environ = kept | {"HOME": str(home), "CITEWELL_CONFIG": str(folder / "citewell.toml")}
        return subprocess.run(
            ["unshare", "-n", COMMAND, *command],
            env=environ,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    try:
        assert run("ingest").returncode == 0
        answer = run("ask", "How long can an unopened record be returned?")
        assert "30 days" in answer.stdout, answer.stderr
        assert run("doctor").returncode == 0
    finally:
        stop_engine(folder / ".citewell" / "qdrant")
    assert {name for name in files(folder) - before if not name.startswith(".citewell/")} == set()
    assert {name for name in files(home) if not name.startswith(".cache/citewell/")} == set()

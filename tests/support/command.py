"""The installed command: run in a process of its own or in this one, and `citewell serve`."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from service.cli.main import app
from tests.support.running import free_port, wait_until

ROOT = Path(__file__).parents[2]


SAMPLE = ROOT / "examples" / "record_shop"


def citewell(*arguments: str, config: Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a process of its own."""
    command = [str(Path(sys.executable).parent / "citewell"), *arguments]
    environment = os.environ | {"CITEWELL_CONFIG": str(config)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout_s, check=False)


def citewell_here(*arguments: str, config: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in this process: the same, without the seconds that a process takes to load."""
    done = CliRunner().invoke(app, list(arguments), env={"CITEWELL_CONFIG": str(config)})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def citewell_json(*arguments: str, config: Path) -> Any:
    """What the command prints with --json, run in this process."""
    done = citewell_here(*arguments, "--json", config=config)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Server:
    """`citewell serve` in a process of its own, ended by its process id."""

    def __init__(self, config: Path, *options: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        command = [
            str(Path(sys.executable).parent / "citewell"),
            "serve",
            "--port",
            self.url.rsplit(":", 1)[1],
            *options,
        ]
        environment = os.environ | {"CITEWELL_CONFIG": str(config)}
        self._log = (config.parent / f"serve-{uuid.uuid4().hex[:6]}.log").open("w+")
        self.process = subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)

    def log(self) -> str:
        """What the service has written so far."""
        return Path(self._log.name).read_text()

    def __enter__(self) -> "Server":
        wait_until(self._answers, timeout_s=120, what="the service's start")
        return self

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"the service ended: {self.log()}")
        try:
            return httpx.get(f"{self.url}/livez").status_code == 200
        except httpx.TransportError:
            return False

    def __exit__(self, *exc: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        self._log.close()

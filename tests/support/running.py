"""Processes: a free port, whether one runs, waiting for a condition."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(condition: Callable[[], Any], *, timeout_s: float = 30.0, what: str = "the condition") -> Any:
    """Poll until a condition holds; fail with its name when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true in {timeout_s} s")
        time.sleep(0.02)
    return found

"""The process of an embedded engine: its id, and its end."""

import os
import signal
from pathlib import Path

import httpx

from indexes.embedded.address import socket_path
from tests.support.running import is_running, wait_until


def engine_pid(folder: Path) -> int | None:
    """The process id of a folder's engine, when one listens."""
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path(folder)))) as client:
            return int(client.get("http://engine/").json()["pid"])
    except httpx.TransportError:
        return None


def stop_engine(folder: Path) -> None:
    pid = engine_pid(folder)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_running(pid), what="the engine's end")

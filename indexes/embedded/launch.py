"""Starts a folder's embedded engine on demand, and finds it again after it has ended."""

import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx

from indexes.embedded.address import socket_path
from rag.boundary.child import child_environment, python_child
from rag.errors import IndexUnavailable

_START_TIMEOUT_S = 60.0
_EXIT_LOCKED = 75
_ATTEMPTS = 5


class EngineTransport(httpx.BaseTransport):
    """HTTP over the engine's socket. Starts the engine when it is not there, and again when it has died.

    A request is sent again after the engine died under it: every request that Citewell makes gives the same result
    twice (points have deterministic ids).
    """

    def __init__(self, folder: Path, *, idle_s: float) -> None:
        self._folder = folder
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._http = httpx.HTTPTransport(uds=str(socket_path(folder)))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        for attempt in range(_ATTEMPTS):
            try:
                return self._http.handle_request(request)
            except (httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                time.sleep(0.1 * attempt)  # a killed engine's socket takes connections until its last thread is gone
                with self._lock:
                    ensure_running(self._folder, idle_s=self._idle_s)
        return self._http.handle_request(request)

    def close(self) -> None:
        self._http.close()


def ensure_running(folder: Path, *, idle_s: float) -> None:
    """Return when the folder's engine listens, starting it if nobody has.

    Two starters are safe: the engine that does not get the folder's lock ends, and both find the other.
    Raises IndexUnavailable with the engine's last words when it does not come up.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    process: subprocess.Popen[bytes] | None = None
    while not listens(folder):
        if process is not None and process.poll() not in (None, _EXIT_LOCKED):
            raise IndexUnavailable(f"The embedded engine for {folder} ended at once.\n{_last_words(folder)}")
        if time.monotonic() > deadline:
            raise IndexUnavailable(
                f"The embedded engine for {folder} did not start in {_START_TIMEOUT_S:.0f} s.\n{_last_words(folder)}"
            )
        if process is None or process.poll() is not None:
            process = _spawn(folder, idle_s)
        _wait(process)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=0.05)
        time.sleep(0.1)  # the holder of the lock is starting or ending
    except subprocess.TimeoutExpired:
        pass


def _spawn(folder: Path, idle_s: float) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "engine.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 our own module, no shell
            python_child("indexes.embedded.server", str(folder.resolve()), "--idle-s", str(idle_s)),
            env=child_environment(secrets=False),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def listens(folder: Path) -> bool:
    """Whether a folder's engine takes connections."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(socket_path(folder)))
        except OSError:
            return False
    return True


def _last_words(folder: Path) -> str:
    log = folder / "engine.log"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return "\n".join(lines[-5:]) + f"\nIts log is {log}."

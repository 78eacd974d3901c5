"""Fixtures: knowledge bases on temporary folders, real database servers, and engines that end with their test."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from typer.testing import CliRunner

from indexes.embedded.address import socket_path
from indexes.embedders.load import load_embedder
from rag.ports import Embedder
from service.cli.main import app
from service.knowledge_base import KnowledgeBase, connect
from service.settings.load import load_settings
from service.settings.sections import StateSettings
from tests.noise.hook import VARIABLE

# A busy machine is no reason for a property to fail.
hypothesis.settings.register_profile("citewell", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("citewell")

# Files that take long, longest first: begun first, so that no worker has them left when the others are done.
_LONG = (
    "test_record_shop", "test_run_commands", "test_page", "test_cli", "test_faults", "test_crash", "test_reindex", "test_jobs",
    "test_evaluation", "test_engine", "test_sync",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _LONG.index(item.path.stem) if item.path.stem in _LONG else len(_LONG))


ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "examples" / "record_shop"
SERVERS = {
    "postgresql": (
        os.environ.get("TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
        "start it with `pg_ctlcluster 15 main start`, or set TEST_POSTGRES_URL to a URL",
    ),
    "mariadb": (
        os.environ.get("TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
        "start it with `service mariadb start`, or set TEST_MYSQL_URL to a URL",
    ),
}


def wait_until(condition: Callable[[], Any], *, timeout_s: float = 30.0, what: str = "the condition") -> Any:
    """Poll until a condition holds; fail with its name when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true in {timeout_s} s")
        time.sleep(0.02)
    return found


def engine_pid(folder: Path) -> int | None:
    """The process id of a folder's engine, when one listens."""
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path(folder)))) as client:
            return int(client.get("http://engine/").json()["pid"])
    except httpx.TransportError:
        return None


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def stop_engine(folder: Path) -> None:
    pid = engine_pid(folder)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_running(pid), what="the engine's end")


@pytest.fixture
def engine_folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "qdrant"
    stop_engine(tmp_path / "qdrant")


@pytest.fixture
def exact_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embedders without noise, here and in the test's processes, in a run with noise too."""
    monkeypatch.delenv(VARIABLE, raising=False)


MakeKb = Callable[..., KnowledgeBase]


@pytest.fixture(scope="session")
def model_in_use() -> Embedder:
    """Keeps the bundled model loaded, so that each test's knowledge base finds it so."""
    embedder = load_embedder()
    embedder.embed(["loads it"])
    return embedder


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose engine serves all knowledge bases of `make_kb`, each in a collection of its own."""
    folder = tmp_path_factory.mktemp("shared")
    yield folder
    stop_engine(folder / "qdrant")


@pytest.fixture
def make_kb(tmp_path: Path, shared_data: Path, model_in_use: Embedder) -> Iterator[MakeKb]:
    """Makes knowledge bases from TOML text; paths in it are relative to tmp_path. All of a test share index and state."""
    opened: list[KnowledgeBase] = []
    collection = f"kb-{uuid.uuid4().hex[:12]}"

    def make(toml: str, *, name: str = "citewell.toml") -> KnowledgeBase:
        (tmp_path / name).write_text(toml, encoding="utf-8")
        settings = load_settings(tmp_path / name)
        own = {
            "data_dir": shared_data,
            "qdrant": settings.qdrant.model_copy(update={"collection": collection}),
            "state": StateSettings(url=SecretStr(f"sqlite:///{tmp_path / 'state.sqlite'}")),
        }
        opened.append(connect(settings.model_copy(update=own)))
        return opened[-1]

    yield make
    for kb in opened:
        kb.close()


def change(url: str, *statements: str) -> None:
    """Run statements in one transaction of a database."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    engine.dispose()


def sqlite_with(path: Path, *statements: str) -> Path:
    """A SQLite database made, or changed, by statements."""
    change(f"sqlite:///{path}", *statements)
    return path


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of its own, on each kind of server."""
    if request.param == "sqlite":
        sqlite_with(tmp_path / "source.sqlite")
        yield f"sqlite:///{tmp_path / 'source.sqlite'}"
        return
    with server_database(request.param) as url:
        yield url


class server_database:
    """A database of its own on a running server; skips the test, saying how to start one, when there is none."""

    def __init__(self, kind: str) -> None:
        self._url, self._hint = SERVERS[kind]
        self._kind = kind
        self._name = f"citewell_{uuid.uuid4().hex[:12]}"

    def __enter__(self) -> str:
        options = {"isolation_level": "AUTOCOMMIT"} if self._kind == "postgresql" else {}
        self._admin = sa.create_engine(self._url, poolclass=sa.NullPool, **options)
        try:
            with self._admin.connect() as connection:
                charset = "" if self._kind == "postgresql" else " CHARACTER SET utf8mb4"
                connection.exec_driver_sql(f"CREATE DATABASE {self._name}{charset}")
        except sa.exc.OperationalError:
            message = f"{self._kind} does not run: {self._hint}"
            if os.environ.get("REQUIRE_TEST_SERVERS"):
                pytest.fail(message)
            pytest.skip(message)
        return sa.make_url(self._url).set(database=self._name).render_as_string(hide_password=False)

    def __exit__(self, *exc: object) -> None:
        force = " WITH (FORCE)" if self._kind == "postgresql" else ""
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {self._name}{force}")
        self._admin.dispose()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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

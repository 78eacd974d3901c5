"""Fixtures: knowledge bases on temporary folders, real database servers, and engines that end with their test."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from pydantic import SecretStr

from indexes.embedders.load import load_embedder
from rag.ports import Embedder
from service.knowledge_base import KnowledgeBase, connect
from service.settings.load import load_settings
from service.settings.sections import StateSettings
from tests.noise.hook import VARIABLE
from tests.support.databases import server_database, sqlite_with
from tests.support.embedded import stop_engine
from tests.support.knowledge_bases import MakeKb

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


@pytest.fixture
def engine_folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "qdrant"
    stop_engine(tmp_path / "qdrant")


@pytest.fixture
def exact_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embedders without noise, here and in the test's processes, in a run with noise too."""
    monkeypatch.delenv(VARIABLE, raising=False)


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
            "embedder": settings.embedder.model_copy(update={"cache_dir": tmp_path}),
            "state": StateSettings(url=SecretStr(f"sqlite:///{tmp_path / 'state.sqlite'}")),
        }
        opened.append(connect(settings.model_copy(update=own)))
        return opened[-1]

    yield make
    for kb in opened:
        kb.close()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of its own, on each kind of server."""
    if request.param == "sqlite":
        sqlite_with(tmp_path / "source.sqlite")
        yield f"sqlite:///{tmp_path / 'source.sqlite'}"
        return
    with server_database(request.param) as url:
        yield url

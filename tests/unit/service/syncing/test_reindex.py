"""`citewell reindex`, over qdrant-client's in-process engine: what is built, compared and swapped in."""

import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.schema import Encoders, Sharding, target_of
from rag.errors import ReindexRefused, SourceBusy
from rag.fakes import HashEmbedder, TermEncoder
from rag.lazy import Lazy
from rag.ports import Vectors
from service.collection import Binding, Collection, encoders_of
from service.settings.sections import EmbedderSettings
from service.store.ledger.memory import MemoryLedger
from service.store.ledger.ports import Lease
from service.syncing.reindex import Copied, Reindexer
from tests.unit.service.conftest import points_of
from tests.unit.service.syncing.conftest import row

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")


class Named(HashEmbedder):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class Worse(Named):
    """Takes questions for other texts than they are."""

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        return super().embed([f"{query}: {text}" for text in texts])


class Noted(MemoryLedger):
    """held: the sources that were held, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[str] = []

    @contextmanager
    def lease(self, source: str) -> Iterator[Lease]:
        with super().lease(source) as lease:
            self.held.append(source)
            yield lease


class Case:
    """A collection of some rows that the model 'old' made."""

    def __init__(self, tmp_path: Path, rows: int = 3) -> None:
        self.client, self.ledger = QdrantClient(":memory:"), Noted()
        self.config = tmp_path / "citewell.toml"
        self.config.write_text('[embedder]\nmodel = "old"\n')
        self.current = self.bind(EmbedderSettings(model="old"))
        self.current.index.upsert(points_of([row(number) for number in range(rows)]))
        self.reindexer = Reindexer(
            client=Lazy(lambda: self.client),
            alias="kb",
            sharding=Sharding(),
            embedder=EmbedderSettings(model="old"),
            bind=self.bind,
            ledger=Lazy(lambda: self.ledger),
            indexed=lambda: ["shop"],
            config=self.config,
        )

    def bind(self, settings: EmbedderSettings) -> Binding:
        kind = Worse if settings.model == "worse" else Named
        embedder, sparse = kind(settings.model), TermEncoder()
        index = QdrantIndex(self.client, alias="kb", encoders=encoders_of(embedder, sparse))
        return Binding(index=index, embedder=embedder, sparse=sparse, likeness=Lazy(dict))

    @property
    def model(self) -> str:
        found: str = tomllib.loads(self.config.read_text())["embedder"]["model"]
        return found


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    yield made
    made.client.close()


def test_another_model_is_swapped_in_and_its_name_written_into_the_configuration(case: Case) -> None:
    told: list[tuple[int, int]] = []

    def progress(copied: Copied) -> None:
        told.append((copied.copied, copied.total))

    assert case.reindexer.run(model="new", progress=progress) == (3, [])
    assert (case.model, target_of(case.client, "kb"), case.ledger.held) == ("new", "kb-2", ["shop"])
    assert (3, 3) in told
    assert case.bind(EmbedderSettings(model="new")).index.count() == 3


def test_who_uses_the_old_collection_sees_that_and_follows(case: Case) -> None:
    collection = Collection(lambda: case.current, lambda: case.bind(EmbedderSettings(model=case.model)))
    collection.current()
    case.reindexer.run(model="new")
    followed = collection.follow()
    assert (followed.embedder.name, followed.index.count()) == ("new", 3)


def test_with_the_same_encoders_there_is_nothing_to_do(case: Case) -> None:
    assert case.reindexer.run() == (0, [])
    assert (target_of(case.client, "kb"), case.ledger.held) == ("kb-1", [])


def test_the_configured_model_is_built_without_writing_it_anywhere(case: Case) -> None:
    made = Reindexer(**{**vars(case.reindexer), "embedder": EmbedderSettings(model="configured")})
    assert made.run()[0] == 3
    assert (case.model, target_of(case.client, "kb")) == ("old", "kb-2")


def test_a_version_that_finds_less_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    case = Case(tmp_path, rows=60)
    with pytest.raises(ReindexRefused, match="50 chunks"):
        case.reindexer.run(model="worse")
    assert (case.model, target_of(case.client, "kb")) == ("old", "kb-1")
    assert case.reindexer.abort() == ["kb-2"]
    assert case.current.index.count() == 60
    case.client.close()


def test_a_source_that_a_sync_holds_keeps_the_old_version_in_use(case: Case) -> None:
    with case.ledger.lease("shop"), pytest.raises(SourceBusy):
        case.reindexer.run(model="new")
    assert (case.model, target_of(case.client, "kb")) == ("old", "kb-1")
    assert case.reindexer.run(model="new") == (0, [])
    assert target_of(case.client, "kb") == "kb-2"


def test_encoders_are_recorded_with_what_they_made(case: Case) -> None:
    assert case.current.encoders == Encoders(embedder="old", dim=32, sparse="terms")

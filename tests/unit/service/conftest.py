"""The parts of a configuration over fakes: collections and a state store in memory, no model, no engine, no network."""

import sqlite3
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import sqlalchemy as sa

from rag.chunking import dense_text, lexical_text, split
from rag.documents import Document, Point
from rag.errors import IndexMoved
from rag.fakes import CharacterCounter, HashEmbedder, MemoryIndex, TermEncoder
from rag.lazy import Lazy
from rag.ports import Generator
from rag.question.question import understand
from rag.retrieval.likeness import NO_SCALE, Scale
from service.asking.asker import Asker
from service.asking.searcher import Searcher
from service.catalogue import Catalogue
from service.collection import Binding, Collection
from service.settings.sections import Settings
from service.store.conversations import Conversations
from service.store.database import Database
from service.store.jobs import Jobs
from service.store.keys import Keys
from service.store.ledger.stored import StoredLedger
from service.store.overview import Overview
from service.store.schema import migrate
from service.syncing.syncer import Syncer
from service.wiring import Services, build

STORES = ("The Edmonton store opens at eleven.", "The Calgary store sells opened records.")


class MemoryCollection(MemoryIndex):
    """A collection that a re-index can take away: from then on its requests raise IndexMoved.

    requests: all that came, by name. fails: what each raises.
    """

    def __init__(self, texts: Sequence[str] = (), *, fails: Exception | None = None) -> None:
        self.requests: list[str] = []
        self.fails: Exception | None = None
        super().__init__(before=self._note, dense_weight=0.0)  # hashes say nothing of likeness
        self.is_there = True
        self.upsert(points_of([document(f"{number}.md", text) for number, text in enumerate(texts)]))
        self.requests.clear()
        self.fails = fails

    @property
    def is_current(self) -> bool:
        return not isinstance(self.fails, IndexMoved)

    def leave(self) -> None:
        self.fails = IndexMoved("A re-index replaced the collection.")

    def weighted(self, dense_weight: float | None) -> "MemoryCollection":
        own = copy(self)
        own._dense_weight = self._dense_weight if dense_weight is None else dense_weight
        return own

    def drop(self) -> None:
        self.is_there = False

    def _note(self, request: str) -> None:
        self.requests.append(request)
        if self.fails is not None:
            raise self.fails


def document(name: str, text: str, *, source: str = "docs", **fields: Any) -> Document:
    return Document(id=name, source=source, title=name, text=text, uri=f"file:///{name}", **fields)


def points_of(documents: Sequence[Document]) -> list[Point]:
    chunks = [chunk for each in documents for chunk in split(each, CharacterCounter(), max_tokens=400)]
    vectors = HashEmbedder().embed([dense_text(chunk) for chunk in chunks])
    terms = TermEncoder().encode([lexical_text(chunk) for chunk in chunks])
    return [
        Point(chunk=chunk, dense=dense.tolist(), sparse=sparse)
        for chunk, dense, sparse in zip(chunks, vectors, terms, strict=True)
    ]


def binding(texts: Sequence[str] = STORES, *, scale: Scale = NO_SCALE, **parts: Any) -> Binding:
    """A collection that holds texts, a document each, with the encoders that made it."""
    made = {
        "index": MemoryCollection(texts),
        "embedder": HashEmbedder(),
        "sparse": TermEncoder(),
        "likeness": Lazy(lambda: {"": scale}),
    }
    return Binding(**{**made, **parts})


def memory_of(bound: Binding) -> MemoryCollection:
    """The collection in memory that a binding has."""
    index: Any = bound.index
    assert isinstance(index, MemoryCollection)
    return index


def settings_of(**sections: Any) -> Settings:
    """A configuration with one source of files, 'docs'."""
    sources = {"docs": {"kind": "files", "paths": ["docs"]}}
    return Settings.model_validate({"sources": sources, "chunking": {"max_tokens": 400}, **sections})


def services_of(
    settings: Settings | None = None,
    *,
    bound: Binding | None = None,
    generator: Generator | None = None,
    database: Database | None = None,
    **parts: Any,
) -> Services:
    """As `build` makes them, with fakes in the place of what is heavy or elsewhere. parts: of Services, instead."""
    settings = settings or settings_of()
    made, own = build(settings), bound or binding()
    store = Lazy(lambda: database or memory_database())
    collection = parts.pop("collection", None) or Collection(lambda: own)
    counter, writer = Lazy(CharacterCounter), Lazy(lambda: generator)
    conversations = Lazy(lambda: Conversations(store(), keep_s=1000))
    searcher = Searcher(
        collection, settings.retrieval, synonyms=settings.synonyms, reranking=Lazy(lambda: None), threads=made.searches
    )
    asker = Asker(
        searcher,
        settings,
        conversations=conversations,
        counter=counter,
        templates=made.templates,
        generator=writer,
        turns=made.turns,
        metrics=made.metrics,
    )
    ledger = Lazy(lambda: StoredLedger(store()))
    overview = Lazy(lambda: Overview(store()))
    catalogue = Catalogue(settings, indexed=lambda: overview().sources())
    open_index: Any = lambda alias, encoders: MemoryCollection()  # noqa: E731 in the place of a collection of Qdrant's
    replaced = replace(
        made,
        database=store,
        ledger=ledger,
        overview=overview,
        catalogue=catalogue,
        keys=Lazy(lambda: Keys(store())),
        jobs=Lazy(lambda: Jobs(store())),
        conversations=conversations,
        collection=collection,
        counter=counter,
        generator=writer,
        searcher=searcher,
        asker=asker,
        syncer=Syncer(ledger, collection, catalogue, settings, counter=counter),
        open_index=open_index,
    )
    return replace(replaced, **parts)


def memory_database() -> Database:
    """A state store in memory; one thread at a time has its connection."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.deserialize(_empty_store())
    return Database(
        sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.QueuePool, pool_size=1, max_overflow=0)
    )


@lru_cache(maxsize=1)
def _empty_store() -> bytes:
    connection = sqlite3.connect(":memory:")
    with sa.create_engine("sqlite://", creator=lambda: connection).begin() as opened:
        migrate(opened)
    return connection.serialize()


@pytest.fixture
def state() -> Iterator[Database]:
    database = memory_database()
    yield database
    database.close()


@pytest.fixture(scope="session")
def languages() -> None:
    """What tells languages and words apart is loaded."""
    understand("Is this English?")

"""The one place where parts are made and joined: from Settings to all that a process of Citewell needs."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from indexes.embedders.bundled import LIKENESS, NAME
from indexes.embedders.load import load_embedder
from indexes.embedders.model_folder import Prompts
from indexes.qdrant.connect import Client, connect_embedded, connect_server
from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.schema import Encoders, Sharding
from indexes.rerankers import load_reranker
from indexes.sparse import Bm25Encoder
from rag.language.tokens import QwenTokenCounter
from rag.lazy import Lazy
from rag.ports import Embedder, Generator, TokenCounter
from rag.prompt.templates import Templates, load_templates
from rag.retrieval.likeness import Likeness, measure_likeness
from rag.retrieval.retrieval import Reranking
from service.asking.asker import Asker
from service.asking.searcher import Searcher
from service.catalogue import Catalogue
from service.collection import Binding, Collection, encoders_of
from service.settings.load import load_settings
from service.settings.sections import EmbedderSettings, Settings
from service.store.conversations import Conversations
from service.store.database import Database
from service.store.jobs import Jobs
from service.store.keys import Keys
from service.store.ledger.ports import Ledger
from service.store.ledger.stored import StoredLedger
from service.store.overview import Overview
from service.store.vectors import EncoderMemory, VectorCache
from service.syncing.reindex import Reindexer
from service.syncing.syncer import Syncer
from service.telemetry.metrics import Metrics
from service.threads import Threads
from service.vllm.client import OpenAIGenerator

_SEARCHES = (os.cpu_count() or 1) + 1  # threads: more would only take time from each other
_TURNS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Services:
    """The parts of one configuration. What is heavy, or opens something, is made when it is first asked for.

    qdrant: the client for work that nobody waits for; searching: one with less patience, for what a question waits
    for. open_index: the collection behind an alias. bind: the configured collection with other encoders.
    """

    settings: Settings
    metrics: Lazy[Metrics]
    database: Lazy[Database]
    ledger: Lazy[Ledger]
    overview: Lazy[Overview]
    keys: Lazy[Keys]
    jobs: Lazy[Jobs]
    conversations: Lazy[Conversations]
    qdrant: Lazy[Client]
    searching: Lazy[Client]
    open_index: Callable[[str, Encoders], QdrantIndex]
    bind: Callable[[EmbedderSettings], Binding]
    collection: Collection
    vectors: VectorCache | None
    catalogue: Catalogue
    counter: Lazy[TokenCounter]
    templates: Lazy[Templates]
    generator: Lazy[Generator | None]
    searches: Threads
    turns: Threads
    searcher: Searcher
    asker: Asker
    syncer: Syncer
    reindexer: Reindexer

    def close(self) -> None:
        """Close the state store, let go of the models, and take no more questions; what is under way ends."""
        self.searches.close()
        self.turns.close()
        self.collection.release()
        if self.vectors is not None:
            self.vectors.close()
        if self.database.is_made:
            self.database().close()


def build(settings: Settings, *, config: Path | None = None) -> Services:
    """Join the parts of a configuration. config: its file, in which a re-index may write another embedding model."""
    metrics = Lazy(Metrics)
    database = Lazy(lambda: Database.open(settings.state_url))
    overview = Lazy(lambda: Overview(database()))
    ledger = Lazy[Ledger](lambda: StoredLedger(database()))
    conversations = Lazy(lambda: Conversations(database(), keep_s=settings.llm.keep_conversations))
    qdrant = Lazy(lambda: _client(settings, settings.qdrant.timeout_s))
    searching = Lazy(lambda: _client(settings, settings.qdrant.search_timeout_s))

    def open_index(alias: str, encoders: Encoders) -> QdrantIndex:
        return QdrantIndex(
            qdrant(),
            alias=alias,
            encoders=encoders,
            dense_weight=settings.retrieval.dense_weight,
            layout=sharding(settings),
            searcher=searching(),
        )

    vectors = _vector_cache(settings)
    bind = partial(_bind, open_index, settings.qdrant.collection, vectors)
    collection = Collection(
        lambda: bind(settings.embedder),
        (lambda: bind(load_settings(config).embedder)) if config is not None else None,
    )
    catalogue = Catalogue(settings, indexed=lambda: overview().sources())
    counter, templates = Lazy(lambda: _counter(settings)), Lazy(lambda: _templates(settings))
    generator = Lazy(lambda: _generator(settings))
    searches, turns = Threads("search", _SEARCHES), Threads("turns", _TURNS)
    searcher = Searcher(
        collection,
        settings.retrieval,
        synonyms=settings.synonyms,
        reranking=Lazy(lambda: _reranking(settings, metrics)),
        threads=searches,
    )
    asker = Asker(
        searcher,
        settings,
        conversations=conversations,
        counter=counter,
        templates=templates,
        generator=generator,
        turns=turns,
        metrics=metrics,
    )
    syncer = Syncer(ledger, collection, catalogue, settings, counter=Lazy[TokenCounter](QwenTokenCounter))
    reindexer = Reindexer(
        client=qdrant,
        alias=settings.qdrant.collection,
        sharding=sharding(settings),
        embedder=settings.embedder,
        bind=bind,
        ledger=ledger,
        indexed=lambda: overview().sources(),
        config=config,
    )
    return Services(
        settings=settings,
        metrics=metrics,
        database=database,
        ledger=ledger,
        overview=overview,
        keys=Lazy(lambda: Keys(database())),
        jobs=Lazy(lambda: Jobs(database())),
        conversations=conversations,
        qdrant=qdrant,
        searching=searching,
        open_index=open_index,
        bind=bind,
        collection=collection,
        vectors=vectors,
        catalogue=catalogue,
        counter=counter,
        templates=templates,
        generator=generator,
        searches=searches,
        turns=turns,
        searcher=searcher,
        asker=asker,
        syncer=syncer,
        reindexer=reindexer,
    )


@contextmanager
def opened(config: Path) -> Iterator[Services]:
    """The parts of a configuration file, closed at the end. Raises ConfigError when the file is wrong."""
    services = build(load_settings(config), config=config)
    try:
        yield services
    finally:
        services.close()


def sharding(settings: Settings) -> Sharding:
    """How a new collection is laid out over a cluster."""
    q = settings.qdrant
    return Sharding(
        shard_number=q.shard_number,
        replication_factor=q.replication_factor,
        write_consistency_factor=q.write_consistency_factor,
        on_disk=q.on_disk,
    )


def _client(settings: Settings, timeout_s: float) -> Client:
    q = settings.qdrant
    if q.url:
        return connect_server(q.url, api_key=q.api_key.get_secret_value(), prefer_grpc=q.grpc, timeout_s=timeout_s)
    return connect_embedded(settings.data_dir / "qdrant", idle_s=q.engine_idle_s, timeout_s=timeout_s)


def _vector_cache(settings: Settings) -> VectorCache | None:
    e = settings.embedder
    folder = settings.root / e.cache_dir.expanduser() if e.cache_dir else settings.data_dir
    path = folder / "vectors.sqlite"
    if not e.cache_mb:
        path.unlink(missing_ok=True)  # nobody would forget what it holds
        return None
    return VectorCache(path, limit_bytes=e.cache_mb << 20)


def _bind(
    open_index: Callable[[str, Encoders], QdrantIndex],
    alias: str,
    vectors: VectorCache | None,
    settings: EmbedderSettings,
) -> Binding:
    embedder, sparse = _embedder(settings), Bm25Encoder()
    encoder = json.dumps([embedder.name, settings.url, settings.document_prompt])
    return Binding(
        index=open_index(alias, encoders_of(embedder, sparse)),
        embedder=embedder,
        sparse=sparse,
        likeness=Lazy(lambda: _likeness(embedder, settings)),
        memory=EncoderMemory(cache=vectors, encoder=encoder) if vectors is not None else None,
    )


def _embedder(settings: EmbedderSettings) -> Embedder:
    return load_embedder(
        settings.model,
        url=settings.url,
        api_key=settings.api_key.get_secret_value(),
        backend=settings.backend,
        timeout_s=settings.timeout_s,
        prompts=Prompts(query=settings.query_prompt, document=settings.document_prompt),
    )


def _likeness(embedder: Embedder, settings: EmbedderSettings) -> Likeness:
    """What an embedder's cosines mean: known of the bundled one with its own prompts, measured of all others."""
    has_own_prompts = settings.query_prompt is settings.document_prompt is None
    return LIKENESS if embedder.name == NAME and has_own_prompts else measure_likeness(embedder)


def _counter(settings: Settings) -> TokenCounter:
    """Counts prompts with the language model's tokenizer."""
    if settings.llm.tokenizer == "qwen2.5":
        return QwenTokenCounter()
    from service.vllm.counter import TransformersTokenCounter  # transformers takes seconds to import

    return TransformersTokenCounter(settings.llm.tokenizer)


def _generator(settings: Settings) -> Generator | None:
    llm = settings.llm
    if not llm.urls:
        return None
    return OpenAIGenerator(
        llm.urls,
        model=llm.model,
        api_key=llm.api_key.get_secret_value(),
        timeout_s=llm.timeout_s,
        first_token_s=llm.first_token_s,
    )


def _templates(settings: Settings) -> Templates:
    folder = settings.llm.templates
    return load_templates(settings.root / Path(folder).expanduser() if folder else None)


def _reranking(settings: Settings, metrics: Lazy[Metrics]) -> Reranking | None:
    r = settings.rerank
    if not r.model and not r.url:
        return None
    reranker = metrics().timed(load_reranker(r.model, url=r.url, api_key=r.api_key.get_secret_value()))
    return Reranking(reranker=reranker, top=r.top, timeout_s=r.timeout_s)

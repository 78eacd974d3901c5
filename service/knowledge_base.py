"""A knowledge base: everything wired from one configuration, for Python, the CLI and the service alike."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qdrant_client import QdrantClient

from connectors.files.source import FilesSource
from connectors.sql.source import SqlSource
from indexes.embedders.load import load_embedder
from indexes.embedders.model_folder import Prompts
from indexes.qdrant.index import QdrantIndex, connect_embedded, connect_server
from indexes.qdrant.schema import Encoders, Sharding
from indexes.rerankers import load_reranker
from indexes.sparse import Bm25Encoder
from rag.answer import answering
from rag.documents import Hit
from rag.errors import ConfigError, IndexMoved, IndexUnavailable, QuestionError
from rag.filters import All, parse_filter
from rag.language.tokens import QwenTokenCounter
from rag.ports import Embedder, Generator, Identity, Scope, TokenCounter
from rag.prompt.ordering import PrefixOrder
from rag.prompt.templates import Templates, load_templates
from rag.question.evidence import Question, admissible, evidence, understand
from rag.question.follow_up import Rewriter
from rag.retrieval.breaker import Breaker
from rag.retrieval.likeness import Likeness, Scale, measure_likeness, scale_for
from rag.retrieval.retrieval import Reranking, Retriever, to_passages
from rag.types import Answer, Message, Sampling
from service.settings.load import DEFAULT_PATH, load_settings
from service.settings.sections import Settings
from service.store.conversations import Conversations
from service.store.jobs import Jobs
from service.store.keys import Keys
from service.store.state import State
from service.syncing.connectors import make_source
from service.syncing.run import SyncParts
from service.syncing.sync import Options, Report, ingest
from service.telemetry.metrics import Metrics
from service.threads import Threads

if TYPE_CHECKING:
    from llama_index.core.query_engine import BaseQueryEngine
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.vector_stores import MetadataFilters

T = TypeVar("T")
_SEARCHES = (os.cpu_count() or 1) + 1  # threads: more would only take time from each other
_TURNS_KEPT = 2


def connect(config: str | Path | Settings = DEFAULT_PATH) -> "KnowledgeBase":
    """Open the knowledge base of a configuration file. Raises ConfigError when it is wrong."""
    if isinstance(config, Settings):
        return KnowledgeBase(config)
    return KnowledgeBase(load_settings(config), config=Path(config))


def _part(make: Callable[["KnowledgeBase"], T]) -> property:
    """A part that is made once, under one lock for all, so that parts that need each other cannot deadlock."""

    def get(self: "KnowledgeBase") -> T:
        name = make.__name__
        if name not in self._parts:
            with self._lock:
                if name not in self._parts:
                    self._parts[name] = make(self)
        part: T = self._parts[name]
        return part

    return property(get, doc=make.__doc__)


class KnowledgeBase:
    """Loads its parts on first use; safe to share between threads. Close it, or use it in a `with`."""

    def __init__(self, settings: Settings, *, config: Path | None = None) -> None:
        self.settings = settings
        self._config = config
        self._lock = threading.RLock()
        self._parts: dict[str, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> "KnowledgeBase":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._loop = None
            if "_searches" in self._parts:
                self._searches.close()
            if "state" in self._parts:
                self.state.close()
            self._parts.clear()  # models are large, and whoever still holds this object has no use for them

    # Parts, each made once.

    @_part
    def embedder(self) -> Embedder:
        with self._lock:
            e = self.settings.embedder
            return load_embedder(
                e.model,
                url=e.url,
                api_key=e.api_key.get_secret_value(),
                backend=e.backend,
                timeout_s=e.timeout_s,
                prompts=Prompts(query=e.query_prompt, document=e.document_prompt),
            )

    @_part
    def _likeness(self) -> Likeness:
        return measure_likeness(self.embedder)

    @_part
    def sparse(self) -> Bm25Encoder:
        return Bm25Encoder()

    @_part
    def counter(self) -> TokenCounter:
        """Counts prompts with the language model's tokenizer."""
        if self.settings.llm.tokenizer == "qwen2.5":
            return QwenTokenCounter()
        from service.vllm.counter import TransformersTokenCounter

        return TransformersTokenCounter(self.settings.llm.tokenizer)

    @_part
    def client(self) -> QdrantClient:
        return self._connect(self.settings.qdrant.timeout_s)

    @_part
    def searcher(self) -> QdrantClient:
        """A client with less patience, for what a question waits for."""
        return self._connect(self.settings.qdrant.search_timeout_s)

    def _connect(self, timeout_s: float) -> QdrantClient:
        q = self.settings.qdrant
        if q.url:
            return connect_server(q.url, api_key=q.api_key.get_secret_value(), prefer_grpc=q.grpc, timeout_s=timeout_s)
        return connect_embedded(self.settings.data_dir / "qdrant", idle_s=q.engine_idle_s, timeout_s=timeout_s)

    @_part
    def index(self) -> QdrantIndex:
        return self.index_of(self.settings.qdrant.collection)

    def index_of(self, alias: str) -> QdrantIndex:
        """The collection behind an alias, with this knowledge base's encoders."""
        return QdrantIndex(
            self.client,
            alias=alias,
            encoders=self.encoders,
            dense_weight=self.settings.retrieval.dense_weight,
            layout=self.layout,
            searcher=self.searcher,
        )

    @property
    def encoders(self) -> Encoders:
        return Encoders(embedder=self.embedder.name, dim=self.embedder.dim, sparse=self.sparse.name)

    @property
    def layout(self) -> Sharding:
        q = self.settings.qdrant
        return Sharding(
            shard_number=q.shard_number,
            replication_factor=q.replication_factor,
            write_consistency_factor=q.write_consistency_factor,
            on_disk=q.on_disk,
        )

    def with_embedder(self, model: str) -> "KnowledgeBase":
        """The same knowledge base with another embedding model."""
        embedder = self.settings.embedder.model_copy(update={"model": model})
        return KnowledgeBase(self.settings.model_copy(update={"embedder": embedder}))

    @_part
    def reranking(self) -> Reranking | None:
        r = self.settings.rerank
        if not r.model and not r.url:
            return None
        reranker = load_reranker(r.model, url=r.url, api_key=r.api_key.get_secret_value())
        timed = self.metrics.timed(reranker)
        return Reranking(reranker=timed, top=r.top, timeout_s=r.timeout_s)

    @_part
    def state(self) -> State:
        return State.configured(self.settings)

    @_part
    def _has_stale_sources(self) -> bool:
        """Whether the index holds a source that is not configured; filtering by source costs as much as the search."""
        return not set(self.state.sources()) <= set(self.settings.sources)

    @_part
    def generator(self) -> Generator | None:
        llm = self.settings.llm
        if not llm.urls:
            return None
        from service.vllm.client import OpenAIGenerator

        return OpenAIGenerator(
            llm.urls,
            model=llm.model,
            api_key=llm.api_key.get_secret_value(),
            timeout_s=llm.timeout_s,
            first_token_s=llm.first_token_s,
        )

    @_part
    def templates(self) -> Templates:
        folder = self.settings.llm.templates
        return load_templates(self.settings.root / Path(folder).expanduser() if folder else None)

    @_part
    def ordering(self) -> PrefixOrder:
        return PrefixOrder(capacity_tokens=self.settings.llm.cache_tokens)

    @_part
    def rewriter(self) -> Rewriter | None:
        """Makes follow-ups stand alone; none without a language model."""
        return Rewriter(self.generator, self.templates) if self.generator is not None else None

    @_part
    def conversations(self) -> Conversations:
        store: State = self.state
        return store.conversations(keep_s=self.settings.llm.keep_conversations)

    @_part
    def metrics(self) -> Metrics:
        return Metrics()

    @_part
    def keys(self) -> Keys:
        store: State = self.state
        return store.keys()

    @_part
    def jobs(self) -> Jobs:
        store: State = self.state
        return store.jobs()

    @_part
    def _index_breaker(self) -> Breaker:
        return Breaker()

    @_part
    def _searches(self) -> Threads:
        return Threads("search", _SEARCHES)

    async def in_search_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run what embeds and searches in one of a few threads, so that a slow index takes no others."""
        searches: Threads = self._searches
        return await searches.run(function, *arguments)

    @_part
    def turns_kept(self) -> Threads:
        """Where conversations' turns are written: a state store that is locked holds up nothing else."""
        return Threads("turns", _TURNS_KEPT)

    def source(self, name: str) -> SqlSource | FilesSource:
        """The connector of a configured source. Raises ConfigError listing the sources there are."""
        settings = self.settings.sources.get(name)
        if settings is None:
            known = ", ".join(self.settings.sources) or "none; add one with `citewell add URL_OR_PATH`"
            raise ConfigError(f"There is no source {name!r}. Configured sources: {known}.")
        return make_source(name, settings, self.settings.root, self.settings.own_files)

    # Ingest.

    def ingest(
        self,
        *names: str,
        full: bool = False,
        dry_run: bool = False,
        allow_mass_delete: bool = False,
        retry: bool = False,
        stop: threading.Event | None = None,
        progress: Callable[[Report], None] = lambda _: None,
    ) -> list[Report]:
        """Bring the index in step with the named sources (all when none is named).

        full: index every document again, changed or not; retry: read what was set aside again; stop: an event that
        ends the run after its batch. A table that fails has its error in the report, and the others are done. Raises
        SourceBusy, SourceError (MassDeleteRefused) or RunStopped at the source that fails whole; those before it are
        done.
        """
        self.follow()
        sources = {name: self.source(name) for name in (names or self.settings.sources)}
        if not sources:
            raise ConfigError("No source is configured. Add one with `citewell add URL_OR_PATH`.")
        parts = SyncParts(
            state=self.state,
            index=self.index,
            embedder=self.embedder,
            sparse=self.sparse,
            counter=QwenTokenCounter(),
            max_tokens=self.settings.chunking.max_tokens,
            mass_delete_share=self.settings.ingest.mass_delete_share,
        )
        options = Options(
            full=full, dry_run=dry_run, allow_mass_delete=allow_mass_delete, retry=retry, stop=stop or threading.Event()
        )
        return [ingest(parts, name, source, options, progress) for name, source in sources.items()]

    # Retrieval and answers.

    def retrieve(
        self, question: str, *, k: int = 10, sources: Sequence[str] = (), scope: Scope | None = None
    ) -> list[Hit]:
        """The k best chunks for a question; sources and scope as in `stream`.

        Raises QuestionError for an empty or over-long question.
        """
        understood = understand(self.clean(question), self.settings.synonyms)
        limit = max(k, self.settings.retrieval.limit)
        return self.hits_for(understood, limit, scope or self.scope(sources))[:k]

    def hits_of(self, question: str, *, limit: int, scope: Scope, index: QdrantIndex) -> list[Hit]:
        """Chunks of another index, or of this one with other weights, for a question."""
        return self.hits_for(understand(question, self.settings.synonyms), limit, scope, index)

    def evidence_of(self, question: str, hits: Sequence[Hit]) -> float:
        """The most evidence that one of the hits' passages has; a question below the threshold is refused."""
        understood = understand(question, self.settings.synonyms)
        scale = self.scale_of(understood.language)
        fit = admissible(understood, to_passages(hits))
        return max((evidence(understood, passage, scale=scale) for passage in fit), default=0.0)

    def scale_of(self, language: str) -> Scale:
        """What the embedder's cosines mean in a language."""
        return scale_for(self._likeness, language)

    async def stream(
        self,
        question: str,
        *,
        history: Sequence[Message] = (),
        conversation: str = "",
        sources: Sequence[str] = (),
        scope: Scope | None = None,
        profile: str = "",
        sampling: Sampling | None = None,
    ) -> AsyncGenerator[answering.Event, None]:
        """Answer a question as events; the last one is Finished. The retrieval runs outside the event loop.

        history: earlier turns, oldest first, as the caller has them; conversation: an id under which this knowledge
        base keeps them instead. sources: search only these, all when empty; scope: from `scope()` instead, with a
        filter or an identity. Raises QuestionError for a question, or a profile, that cannot be answered as it is.
        """
        from service.asking.asker import Ask, answer_events

        ask = Ask(
            question=question,
            history=history,
            conversation=conversation,
            scope=scope or self.scope(sources),
            profile=profile or self.settings.llm.profile,
            sampling=sampling,
        )
        async with aclosing(answer_events(self, ask)) as events:
            async for event in events:
                yield event

    async def aask(self, question: str, **options: Any) -> Answer:
        """Answer a question; options as in `stream`."""
        from service.asking.asker import whole

        return await whole(self.stream(question, **options))

    def ask(self, question: str, **options: Any) -> Answer:
        """Answer a question, also where an event loop runs already; options as in `stream`."""
        return self.run(self.aask(question, **options))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine for a synchronous caller, on an event loop in a daemon thread that this object owns."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="citewell", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def clean(self, question: str) -> str:
        """A question fit to be processed. Raises QuestionError when it is empty or too long."""
        question = question.encode("utf-8", "ignore").decode().replace("\0", "").strip()
        longest = self.settings.retrieval.max_question_chars
        if not question:
            raise QuestionError("The question is empty. Ask something.")
        if len(question) > longest:
            raise QuestionError(
                f"The question has {len(question)} characters; {longest} are allowed (retrieval.max_question_chars)."
            )
        return question

    def scope(
        self,
        sources: Sequence[str] = (),
        *,
        where: Mapping[str, Any] | None = None,
        identity: Identity | None = None,
    ) -> Scope:
        """Where a search looks: in configured sources only, so that one taken out stops answering at once.

        where: a filter as in rag/filters.py, joined to the configured one; identity: the caller's tenant and groups,
        the configured ones when left out. Raises ConfigError for a source that is not configured, FilterError for a
        filter that cannot be read.
        """
        for name in sources:
            self.source(name)
        if not sources and self._has_stale_sources:
            sources = tuple(self.settings.sources) or ("",)
        filters = [parsed for form in (self.settings.retrieval.filter, where) if (parsed := parse_filter(form))]
        configured = self.settings.identity
        return Scope(
            identity=identity or Identity(tenant=configured.tenant, groups=configured.groups),
            sources=tuple(sources),
            where=All(parts=tuple(filters)) if len(filters) > 1 else next(iter(filters), None),
        )

    def hits_for(self, question: Question, limit: int, scope: Scope, index: QdrantIndex | None = None) -> list[Hit]:
        """Chunks for a question that was understood, best first; index: another one than this knowledge base's."""
        if index is not None:
            return self._hits_in(index, question, limit, scope)
        breaker: Breaker = self._index_breaker
        if not breaker.allow():
            raise IndexUnavailable(f"Qdrant failed {breaker.failures} times in a row, and is asked again soon.")
        own = self.index
        try:
            hits = self._hits_in(own, question, limit, scope)
        except IndexMoved:
            if not self.reopen(own):
                raise
            hits = self._hits_in(self.index, question, limit, scope)
        except IndexUnavailable:
            breaker.failed()
            raise
        breaker.succeeded()
        return hits

    def _hits_in(self, index: QdrantIndex, question: Question, limit: int, scope: Scope) -> list[Hit]:
        settings = self.settings.retrieval
        retriever = Retriever(
            embedder=self.embedder,
            sparse=self.sparse,
            index=index,
            reranking=self.reranking,
            per_document=settings.per_document * max(1, limit // settings.limit),
        )
        return retriever.hits(question.text, scope=scope, limit=limit, expansion=question.expansion)

    def follow(self) -> None:
        """Go over to the collection that a re-index has put in the old one's place, if one has."""
        if "index" in self._parts and not self.index.is_current:
            self.reopen(self.index)

    def reopen(self, moved: QdrantIndex) -> bool:
        """Read the configuration again after a re-index, unless another thread has. False where there is no file."""
        with self._lock:
            if self._config is None:
                return False
            if self._parts.get("index") is moved:
                self.settings = load_settings(self._config)
                for part in ("embedder", "sparse", "index", "_likeness"):
                    self._parts.pop(part, None)
            return True

    # LlamaIndex.

    def as_retriever(
        self,
        *,
        k: int = 10,
        sources: Sequence[str] = (),
        filters: "MetadataFilters | None" = None,
        scope: Scope | None = None,
    ) -> "BaseRetriever":
        """A LlamaIndex retriever over this knowledge base, narrowed by LlamaIndex's own filters."""
        from service.llamaindex import CitewellRetriever

        return CitewellRetriever(self, k=k, scope=self._narrowed(scope or self.scope(sources), filters))

    def as_query_engine(
        self,
        *,
        streaming: bool = False,
        sources: Sequence[str] = (),
        filters: "MetadataFilters | None" = None,
        scope: Scope | None = None,
        **options: Any,
    ) -> "BaseQueryEngine":
        """A LlamaIndex query engine; options as in `stream`."""
        from service.llamaindex import CitewellQueryEngine

        options["scope"] = self._narrowed(scope or self.scope(sources), filters)
        return CitewellQueryEngine(self, streaming=streaming, options=options)

    @staticmethod
    def _narrowed(scope: Scope, filters: "MetadataFilters | None") -> Scope:
        from service.llamaindex import filter_form

        where = parse_filter(filter_form(filters)) if filters is not None else None
        parts = tuple(part for part in (scope.where, where) if part is not None)
        return replace(scope, where=All(parts=parts) if len(parts) > 1 else next(iter(parts), None))

"""Citewell for Python: ask, retrieve, ingest, and LlamaIndex's forms of them, over one configuration."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rag.answer import answering
from rag.documents import Hit
from rag.ports import Identity, Scope
from rag.types import Answer, Message, Sampling
from service.asking.asker import Ask, whole
from service.settings.load import DEFAULT_PATH, load_settings
from service.settings.sections import Settings
from service.syncing.report import Report
from service.syncing.run import Options
from service.wiring import build

if TYPE_CHECKING:
    from llama_index.core.query_engine import BaseQueryEngine
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.vector_stores import MetadataFilters

T = TypeVar("T")


def connect(config: str | Path | Settings = DEFAULT_PATH) -> "KnowledgeBase":
    """Open the knowledge base of a configuration file. Raises ConfigError when it is wrong."""
    if isinstance(config, Settings):
        return KnowledgeBase(config)
    return KnowledgeBase(load_settings(config), config=Path(config))


class KnowledgeBase:
    """Loads what it needs on first use; safe to share between threads. Close it, or use it in a `with`.

    config: the settings' file, where a re-index may write another embedding model. services: the parts it stands on.
    """

    def __init__(self, settings: Settings, *, config: Path | None = None) -> None:
        self.services = build(settings, config=config)
        self._lock = threading.Lock()
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
        self.services.close()

    @property
    def settings(self) -> Settings:
        return self.services.settings

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
        """Bring the index in line with the named sources (all when none is named).

        full: index every document again, changed or not; retry: read what was set aside again; stop: an event that
        ends the run after its batch. A table that fails has its error in the report, and the others are done. Raises
        ConfigError, or SourceBusy, SourceError (MassDeleteRefused) or RunStopped at the source that fails as a whole;
        those before it are done.
        """
        options = Options(
            full=full, dry_run=dry_run, allow_mass_delete=allow_mass_delete, retry=retry, stop=stop or threading.Event()
        )
        chosen = self.services.catalogue.names(names)
        return [self.services.syncer.sync(name, options, progress) for name in chosen]

    def scope(
        self,
        sources: Sequence[str] = (),
        *,
        where: Mapping[str, Any] | None = None,
        identity: Identity | None = None,
    ) -> Scope:
        """Where a search looks; as in `Catalogue.scope`."""
        return self.services.catalogue.scope(sources, where=where, identity=identity)

    def retrieve(
        self, question: str, *, k: int = 10, sources: Sequence[str] = (), scope: Scope | None = None
    ) -> list[Hit]:
        """The k best chunks for a question; sources and scope as in `stream`.

        Raises QuestionError for an empty or over-long question.
        """
        return self.services.searcher.retrieve(question, k=k, scope=scope or self.scope(sources))

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
        ask = Ask(
            question=question,
            history=history,
            conversation=conversation,
            scope=scope or self.scope(sources),
            profile=profile or self.settings.llm.profile,
            sampling=sampling,
        )
        async with aclosing(self.services.asker.events(ask)) as events:
            async for event in events:
                yield event

    async def aask(self, question: str, **options: Any) -> Answer:
        """Answer a question; options as in `stream`."""
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

    def as_retriever(
        self,
        *,
        k: int = 10,
        sources: Sequence[str] = (),
        filters: "MetadataFilters | None" = None,
        scope: Scope | None = None,
    ) -> "BaseRetriever":
        """A LlamaIndex retriever over this knowledge base, narrowed by LlamaIndex's own filters."""
        from service.llamaindex import CitewellRetriever, narrowed  # LlamaIndex takes seconds to import

        return CitewellRetriever(partial(self.retrieve, k=k, scope=narrowed(scope or self.scope(sources), filters)))

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
        from service.llamaindex import CitewellQueryEngine, narrowed  # LlamaIndex takes seconds to import

        options["scope"] = narrowed(scope or self.scope(sources), filters)
        return CitewellQueryEngine(partial(self.stream, **options), run=self.run, streaming=streaming)

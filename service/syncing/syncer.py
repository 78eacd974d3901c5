"""Brings the current collection in line with the configured sources."""

from collections.abc import Callable

from rag.lazy import Lazy
from rag.ports import TokenCounter
from service.catalogue import Catalogue
from service.collection import Collection
from service.settings.sections import Settings
from service.store.ledger.ports import Ledger
from service.syncing.report import Report
from service.syncing.run import Options, SyncParts
from service.syncing.sync import ingest


class Syncer:
    """Syncs one source at a time; several processes may each have one, and a source is held by one of them."""

    def __init__(
        self,
        ledger: Lazy[Ledger],
        collection: Collection,
        catalogue: Catalogue,
        settings: Settings,
        *,
        counter: Lazy[TokenCounter],
    ) -> None:
        """counter: counts the tokens that chunks are cut by; changing it has every source indexed again."""
        self._ledger, self._collection, self._catalogue = ledger, collection, catalogue
        self._settings, self._counter = settings, counter

    def sync(
        self, name: str, options: Options | None = None, progress: Callable[[Report], None] = lambda _: None
    ) -> Report:
        """Bring the index in line with a source, in the collection that a re-index may have put in place meanwhile.

        A table that fails has its error in the report, and the others are done. Raises ConfigError for a source that
        is not configured, SourceBusy, SourceError (MassDeleteRefused) or RunStopped; what was committed before stays.
        """
        connector, binding = self._catalogue.connector(name), self._collection.follow()
        parts = SyncParts(
            ledger=self._ledger(),
            index=binding.store,
            memory=binding.memory,
            embedder=binding.embedder,
            sparse=binding.sparse,
            counter=self._counter(),
            max_tokens=self._settings.chunking.max_tokens,
            mass_delete_share=self._settings.ingest.mass_delete_share,
        )
        return ingest(parts, name, connector, options or Options(), progress)

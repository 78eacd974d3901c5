"""`citewell reindex`: another embedder or encoder without a gap, while questions are answered."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from indexes.qdrant.connect import Client
from indexes.qdrant.new_version import NewVersion, drop_unused
from indexes.qdrant.schema import Sharding
from rag.errors import ReindexRefused
from rag.lazy import Lazy
from service.collection import Binding
from service.settings.edit import set_values
from service.settings.sections import EmbedderSettings
from service.store.ledger.ports import Ledger

_SAMPLE = 50
_MOST_LOST, _LEAST_BY_MEANING = 0.1, 0.6  # shares of the sample


@dataclass(slots=True, kw_only=True)
class Copied:
    """How far a re-index is: points copied by this run, and points that there are."""

    copied: int = 0
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class Reindexer:
    """Builds a collection again with other encoders beside the old one, and swaps it in.

    bind: the configured collection with other encoders; indexed: gives the sources that have documents; config: the
    file that gets the new model's name, without which there is none.
    """

    client: Lazy[Client]
    alias: str
    sharding: Sharding
    embedder: EmbedderSettings
    bind: Callable[[EmbedderSettings], Binding]
    ledger: Lazy[Ledger]
    indexed: Callable[[], list[str]]
    config: Path | None = None

    def run(self, *, model: str = "", progress: Callable[[Copied], None] = lambda _: None) -> tuple[int, list[str]]:
        """Build the collection again with the configured encoders, or with the embedder `model`, and swap it in.

        Returns how many points were made, and which leftovers of earlier runs were removed. Changes of the sources
        that come in meanwhile are followed; for the last of them the sources are held: a sync waits, questions do not.
        With `model`, the configuration gets its name at the swap, and until then syncs go on with the old one.
        Raises ReindexRefused when the new version finds less than the old one, SourceBusy when a sync does not end.
        """
        target = self.bind(self.embedder.model_copy(update={"model": model} if model else {}))
        version = NewVersion(self.client(), self.alias, target.encoders, self.sharding)
        if not version.is_needed:
            return 0, version.removed
        told = Copied(total=version.counts()[0])
        _catch_up(version, target, told, progress)
        with ExitStack() as held:
            sources = self.indexed()
            for source in sources:
                held.enter_context(self.ledger().lease(source))
            _catch_up(version, target, told, progress)
            compare(target, version)
            if model and self.config is not None:
                set_values(self.config, "embedder", model=model)
            version.swap(sources)
        return told.copied, version.removed

    def abort(self) -> list[str]:
        """Remove what an interrupted re-index has built. Returns the collections that were removed."""
        return drop_unused(self.client(), self.alias)


def _catch_up(version: NewVersion, target: Binding, told: Copied, progress: Callable[[Copied], None]) -> None:
    for copied in version.catch_up(target.embedder, target.sparse, target.memory):
        told.copied += copied
        progress(told)


def compare(target: Binding, version: NewVersion) -> None:
    """Compare counts, and how many chunks are found by their own text. Raises ReindexRefused."""
    old, new = version.counts()
    if old != new:
        raise ReindexRefused(f"The new version has {new} chunks and the old one {old}. Run `citewell reindex` again.")
    size, before, words, meaning = version.sample_found(target.embedder, target.sparse, size=_SAMPLE)
    if words < before - _MOST_LOST * size or meaning < _LEAST_BY_MEANING * size:
        raise ReindexRefused(
            f"Of {size} chunks, the old version finds {before} by their words; the new one finds {words} by words and "
            f"{meaning} by meaning. The old one stays in use. Check the model and its prompts; `citewell reindex "
            "--abort` removes what was built."
        )

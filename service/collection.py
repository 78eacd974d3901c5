"""The collection that questions are asked of, and everything that has to change with it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from indexes.embedders.load import OLDER
from indexes.qdrant.index import QdrantIndex
from indexes.qdrant.schema import Encoders
from rag.errors import IndexMoved
from rag.lazy import Lazy
from rag.ports import Embedder, PointStore, SparseEncoder, VectorMemory
from rag.retrieval.likeness import Likeness, Scale, scale_for
from service.store.vectors import Remembering

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A collection with the encoders that made it. They go together: vectors of another model find nothing in it.

    likeness: what the embedder's cosines mean; measured when it is first asked for. memory: what the embedder has made
    before; None where nothing is remembered.
    """

    index: QdrantIndex
    embedder: Embedder
    sparse: SparseEncoder
    likeness: Lazy[Likeness]
    memory: VectorMemory | None = None

    @property
    def store(self) -> PointStore:
        """The collection for what writes to it: vectors are remembered with their points, and forgotten with them.

        What an older form of the embedder has made is not remembered as this one's.
        """
        if self.memory is None:
            return self.index
        return Remembering(self.index, self.memory, keeps=lambda: self.index.is_own)

    @property
    def encoders(self) -> Encoders:
        """What is recorded with a collection that these encoders make."""
        return encoders_of(self.embedder, self.sparse)

    def scale(self, language: str) -> Scale:
        """What the embedder's cosines mean in a language."""
        return scale_for(self.likeness(), language)


def encoders_of(embedder: Embedder, sparse: SparseEncoder) -> Encoders:
    return Encoders(embedder=embedder.name, dim=embedder.dim, sparse=sparse.name, older=OLDER.get(embedder.name, ()))


class Collection:
    """Follows a re-index: whoever asks for the current binding gets the old one whole or the new one whole.

    bind: opens the collection as it was configured at the start. rebind: opens it as it is configured now; None where
    there is no file to read that from, and then a re-index is not followed.
    """

    def __init__(self, bind: Callable[[], Binding], rebind: Callable[[], Binding] | None = None) -> None:
        self._bind, self._rebind = bind, rebind
        self._lock = threading.Lock()
        self._bound = Lazy(bind)

    def current(self) -> Binding:
        """The binding to use from here to the end of a piece of work."""
        return self._bound()

    def release(self) -> None:
        """Let go of the models, which are large."""
        self._bound = Lazy(self._bind)

    def use(self, work: Callable[[Binding], T]) -> T:
        """The result of work with the current binding, done once more where a re-index took its collection away.

        Raises IndexMoved where the re-index cannot be followed.
        """
        binding = self.current()
        try:
            return work(binding)
        except IndexMoved:
            if not self._follow_from(binding):
                raise
            return work(self.current())

    def follow(self) -> Binding:
        """The binding of the collection that the alias stands for now, which a re-index may have changed."""
        if self._bound.is_made and not self.current().index.is_current:
            self._follow_from(self.current())
        return self.current()

    def _follow_from(self, left: Binding) -> bool:
        """Go over to the new collection, unless another thread has. False where that cannot be."""
        if self._rebind is None:
            return False
        with self._lock:
            if self.current() is left:
                new = self._rebind()
                self._bound = Lazy(lambda: new)
        return True

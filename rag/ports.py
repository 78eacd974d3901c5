"""Ports: what the core asks of its adapters."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rag.documents import Chunk, Hit, Point, SparseVector
from rag.events import SourceEvent
from rag.filters import Filter
from rag.types import Delta, Message, Route, Sampling

Vectors = npt.NDArray[np.float32]


PUBLIC = "*"  # in place of groups: all of the tenant
NOBODY = ""  # in place of groups: none; no caller is ever in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who asks: their tenant, the groups that they belong to in it, and by whose key (for what is theirs alone)."""

    tenant: str = "default"
    groups: tuple[str, ...] = ()
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a search looks: what the caller may see, and of that some sources (all when empty) that pass a filter."""

    identity: Identity = Identity()
    sources: tuple[str, ...] = ()
    where: Filter | None = None


LISTING = "listing"  # the name of a note that is not the source's: a whole read of the scope was begun and not ended


class Notes(Protocol):
    """What a source noted in earlier reads (its Checkpoints), and which scopes were not read to their end (LISTING)."""

    def find(self, *, scope: str | None = None, name: str | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Notes as (scope, name, head)."""
        ...

    def body(self, scope: str, name: str) -> bytes: ...


Cursor = Notes  # its name until 0.2


class Source(Protocol):
    def read(self, notes: Notes | None = None, /) -> Iterator[SourceEvent]:
        """Yield the source's documents, or what changed since the notes of earlier reads.

        Ends with SnapshotComplete only when nothing was left out.

        Raises SourceError when the source cannot be reached or read.
        """
        ...


class Embedder(Protocol):
    @property
    def name(self) -> str:
        """Model and version: recorded with the collection, so that two models never mix."""
        ...

    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """Embed texts as unit vectors.

        Returns float32 of shape (len(texts), dim), rows in input order.
        Raises EmbedderUnavailable when the model cannot be loaded or does not answer.
        """
        ...


class SparseEncoder(Protocol):
    @property
    def name(self) -> str: ...

    def encode(self, texts: Sequence[str], *, query: bool = False) -> list[SparseVector]:
        """Encode texts as term weights, in input order."""
        ...


class Searchable(Protocol):
    """An index as a question needs it. Raises IndexUnavailable when it does not answer."""

    def query(self, dense: Sequence[float], sparse: SparseVector, *, scope: Scope, limit: int) -> list[Hit]:
        """Dense and sparse search, fused (rag/retrieval/fusion.py), best first."""
        ...

    def visible(self, ids: Sequence[str], scope: Scope) -> set[str]:
        """Those of the ids that are stored and lie in a scope."""
        ...


class PointStore(Protocol):
    """An index as syncing needs it. Writes are durable and findable when they return.

    Raises IndexUnavailable when the index does not answer.
    """

    def upsert(self, points: Sequence[Point]) -> None:
        """Store points, each in place of the one with its id."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; an id that is not stored is no error."""
        ...

    def embedded(self, ids: Sequence[str]) -> dict[str, list[float]]:
        """Stored dense vectors by the text that was embedded (dense_text), so that none is made twice."""
        ...

    def versions(self, ids: Sequence[str]) -> dict[str, str]:
        """Those of the ids that are stored, each with the version of its document."""
        ...

    def chunks(self, ids: Sequence[str]) -> list[Chunk]:
        """Stored chunks, in any order; their documents have everything but the full text."""
        ...

    def count(self, *, source: str = "") -> int:
        """The exact number of points, of one source or of all."""
        ...

    def pages(self, source: str) -> Iterator[dict[str, str]]:
        """All points of a source, a page at a time, as point id and document id."""
        ...

    def mark(self, source: str, generation: str) -> None:
        """Note beside a source's points which commit they are as of, so that an older copy shows its age."""
        ...

    def marked(self, source: str) -> str:
        """What `mark` noted last; empty when nothing was."""
        ...


class VectorMemory(Protocol):
    """Vectors that one embedder has made, for as long as a chunk holds their text."""

    def find(self, texts: Sequence[str]) -> dict[str, list[float]]:
        """Those of the texts (dense_text) that were embedded before, with their vectors."""
        ...

    def keep(self, points: Sequence[Point]) -> None:
        """Remember the vectors of points that are stored now."""
        ...

    def forget(self, ids: Sequence[str]) -> None:
        """Forget what deleted points held, of every embedder."""
        ...


class Index(Searchable, PointStore, Protocol):
    """One that is searched and kept in step."""


class Reranker(Protocol):
    def rank(self, question: str, hits: Sequence[Hit], *, timeout_s: float) -> list[Hit]:
        """The same hits, best first; in the order given when there is no time or the model does not answer."""
        ...


class Generator(Protocol):
    def replica(self, affinity: str) -> str:
        """The replica that requests with this affinity go to while it answers."""
        ...

    async def window_tokens(self) -> int | None:
        """The longest context that the engine was started with; None when it does not say."""
        ...

    async def check(self, longest_s: float = 20.0) -> Mapping[str, str]:
        """Generate one token on every replica. By a replica's name what is wrong with it; empty where nothing is."""
        ...

    def stream(self, messages: Sequence[Message], sampling: Sampling, route: Route) -> AsyncGenerator[Delta, None]:
        """Stream an answer. Raises GeneratorUnavailable when the engine fails or is late."""
        ...


class TokenCounter(Protocol):
    additive: bool
    """Whether texts that end with a line break and begin with no white space have, joined, the sum of their tokens."""

    def count(self, messages: Sequence[Message]) -> int:
        """Prompt tokens of a chat, template and generation prompt included."""
        ...

    def count_text(self, text: str) -> int: ...

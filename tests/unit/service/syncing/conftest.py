"""A source, an index and a ledger in memory, and what a source says of a table."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from rag.chunking import split
from rag.documents import Document, Point
from rag.events import Checkpoint, Listed, Listing, ScopeComplete, SnapshotComplete, SourceEvent, Unreadable, Upsert
from rag.fakes import CharacterCounter, HashEmbedder, ListSource, MemoryIndex, TermEncoder
from rag.ports import Vectors as Array
from service.store.ledger.memory import MemoryLedger
from service.syncing.batch.vectors import Vectors
from service.syncing.report import Report
from service.syncing.run import SyncParts
from service.syncing.sync import Options, ingest

Item = Document | SourceEvent | Exception


class CountingEmbedder(HashEmbedder):
    """asked: all texts that it was to embed; one that holds 'poison' is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str], *, query: bool = False) -> Array:
        self.asked += texts
        if any("poison" in text for text in texts):
            raise ValueError("too long")
        return super().embed(texts, query=query)


class Store:
    """A source, 'shop', with an index and a ledger of its own; is read, and shows what would answer.

    before_request: as `before` of MemoryIndex.
    """

    def __init__(self, items: Iterable[Item] = (), **parts: Any) -> None:
        self.source = ListSource(items)
        self.ledger, self.embedder = MemoryLedger(), CountingEmbedder()
        self.index = MemoryIndex(before=lambda request: self.before_request(request))
        self.before_request: Callable[[str], None] = lambda request: None
        self.parts = SyncParts(
            **{
                "ledger": self.ledger,
                "index": self.index,
                "embedder": self.embedder,
                "sparse": TermEncoder(),
                "counter": CharacterCounter(),
                "max_tokens": 40,
                "mass_delete_share": 0.2,
                **parts,
            }
        )

    def run(
        self, items: Iterable[Item] | None = None, *, progress: Any = lambda report: None, **options: Any
    ) -> Report:
        """Sync with what the source holds now; items: what it holds from now on."""
        if items is not None:
            self.source.items = list(items)
        return ingest(self.parts, "shop", self.source, Options(**options), progress)

    def use(self, **parts: Any) -> None:
        """Go on with other parts."""
        self.parts = replace(self.parts, **parts)
        self.index = parts.get("index", self.index)

    def texts(self) -> dict[str, str]:
        """What the index has of each document."""
        ids = [point_id for page in self.index.pages("shop") for point_id in page]
        chunks = sorted(self.index.chunks(ids), key=lambda chunk: (chunk.document.id, chunk.ordinal))
        found: dict[str, str] = {}
        for chunk in chunks:
            found[chunk.document.id] = found.get(chunk.document.id, "") + chunk.text
        return found

    def is_in_step(self) -> bool:
        """Whether index and ledger agree, also in what the index is marked with."""
        known = {chunk for page in self.ledger.pages("shop") for document in page for chunk in document.chunk_ids}
        stored = {point_id for page in self.index.pages("shop") for point_id in page}
        return known == stored and self.index.marked("shop") == self.ledger.generation("shop")


@pytest.fixture
def store() -> Store:
    return Store()


def row(number: int, text: str = "", *, table: str = "t", **fields: Any) -> Document:
    """The document of a row."""
    return Document(
        id=f"{table}/{number}", source="shop", text=text or f"row {number}", uri="db://shop",
        **{"title": f"{table} {number}", "scope": table, "kind": "row", "primary_key": {"id": number}, **fields},
    )  # fmt: skip


def points(*documents: Document) -> list[Point]:
    """The points of documents, as a sync would store them."""
    chunks = [chunk for document in documents for chunk in split(document, CharacterCounter(), max_tokens=40)]
    return Vectors(embedder=HashEmbedder(), sparse=TermEncoder(), stored={}).points(chunks)()


def rows(numbers: Iterable[int], *, table: str = "t") -> list[Document]:
    return [row(number, table=table) for number in numbers]


def whole(documents: Sequence[Item], *, table: str = "t", by_content: bool = False) -> list[Item]:
    """A table that is read from its beginning to its end."""
    held = [item for item in documents if isinstance(item, Document | Upsert | Unreadable)]
    return [
        Listing(scope=table, by_content=by_content),
        *documents,
        Listed(scope=table, checkpoint=Checkpoint(scope=table, name="table", head={"n": len(held)})),
        ScopeComplete(scope=table, documents=len(held)),
    ]


def end(*tables: str, **fields: Any) -> SnapshotComplete:
    """The end of a database that has these tables, of which only changes are read."""
    return SnapshotComplete(scopes=frozenset(tables), **{"fixed_scopes": True, "changes_only": True, **fields})

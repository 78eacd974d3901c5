"""What an index holds: documents, their chunks and points, and what a search gives back of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Key = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A position in a document's text from which a page number and a heading hold."""

    start: int
    page: int | None = None
    heading: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A row, a file or a record of a file, as readable text.

    `id` is unique within its source and stable between runs. `scope` is the table or file that the document
    belongs to; a complete read of a scope is what allows deletions in it. `key_text` is repeated beside every
    chunk when the text has to be split (the key fields of a row). `acl` names the groups that may see it, all of its
    tenant when empty. `tags` and `metadata` are there to filter by.
    """

    id: str
    source: str
    title: str
    text: str
    uri: str
    scope: str = ""
    kind: Literal["row", "file"] = "file"
    primary_key: Key | None = None
    sections: tuple[Section, ...] = ()
    key_text: str = ""
    updated_at: int | None = None
    tenant: str = "default"
    acl: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a document: `text` is `document.text[start:end]`, and consecutive chunks touch.

    tokens: Qwen2.5 tokens of the text as it stands in a prompt (rag/prompt/prompt.py), counted at ingest; 0 when
    unknown.
    """

    id: str
    document: Document
    ordinal: int
    text: str
    start: int
    end: int
    page: int | None = None
    context: str = ""
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseVector:
    """Term ids (32 bit, ascending) with their weights."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A chunk with its vectors, as it is stored."""

    chunk: Chunk
    dense: list[float]
    sparse: SparseVector


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A retrieved chunk. `score` is the fused one; `scores` holds each retriever's own, where it ranked the chunk.

    The hit's document carries everything but the full text, which stays in the source.
    """

    chunk: Chunk
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One or more touching chunks as they stand in a prompt, under a label that belongs to the passage.

    tokens: as of a chunk. cut: the text is only the head of the chunks'. chunk_ids: of the chunks that it was made of.
    """

    label: str
    document: Document
    text: str
    start: int
    end: int
    page: int | None
    context: str
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    cut: bool = False
    chunk_ids: tuple[str, ...] = ()

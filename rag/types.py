"""Domain types: what a source yields, what an index holds, what an answer carries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Key = Mapping[str, str | int | float | bool | None]
Role = Literal["system", "user", "assistant"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Where a claim stands: `quote` is the document's text from `start` to `end`.

    pointer: the value of a JSON answer that it is for (RFC 6901); empty for an answer in words.
    """

    label: str
    source: str
    document_id: str
    title: str
    primary_key: Key | None
    page: int | None
    start: int
    end: int
    quote: str
    uri: str
    version: str
    pointer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An earlier turn of a conversation: the user's message as it was sent, passages and all, and what was answered.

    question: what the user asked, without passages. passages: those that stand in `asked`, to be cited again.
    stands_on: ids of the chunks that its texts were made from; when one of them is gone, the turn has to be forgotten.
    """

    question: str
    asked: str
    answer: str
    passages: tuple[Passage, ...] = ()
    stands_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts as the engine reports them; all zero for an extractive answer."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What is asked of the language model.

    json_schema: the form of an answer in JSON; {} for any JSON object. stop: texts that end an answer before them.
    options: further ones by their name in OpenAI's and vLLM's API, such as seed or top_k.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    json_schema: Mapping[str, Any] | None = None
    stop: tuple[str, ...] = ()
    options: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a request should go, and what it may share.

    affinity: requests with the same one go to the same replica, so that its prefix cache knows them. cache_salt:
    only requests with the same one share cached tokens (vLLM), so that no tenant can time another's prompts.
    """

    affinity: str = ""
    cache_salt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of a streamed answer; the last ones carry the usage and whether max_tokens ended it.

    One without anything says that the model has begun, though it has written nothing of the answer yet.
    """

    text: str = ""
    usage: Usage | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A finished answer.

    refused: no passage held the evidence, and `text` says so in the question's language.
    degraded: the language model did not answer, and `text` quotes the best sentences instead; degraded_reason says why,
    and degraded_public what callers who do not run Citewell are told of it.
    uncited: sentences of the text for which no passage was found. dropped: labels that the model wrote and that were
    taken out, because no passage has them or their passage does not hold the sentence. cut: max_tokens ended the text.
    marks: for each label in `text`, in order, the index of the citation that it stands for.
    value: what `text` holds, where JSON was asked for. standalone: the question that was searched for, where a
    conversation made it differ from the one asked. template: version of the prompt's templates.
    """

    text: str
    language: str
    citations: tuple[Citation, ...] = ()
    marks: tuple[int, ...] = ()
    passages: tuple[Passage, ...] = ()
    usage: Usage = Usage()
    timings_s: Mapping[str, float] = field(default_factory=dict)
    refused: bool = False
    degraded: bool = False
    degraded_reason: str = ""
    degraded_public: str = ""
    uncited: int = 0
    dropped: int = 0
    cut: bool = False
    value: Any = None
    standalone: str = ""
    template: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """A document as the source holds it now. moved_from: the id it had before, so that its embeddings are reused."""

    document: Document
    moved_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A document that the source says is gone."""

    document_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A row or file that could not be read. What was indexed of it before stays.

    scope: its table or file; where document_id is the scope itself, all documents of the scope stay.
    ignored: a file with nothing to read, or of a kind that is not read; it is reported, and is no failure.
    withdrawn: nobody can say who may see it now, so that nothing stays of it.
    """

    document_id: str
    scope: str
    reason: str
    ignored: bool = False
    withdrawn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """About how many more documents this read will yield, or how many bytes it will go through: for progress bars."""

    documents: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Bytes of those expected that have been read since, whatever they gave."""

    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that an operator should know: a column was dropped, a file was moved."""

    text: str


Note = Notice  # its name until 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """From here to Listed, every document of the scope is yielded, each once.

    resumes: it goes on where a broken read stopped. by_content: ids are made of the content, or may have been until
    now, so that a document that changed is one that goes and one that comes.
    """

    scope: str
    resumes: bool = False
    by_content: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """Documents that a listing which goes on has noted. Others that it met before have to be met again, or are gone."""

    document_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A note of the source to itself, kept once everything before it is indexed, and given back to its next read.

    head: small and JSON-like; None removes the note. body: as large as a range of rows needs. gone: ids of documents
    that this part of the source does not have any more.
    """

    scope: str
    name: str
    head: Mapping[str, Any] | None
    body: bytes = b""
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointGroup:
    """Checkpoints that only make sense together (the pieces of a range that was split): all are kept, or none."""

    parts: tuple[Checkpoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Every document of the scope was yielded: those not seen since Listing are gone. Then `checkpoint` is kept."""

    scope: str
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeComplete:
    """All that was to say of a scope (a table) has been said: it is brought in step, whatever becomes of the others.

    documents: how many the scope holds by this read, those too that were not yielded; None where it did not count them.
    """

    scope: str
    documents: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeFailed:
    """A scope could not be read to its end: nothing of it is deleted, and the other scopes go on."""

    scope: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotComplete:
    """The read is complete, and these are all scopes there are; documents of other scopes are gone.

    fixed_scopes: a scope that an earlier read had and this one lacks (a dropped table) keeps its documents; it is told.
    changes_only: only what changed was yielded, so that of a scope not listed nothing is gone but what was said to be.
    covered: scopes whose documents are read under another one, which is the value (a partition, and its parent).
    documents: how many the source holds by this read, where it knows.
    """

    scopes: frozenset[str]
    fixed_scopes: bool = False
    changes_only: bool = False
    covered: Mapping[str, str] = field(default_factory=dict)
    documents: int | None = None


SourceEvent = (
    Upsert
    | Tombstone
    | Unreadable
    | Expected
    | Passed
    | Notice
    | Listing
    | Met
    | Checkpoint
    | CheckpointGroup
    | Listed
    | ScopeComplete
    | ScopeFailed
    | SnapshotComplete
)

"""What is asked of the core, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rag.documents import (
    Chunk,
    Document,
    Hit,
    Key,
    Passage,
    Point,
    Section,
    SparseVector,
)
from rag.events import (
    Checkpoint,
    CheckpointGroup,
    Expected,
    Listed,
    Listing,
    Met,
    Note,
    Notice,
    Passed,
    ScopeComplete,
    ScopeFailed,
    SnapshotComplete,
    SourceEvent,
    Tombstone,
    Unreadable,
    Upsert,
)

# Kept for connectors written against 0.1, when all types lived here.
__all__ = [
    "Answer",
    "Checkpoint",
    "CheckpointGroup",
    "Chunk",
    "Citation",
    "Delta",
    "Document",
    "Expected",
    "Hit",
    "Key",
    "Listed",
    "Listing",
    "Message",
    "Met",
    "Note",
    "Notice",
    "Passage",
    "Passed",
    "Point",
    "Role",
    "Route",
    "Sampling",
    "ScopeComplete",
    "ScopeFailed",
    "Section",
    "SnapshotComplete",
    "SourceEvent",
    "SparseVector",
    "Tombstone",
    "Turn",
    "Unreadable",
    "Upsert",
    "Usage",
]

Role = Literal["system", "user", "assistant"]


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

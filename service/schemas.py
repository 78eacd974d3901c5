"""The JSON forms of the REST API; `citewell --json` prints the same."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rag.boundary.json_values import flaw
from rag.boundary.secrets import masked_in
from rag.documents import Hit, Key, Passage
from rag.prompt.profiles import Profile
from rag.types import Answer, Citation, Usage
from service.store.jobs import Job


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


FilterForm = dict[str, Any]
SourceName = Annotated[str, Field(max_length=255)]
_FILTER = "Search only what passes: equality, any of a list, ranges, any, all, not; see docs/retrieval.md"


class TurnBody(_Body):
    role: Literal["user", "assistant"]
    content: str = Field(max_length=400_000)


class JsonSchemaBody(_Body):
    """OpenAI's form: {"type": "json_object"}, or {"type": "json_schema", "json_schema": {"schema": …}}."""

    type: Literal["json_object", "json_schema"]
    json_schema: dict[str, Any] = Field({}, description='With the schema under "schema"; a name may stand beside it')

    @model_validator(mode="after")
    def _has_schema(self) -> "JsonSchemaBody":
        if self.type == "json_schema" and not isinstance(self.json_schema.get("schema"), dict):
            raise ValueError('a json_schema needs the schema under "schema"')
        if wrong := flaw(self.json_schema):
            raise ValueError(f"the schema cannot be sent: {wrong}")
        return self

    @property
    def schema_(self) -> dict[str, Any]:
        schema: dict[str, Any] = self.json_schema.get("schema", {}) if self.type == "json_schema" else {}
        return schema


class AskBody(_Body):
    question: str = Field(
        max_length=32_000,
        description="The question, in any language; retrieval.max_question_chars may allow less",
        examples=["Which albums did AC/DC release?"],
    )
    stream: bool = Field(False, description="Answer as server-sent events")
    profile: Profile | None = Field(None, description="Context window")
    sources: list[SourceName] = Field([], max_length=100, description="Search only these sources; all when empty")
    filter: FilterForm = Field({}, description=_FILTER, examples=[{"table": ["Album", "Track"]}])
    history: list[TurnBody] = Field([], max_length=200, description="Earlier turns of the conversation, oldest first")
    conversation: str = Field(
        "", max_length=200, description="An id of your own, under which Citewell keeps the turns instead of a history"
    )
    response_format: JsonSchemaBody | None = Field(None, description="Answer in JSON; citations then name a pointer")
    max_tokens: int | None = Field(None, ge=16, le=8192, description="Longest answer")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_passages: int | None = Field(
        None,
        ge=1,
        le=500,
        description="Maximum number of found passages that are given to the model; all that fit if empty",
    )


class RetrieveBody(_Body):
    question: str = Field(max_length=32_000, examples=["return policy for opened records"])
    k: int = Field(10, ge=1, le=200, description="Number of hits")
    sources: list[SourceName] = Field([], max_length=100, description="Search only these sources; all when empty")
    filter: FilterForm = Field({}, description=_FILTER, examples=[{"source": "handbook"}])


class HitOut(BaseModel):
    source: str
    document_id: str
    title: str
    primary_key: Key | None
    page: int | None
    start: int
    end: int
    text: str
    context: str
    uri: str
    version: str
    kind: Literal["row", "file"]
    score: float
    scores: dict[str, float]


class RetrieveOut(BaseModel):
    question: str
    hits: list[HitOut]


class PassageOut(HitOut):
    label: str
    cut: bool


class CitationOut(BaseModel):
    label: str
    source: str
    document_id: str
    title: str
    primary_key: Key | None
    page: int | None
    start: int = Field(description="Offset of the quote in the document's text, in characters")
    end: int
    quote: str
    uri: str
    version: str
    pointer: str = Field("", description="The value of a JSON answer that it is for (RFC 6901)")


class PassagesOut(BaseModel):
    passages: list[PassageOut]


class CitationsOut(BaseModel):
    citations: list[CitationOut]


class DeltaOut(BaseModel):
    text: str


class UsageOut(BaseModel):
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class AnswerOut(BaseModel):
    text: str
    language: str
    refused: bool = Field(description="No passage contained the evidence")
    degraded: bool = Field(description="The language model did not respond; sentences are quoted instead")
    degraded_reason: str
    uncited: int = Field(description="Sentences of the text for which no passage was found")
    dropped: int = Field(description="Labels removed from the text because they did not support their sentence")
    cut: bool = Field(description="max_tokens ended the text")
    value: Any = Field(None, description="The value of an answer in JSON")
    standalone: str = Field(description="What was searched for, if the conversation made it differ from the question")
    template: str = Field(description="Version of the prompt's templates")
    citations: list[CitationOut]
    marks: list[int] = Field([], description="For each label in the text, in order, the index of its citation")
    passages: list[PassageOut]
    usage: UsageOut
    timings_s: dict[str, float]


class Problem(BaseModel):
    """RFC 9457 problem document."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str = Field("", description="Find it in the service's log for details")


class SessionBody(_Body):
    key: str = Field(
        max_length=3500,
        pattern=r"^[A-Za-z0-9._~+/=-]+$",
        description="An API key, or a token from your identity provider",
    )


class AskingOut(BaseModel):
    """How the caller may ask, and what holds where they say nothing."""

    profiles: dict[str, int] = Field(description="Context tokens of each profile that the key and the engine allow")
    profile: str
    max_tokens: int
    temperature: float
    top_p: float
    writes: bool = Field(description="Whether a language model writes answers; otherwise they are quotes")
    max_question_chars: int
    keep_conversations_s: float


class CallerOut(BaseModel):
    name: str
    tenant: str
    groups: list[str]
    scopes: list[str]
    sources: list[str]
    profiles: list[str] = Field(description="All when empty")
    authenticated: bool = Field(description="Whether requests need a key or a token")
    asking: AskingOut


CheckKind = Literal["source", "state", "index", "embedder", "engine"]


class CheckOut(BaseModel):
    name: str
    kind: CheckKind
    ok: bool
    detail: str
    seconds: float


class HealthOut(BaseModel):
    checks: list[CheckOut]


class SourcesOut(BaseModel):
    sources: list[dict[str, Any]]


class QuarantineOut(BaseModel):
    source: str
    document_id: str
    reason: str
    since: float = Field(description="Seconds since 1970")


class QuarantinePage(BaseModel):
    documents: list[QuarantineOut]
    next_cursor: str | None


class JobBody(_Body):
    sources: list[SourceName] = Field(
        [], max_length=100, description="Sources to read; all when empty", examples=[["shop"]]
    )
    full: bool = Field(False, description="Re-index every document, changed or not")
    retry: bool = Field(False, description="Retry what was set aside, changed or not")
    allow_mass_delete: bool = Field(False, description="Delete even if much of a source is gone")


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BROKEN = "broken"


class JobOut(BaseModel):
    id: int
    status: JobStatus = Field(description="broken: the process that ran it has died")
    sources: list[str]
    progress: dict[str, Any] = Field(description="Of each source: documents read, rate, seconds left")
    reports: list[dict[str, Any]] = Field(description="What was done, once it has ended")
    error: str | None
    cancelled: bool = Field(description="Whether it was cancelled")
    created_at: float = Field(description="Seconds since 1970")
    started_at: float | None
    ended_at: float | None


class JobPage(BaseModel):
    jobs: list[JobOut]
    next_cursor: str | None


def job_out(job: Job) -> JobOut:
    told = job.progress
    return JobOut(
        id=job.id,
        status=JobStatus(job.status),
        sources=job.sources,
        progress=told.get("sources", {}),
        reports=masked_in(told.get("reports", [])),
        error=masked_in(told.get("error")),
        cancelled=job.cancelled,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
    )


def hit_out(hit: Hit) -> HitOut:
    chunk = hit.chunk
    return HitOut(**_place(chunk.document, chunk), text=chunk.text, score=hit.score, scores=dict(hit.scores))


def passage_out(passage: Passage) -> PassageOut:
    return PassageOut(
        **_place(passage.document, passage),
        text=passage.text,
        score=passage.score,
        scores=dict(passage.scores),
        label=passage.label,
        cut=passage.cut,
    )


def _place(document: Any, at: Any) -> dict[str, Any]:
    return {
        "source": document.source,
        "document_id": document.id,
        "title": document.title,
        "primary_key": document.primary_key,
        "page": at.page,
        "start": at.start,
        "end": at.end,
        "context": at.context,
        "uri": document.uri,
        "version": document.version,
        "kind": document.kind,
    }


def citation_out(citation: Citation) -> CitationOut:
    return CitationOut(**{name: getattr(citation, name) for name in CitationOut.model_fields})


def usage_out(usage: Usage) -> UsageOut:
    return UsageOut(**{name: getattr(usage, name) for name in UsageOut.model_fields})


def answer_out(answer: Answer) -> AnswerOut:
    return AnswerOut(
        text=answer.text,
        language=answer.language,
        refused=answer.refused,
        degraded=answer.degraded,
        degraded_reason=answer.degraded_reason,
        uncited=answer.uncited,
        dropped=answer.dropped,
        cut=answer.cut,
        value=answer.value,
        standalone=answer.standalone,
        template=answer.template,
        citations=[citation_out(citation) for citation in answer.citations],
        marks=list(answer.marks),
        passages=[passage_out(passage) for passage in answer.passages],
        usage=usage_out(answer.usage),
        timings_s=dict(answer.timings_s),
    )

"""The sections of the configuration, citewell.toml. Unknown keys are errors."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from indexes.embedders.model_folder import MODEL
from rag.errors import FilterError
from rag.filters import parse_filter
from rag.prompt.profiles import DEFAULT_PROFILE, Profile
from rag.question.evidence import THRESHOLD
from rag.retrieval.fusion import DENSE_WEIGHT
from rag.types import Sampling
from service.settings.sources import SourceSettings
from service.settings.values import Duration, Group, Rate, Secret, SecretUrl, Section, Url

_SAMPLING = Sampling()


class EmbedderSettings(Section):
    model: str = Field(MODEL, description="Bundled name, folder, hub name, or endpoint's model")
    url: Url = Field("", description="OpenAI-compatible endpoint, ending in /v1; empty to embed in this process")
    api_key: Secret = Field(SecretStr(""), description="Key of the endpoint")
    backend: Literal["auto", "onnx", "torch"] = Field(
        "auto", description="auto: ONNX int8 for BERT-like models on a CPU"
    )
    query_prompt: str | None = Field(None, description="Put before a question; the model's own when not given")
    document_prompt: str | None = Field(None, description="Put before a passage; the model's own when not given")
    timeout_s: float = Field(60.0, gt=0, description="For one request to the endpoint")
    cache_mb: int = Field(
        512, ge=0, description="Vectors of texts that are kept, so that none is made twice; 0 keeps none"
    )
    cache_dir: Path | None = Field(None, description="Folder of the kept vectors; data_dir when not given")


class QdrantSettings(Section):
    url: Url = Field("", description="Qdrant server or cluster; empty for the embedded engine")
    api_key: Secret = Field(SecretStr(""), description="Key of the server")
    collection: str = Field(
        "citewell", pattern=r"^[\w.-]{1,80}$", description="Alias of this knowledge base's collection"
    )
    grpc: bool = Field(False, description="Talk gRPC to the server: a third of the bytes of REST")
    timeout_s: float = Field(60.0, gt=0, description="For one request to the server")
    search_timeout_s: float = Field(5.0, gt=0, description="For one search of a question")
    shard_number: int | None = Field(
        None, ge=1, description="Shards of a new collection; the server's default if empty"
    )
    replication_factor: int | None = Field(None, ge=1, description="Copies of each shard")
    write_consistency_factor: int | None = Field(
        None, ge=1, description="Copies that must have a write before it counts"
    )
    on_disk: bool = Field(True, description="Keep original vectors and texts on disk, and int8 vectors in memory")
    engine_idle_s: float = Field(60.0, gt=0, description="The embedded engine ends after this long without a request")


class LlmSettings(Section):
    urls: tuple[Url, ...] = Field((), description="OpenAI-compatible servers, ending in /v1; none: answers are quotes")
    model: str = Field("Qwen/Qwen2.5-7B-Instruct", description="Name that the server serves the model under")
    api_key: Secret = Field(SecretStr(""), description="Key of the server")
    profile: Profile = Field(DEFAULT_PROFILE, description="Context: 8k, 32k, 64k, 128k tokens")
    tokenizer: str = Field("qwen2.5", description="qwen2.5 (built in), or the folder or hub name of another model")
    max_tokens: int = Field(_SAMPLING.max_tokens, ge=16, le=8192, description="Longest answer")
    temperature: float = Field(_SAMPLING.temperature, ge=0, le=2)
    top_p: float = Field(_SAMPLING.top_p, gt=0, le=1)
    timeout_s: float = Field(60.0, gt=0, description="For a complete answer; after that, quoting takes over")
    first_token_s: float = Field(30.0, gt=0, description="For its first token; after that, the next server or quoting")
    max_waiting: int = Field(64, ge=1, description="Requests waiting in the engines above which new ones are refused")
    order_passages: bool = Field(True, description="Order passages for the prefix cache; false: by relevance")
    cache_tokens: int = Field(
        1_000_000, ge=1000, description="Roughly the size of a server's KV cache, for the ordering"
    )
    templates: str = Field("", description="Folder with prompt templates to use in place of the built-in ones")
    keep_conversations: Duration = Field(86400, ge=60, description="How long a conversation's turns are kept")


class RerankSettings(Section):
    model: str = Field("", description="CrossEncoder by folder or hub name, or the endpoint's model; empty for none")
    url: Url = Field("", description="Server with a /rerank route (vLLM, TEI, Cohere)")
    api_key: Secret = Field(SecretStr(""), description="Key of the server")
    top: int = Field(40, ge=2, le=500, description="Chunks that are reranked")
    timeout_s: float = Field(1.0, gt=0, description="Longest time; after that, the fused order is kept")


class RetrievalSettings(Section):
    limit: int = Field(40, ge=1, le=500, description="Chunks fetched for a question")
    dense_weight: float = Field(
        DENSE_WEIGHT, ge=0, le=1, description="Share of likeness in a hit's score; words have the rest"
    )
    per_document: int = Field(8, ge=1, description="Most chunks of one document among them")
    filter: dict[str, Any] = Field({}, description="Filter that applies to every question, see docs/retrieval.md")
    threshold: float = Field(THRESHOLD, ge=0, le=1, description="Evidence below which Citewell refuses")
    max_question_chars: int = Field(8_000, ge=10, description="Longest question")

    @model_validator(mode="after")
    def _filter_is_valid(self) -> "RetrievalSettings":
        try:
            parse_filter(self.filter)
        except FilterError as err:
            raise ValueError(str(err)) from err
        return self


class ChunkingSettings(Section):
    max_tokens: int = Field(256, ge=32, le=8192, description="Qwen2.5 tokens of a chunk")


class IngestSettings(Section):
    mass_delete_share: float = Field(0.2, ge=0, le=1, description="A run that would delete more of a source stops")
    every: Duration = Field(300, ge=1, description="How often `ingest --watch` reads a database without a schedule")


class IdentitySettings(Section):
    """Who asks where no key and no token says it."""

    tenant: str = Field("default", min_length=1, description="Tenant of the callers")
    groups: tuple[Group, ...] = Field((), description="Groups of the callers")


class StateSettings(Section):
    url: SecretUrl = Field(SecretStr(""), description="SQLAlchemy URL; empty for a SQLite file in data_dir")


class ServerSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64, description="Processes that answer; each loads the embedder")
    allow_unauthenticated: bool = Field(False, description="Allow a host that other machines can reach without keys")
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Host headers that are answered; empty: this machine's names on a loopback host, else any"
    )
    public_metrics: bool = Field(False, description="Serve /metrics without an admin key")
    deadline: Duration = Field(120, ge=0.1, description="Longest time for a request, including its answer")
    drain: Duration = Field(0, ge=0, description="How long connections are still taken after SIGTERM, not being ready")
    grace: Duration = Field(20, ge=0.1, description="How long answers may go on after SIGTERM")


class LimitSettings(Section):
    """Of each key, unless the key has limits of its own."""

    rate: Rate = Field("", description='Requests of a caller: "60/minute", "5/second;1000/day"; empty: no limit')
    concurrent: int = Field(
        0, ge=0, description="Requests of a caller at once, in each worker; 0: a quarter of in_flight"
    )
    in_flight: int = Field(256, ge=1, description="Requests of all callers at once, in each worker")
    storage: Url = Field(
        "memory://", description="Where rates are counted: memory:// for each worker, redis://HOST:PORT"
    )
    body_bytes: int = Field(1_000_000, ge=1000, description="Longest request body")
    question_bytes: int = Field(32_000, ge=100, description="Longest question, in UTF-8")
    history_bytes: int = Field(400_000, ge=0, description="Longest history of a request, in UTF-8")
    filter_bytes: int = Field(20_000, ge=0, description="Longest filter, as JSON")


class OidcSettings(Section):
    """Bearer tokens of an OpenID Connect provider."""

    issuer: str = Field(
        pattern=r"^https?://", description="The tokens' iss; its /.well-known/openid-configuration is read"
    )
    audience: str = Field(min_length=1, description="The tokens' aud")
    jwks_url: Url = Field("", description="Where its keys are; found through the issuer when empty")
    algorithms: tuple[Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"], ...] = Field(
        ("RS256", "ES256"), min_length=1, description="Accepted algorithms; never none, never a shared secret"
    )
    tenant: str = Field("", description="Tenant of all its users; empty: each token names it")
    tenant_claim: str = Field("tenant", description="Claim that names the tenant")
    groups_claim: str = Field("groups", description="Claim that lists the groups")
    scope_claim: str = Field("scope", description="Claim with the scopes, as text or list")
    scope_prefix: str = Field("citewell:", description="Before ask, ingest and admin in that claim")
    leeway_s: float = Field(30.0, ge=0, le=300, description="How far clocks may differ")


class AuthSettings(Section):
    oidc: OidcSettings | None = None


class TelemetrySettings(Section):
    otlp_url: Url = Field("", description="OTLP/HTTP collector that gets traces, such as http://127.0.0.1:4318")
    content: bool = Field(False, description="Put questions and answers into traces")
    log_format: Literal["text", "json"] = Field("text", description="Form of the log on stderr")
    log_questions: bool = Field(False, description="Put questions into the log")


class Settings(Section):
    data_dir: Path = Field(Path(".citewell"), description="Index and state, relative to the configuration's folder")
    embedder: EmbedderSettings = EmbedderSettings()
    qdrant: QdrantSettings = QdrantSettings()
    llm: LlmSettings = LlmSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    rerank: RerankSettings = RerankSettings()
    chunking: ChunkingSettings = ChunkingSettings()
    ingest: IngestSettings = IngestSettings()
    state: StateSettings = StateSettings()
    server: ServerSettings = ServerSettings()
    identity: IdentitySettings = IdentitySettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    synonyms: dict[str, tuple[str, ...]] = Field({}, description="Words of questions, with those that the sources use")
    sources: dict[str, SourceSettings] = Field({})
    root: Path = Field(Path("."), exclude=True, description="Folder of the configuration; not a setting")
    file: Path | None = Field(None, exclude=True, description="The configuration; not a setting")

    @property
    def state_url(self) -> str:
        """The URL of the state store: the configured one, or a file in the data folder."""
        return self.state.url.get_secret_value() or f"sqlite:///{self.data_dir / 'state.sqlite'}"

    @property
    def own_files(self) -> tuple[Path, ...]:
        """The configuration and what Citewell keeps: never read as documents."""
        return (self.data_dir, *((self.file,) if self.file is not None else ()))

"""Configuration: citewell.toml, with CITEWELL_SECTION__KEY over it and ${VAR} in values. Unknown keys are errors."""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from rag.boundary.secrets import remember
from rag.boundary.urls import credentials_in, has_two_ats, user_part
from rag.errors import ConfigError, FilterError
from rag.filters import parse_filter
from rag.ports import PUBLIC
from rag.question.evidence import THRESHOLD
from rag.retrieval.fusion import DENSE_WEIGHT

DEFAULT_PATH = "citewell.toml"
_ENV_PREFIX = "CITEWELL_"
_NOT_SETTINGS = {"CITEWELL_CONFIG"}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def seconds(value: Any) -> Any:
    """Seconds from a number, also as text, or from text such as "30s", "5m", "2h" or "1d"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", value.strip()) if isinstance(value, str) else None
    if match:
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
    if isinstance(value, str):
        raise ValueError(f'{value!r} is not a time; write "30s", "5m", "2h" or "1d"')
    return value


def _group(value: Any) -> Any:
    if isinstance(value, str) and value.strip() in (PUBLIC, ""):
        raise ValueError(f"{value!r} cannot be a group")
    return value


def _acl(value: Any) -> Any:
    if isinstance(value, list | tuple) and not value:
        raise ValueError(f'lets nobody in; leave it out, or write ["{PUBLIC}"] for all of the tenant')
    if isinstance(value, list | tuple) and list(value) != [PUBLIC]:
        return [_group(group) for group in value]
    return value


def _url(value: Any) -> Any:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str):
        remember(credentials_in(text))
        if has_two_ats(text):
            raise ValueError(
                "has two @, so that nobody can tell where the password ends. Write an @ of user or password as %40, or "
                'give it beside the url: password = "..."'
            )
    return value


def _secret(value: SecretStr) -> SecretStr:
    remember([value.get_secret_value()])
    return value


Url = Annotated[str, BeforeValidator(_url)]
SecretUrl = Annotated[SecretStr, BeforeValidator(_url)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
Group = Annotated[str, Field(min_length=1), BeforeValidator(_group)]
Acl = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_acl)]
Duration = Annotated[float, BeforeValidator(seconds)]


class EmbedderSettings(_Section):
    model: str = Field("multilingual-e5-small", description="Bundled name, folder, hub name, or endpoint's model")
    url: Url = Field("", description="OpenAI-compatible endpoint, ending in /v1; empty to embed in this process")
    api_key: Secret = Field(SecretStr(""), description="Key of the endpoint")
    backend: Literal["auto", "onnx", "torch"] = Field(
        "auto", description="auto: ONNX int8 for BERT-like models on a CPU"
    )
    query_prompt: str | None = Field(None, description="Put before a question; the model's own when not given")
    document_prompt: str | None = Field(None, description="Put before a passage; the model's own when not given")
    timeout_s: float = Field(60.0, gt=0, description="For one request to the endpoint")


class QdrantSettings(_Section):
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
    write_consistency_factor: int | None = Field(None, ge=1, description="Copies that have a write before it counts")
    on_disk: bool = Field(True, description="Keep original vectors and texts on disk, and int8 vectors in memory")
    engine_idle_s: float = Field(60.0, gt=0, description="The embedded engine ends after this long without a request")


class LlmSettings(_Section):
    urls: tuple[Url, ...] = Field((), description="OpenAI-compatible servers, ending in /v1; none: answers are quotes")
    model: str = Field("Qwen/Qwen2.5-7B-Instruct", description="Name that the server serves the model under")
    api_key: Secret = Field(SecretStr(""), description="Key of the server")
    profile: Literal["chat", "document", "log", "book"] = Field(
        "chat", description="Context: 8k, 32k, 64k, 128k tokens"
    )
    tokenizer: str = Field("qwen2.5", description="qwen2.5 (built in), or the folder or hub name of another model")
    max_tokens: int = Field(512, ge=16, le=8192, description="Longest answer")
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    timeout_s: float = Field(60.0, gt=0, description="For a whole answer; past it, quoting takes over")
    first_token_s: float = Field(30.0, gt=0, description="For its first token; past it, the next server or quoting")
    max_waiting: int = Field(64, ge=1, description="Requests waiting in the engines from which on new ones are refused")
    order_passages: bool = Field(True, description="Order passages for the prefix cache; false: by relevance")
    cache_tokens: int = Field(1_000_000, ge=1000, description="About what a server's KV cache holds, for the ordering")
    templates: str = Field("", description="Folder with prompt templates to use in place of the built-in ones")
    keep_conversations: Duration = Field(86400, ge=60, description="How long a conversation's turns are kept")


class RerankSettings(_Section):
    model: str = Field("", description="CrossEncoder by folder or hub name, or the endpoint's model; empty for none")
    url: Url = Field("", description="Server with a /rerank route (vLLM, TEI, Cohere)")
    api_key: Secret = Field(SecretStr(""), description="Key of the server")
    top: int = Field(40, ge=2, le=500, description="Chunks that are reranked")
    timeout_s: float = Field(1.0, gt=0, description="Longest time; past it, the fused order stands")


class RetrievalSettings(_Section):
    limit: int = Field(40, ge=1, le=500, description="Chunks fetched for a question")
    dense_weight: float = Field(
        DENSE_WEIGHT, ge=0, le=1, description="Share of likeness in a hit's score; words have the rest"
    )
    per_document: int = Field(8, ge=1, description="Most chunks of one document among them")
    filter: dict[str, Any] = Field({}, description="Filter that holds for every question, see docs/retrieval.md")
    threshold: float = Field(THRESHOLD, ge=0, le=1, description="Evidence below which Citewell refuses")
    max_question_chars: int = Field(8_000, ge=10, description="Longest question")

    @model_validator(mode="after")
    def _filter_is_valid(self) -> "RetrievalSettings":
        try:
            parse_filter(self.filter)
        except FilterError as err:
            raise ValueError(str(err)) from err
        return self


class ChunkingSettings(_Section):
    max_tokens: int = Field(256, ge=32, le=8192, description="Qwen2.5 tokens of a chunk")


class IngestSettings(_Section):
    mass_delete_share: float = Field(0.2, ge=0, le=1, description="A run that would delete more of a source stops")
    every: Duration = Field(300, ge=1, description="How often `ingest --watch` reads a database without a schedule")


class IdentitySettings(_Section):
    """Who asks where no key and no token says it."""

    tenant: str = Field("default", min_length=1, description="Tenant of those who ask")
    groups: tuple[Group, ...] = Field((), description="Groups that they belong to")


class StateSettings(_Section):
    url: SecretUrl = Field(SecretStr(""), description="SQLAlchemy URL; empty for a SQLite file in data_dir")


class ServerSettings(_Section):
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64, description="Processes that answer; each loads the embedder")
    allow_unauthenticated: bool = Field(False, description="Allow a host that other machines reach without keys")
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Host headers that are answered; empty: this machine's names on a loopback host, else any"
    )
    public_metrics: bool = Field(False, description="Serve /metrics without an admin key")
    deadline: Duration = Field(120, ge=0.1, description="Longest time for a request, its answer included")
    drain: Duration = Field(0, ge=0, description="How long connections are still taken after SIGTERM, not being ready")
    grace: Duration = Field(20, ge=0.1, description="How long answers may go on after SIGTERM")


class LimitSettings(_Section):
    """Of each key, unless the key has limits of its own."""

    rate: str = Field("", description='Requests of a caller: "60/minute", "5/second;1000/day"; empty: no limit')
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

    @field_validator("rate")
    @classmethod
    def _rate_is_valid(cls, rate: str) -> str:
        return checked_rate(rate)


def checked_rate(rate: str) -> str:
    """A rate that can be read. Raises ValueError, with an example, for another one."""
    from limits import parse_many

    try:
        if rate:
            parse_many(rate)
    except ValueError as err:
        raise ValueError(f'{rate!r} is no rate; write "60/minute" or "5/second;1000/day"') from err
    return rate


class OidcSettings(_Section):
    """Bearer tokens of an OpenID Connect provider."""

    issuer: str = Field(
        pattern=r"^https?://", description="The tokens' iss; its /.well-known/openid-configuration is read"
    )
    audience: str = Field(min_length=1, description="The tokens' aud")
    jwks_url: Url = Field("", description="Where its keys are; found through the issuer when empty")
    algorithms: tuple[Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"], ...] = Field(
        ("RS256", "ES256"), min_length=1, description="Algorithms that are taken; never none, never a shared secret"
    )
    tenant: str = Field("", description="Tenant of all its users; empty: each token names it")
    tenant_claim: str = Field("tenant", description="Claim that names the tenant")
    groups_claim: str = Field("groups", description="Claim that lists the groups")
    scope_claim: str = Field("scope", description="Claim with the scopes, as text or list")
    scope_prefix: str = Field("citewell:", description="Before ask, ingest and admin in that claim")
    leeway_s: float = Field(30.0, ge=0, le=300, description="By how much clocks may differ")


class AuthSettings(_Section):
    oidc: OidcSettings | None = None


class TelemetrySettings(_Section):
    otlp_url: Url = Field("", description="OTLP/HTTP collector that gets traces, such as http://127.0.0.1:4318")
    content: bool = Field(False, description="Put questions and answers into traces")
    log_format: Literal["text", "json"] = Field("text", description="Form of the log on stderr")
    log_questions: bool = Field(False, description="Put questions into the log")


class _Schedule(_Section):
    """When `citewell serve` and `citewell ingest --watch` read a source."""

    every: Annotated[Duration, Field(ge=1)] | None = Field(None, description='Read every so often: "5m", "2h"')
    cron: str = Field("", description='Read at these times: "*/15 8-18 * * mon-fri" (minute hour day month weekday)')

    @model_validator(mode="after")
    def _one_schedule(self) -> "_Schedule":
        if self.every is not None and self.cron:
            raise ValueError("give either every or cron")
        if self.cron:
            from apscheduler.triggers.cron import CronTrigger

            try:
                CronTrigger.from_crontab(self.cron)
            except ValueError as err:
                raise ValueError(f"cron {self.cron!r} is not valid: {err}") from err
        return self


class SqlSettings(_Schedule):
    kind: Literal["sql"]
    url: SecretUrl = Field(description="SQLAlchemy URL; a SQLite path is relative to the configuration's folder")
    password: Secret = Field(SecretStr(""), description="Password of the url's user, as it is, not encoded")
    db_schema: str | None = Field(None, alias="schema", description="Schema to read; the default one when empty")
    tables: tuple[str, ...] = Field((), description="Tables or views to read; all tables when empty")
    exclude: tuple[str, ...] = Field((), description="Tables to leave out")
    keys: dict[str, tuple[str, ...]] = Field({}, description="Key columns of tables without a primary key")
    cursors: dict[str, str] = Field({}, description="Tables' columns that move with every change (updated_at)")
    tombstones: dict[str, str] = Field({}, description="Tables' columns that mark a row as deleted (deleted_at)")
    overlap: Duration = Field(300, ge=0, description="Rows changed this long before the newest are read again")
    reconcile_every: Duration = Field(0, ge=0, description="How often a table with a cursor is compared whole")
    statement_timeout: Duration = Field(600, ge=0, description="Longest time of a statement; 0: the server's own limit")
    lock_timeout: Duration = Field(60, ge=0, description="Longest wait for another session's lock; 0: the server's own")
    query: str = Field("", description="A SELECT to read instead of tables")
    key: tuple[str, ...] = Field((), description="Key columns of the query")
    tenant: str = Field("default", min_length=1, description="Tenant of its rows")
    tenant_column: str = Field("", description="Column that holds each row's tenant")
    acl: Acl = Field((), description='Groups that may see its rows; ["*"], and when left out: all of the tenant')
    acl_column: str = Field("", description="Column that holds each row's groups; where it is empty, acl says who")
    tags: tuple[str, ...] = Field((), description="Tags to filter by")
    metadata: tuple[str, ...] = Field((), description="Columns to filter by, as metadata.NAME")

    @property
    def tenants(self) -> tuple[str, ...]:
        """Tenants that have documents here; empty where each row names its own."""
        return () if self.tenant_column else (self.tenant,)

    @model_validator(mode="after")
    def _one_password(self) -> "SqlSettings":
        url = self.url.get_secret_value()
        start, end = user_part(url)
        if self.password.get_secret_value() and ":" in url[start:end]:
            raise ValueError("give the password either in the url or as password")
        return self

    @model_validator(mode="after")
    def _query_has_key(self) -> "SqlSettings":
        if self.query and not self.key:
            raise ValueError('a query needs key = ["…"], the columns that tell its rows apart')
        if self.query and (self.tables or self.exclude or self.keys or self.cursors or self.tombstones):
            raise ValueError("give either a query or tables, exclude, keys, cursors and tombstones")
        if self.key and not self.query:
            raise ValueError('key belongs to a query; for tables write keys = { table = ["column"] }')
        return self


class RuleSettings(_Section):
    path: str = Field(min_length=1, description="Glob, relative to the configuration")
    tenant: str | None = Field(None, min_length=1)
    acl: Acl | None = None
    tags: tuple[str, ...] = ()


class FilesSettings(_Schedule):
    kind: Literal["files"]
    paths: tuple[str, ...] = Field(min_length=1, description="Files, folders or globs, relative to the configuration")
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = Field(
        (), description="What is read though it is left out by default: secrets, build output, what ignore files name"
    )
    hidden: bool = Field(False, description="Read hidden sheets, rows, columns and slides")
    watch: bool = Field(False, description="Read the source as soon as a file of it changes")
    parse_timeout: Duration = Field(120, gt=0, description="Longest time to parse one PDF or office file")
    parse_memory_mb: int = Field(2048, ge=128, description="Most memory to parse one PDF or office file")
    tenant: str = Field("default", min_length=1, description="Tenant of its files")
    acl: Acl = Field((), description='Groups that may see its files; ["*"], and when left out: all of the tenant')
    tags: tuple[str, ...] = Field((), description="Tags to filter by")
    rules: tuple[RuleSettings, ...] = Field((), description="What holds for some of the files: path, tenant, acl, tags")

    @property
    def tenants(self) -> tuple[str, ...]:
        """Tenants that may have documents here."""
        return (self.tenant, *(rule.tenant for rule in self.rules if rule.tenant is not None))


SourceSettings = Annotated[SqlSettings | FilesSettings, Field(discriminator="kind")]


class Settings(_Section):
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
    sources: dict[str, SourceSettings] = {}
    root: Path = Field(Path("."), exclude=True, description="Folder of the configuration; not a setting")
    file: Path | None = Field(None, exclude=True, description="The configuration; not a setting")

    @property
    def own_files(self) -> tuple[Path, ...]:
        """The configuration and what Citewell keeps: never read as documents."""
        return (self.data_dir, *((self.file,) if self.file is not None else ()))


def load_settings(path: str | Path = DEFAULT_PATH, *, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read a configuration file. Raises ConfigError naming file, line and key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except FileNotFoundError as err:
        raise ConfigError(f"There is no configuration at {path}. Make one with `citewell init`.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"The configuration {path} cannot be read: {err}") from err
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(f"{path} is not valid TOML: {err}") from err
    for key in {"root", "file"} & raw.keys():
        raise ConfigError(f"{path}, line {_line_of(text, (key,))}: unknown key {key!r}.")
    root = path.resolve().parent
    merged = _with_environment(_expand(raw, environ, path), environ)
    try:
        settings = Settings.model_validate(merged | {"root": root})
    except ValidationError as err:
        raise ConfigError(_explain(err, path, text)) from err
    return settings.model_copy(update={"data_dir": root / settings.data_dir.expanduser(), "file": path.resolve()})


def _expand(value: Any, environ: Mapping[str, str], path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _expand(inner, environ, path) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expand(inner, environ, path) for inner in value]
    if not isinstance(value, str):
        return value

    start, end = user_part(value)
    query = value.find("?") if "://" in value else -1

    def variable(match: re.Match[str]) -> str:
        if match.group(1) not in environ:
            raise ConfigError(f"{path} uses ${{{match.group(1)}}}, but no such environment variable is set.")
        found = environ[match.group(1)]
        remember([found])
        is_value = start <= match.start() < end or 0 <= query < match.start()  # of a URL, whose signs it may hold
        return quote(found, safe="") if is_value else found

    return _VARIABLE.sub(variable, value)


def _with_environment(raw: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Put CITEWELL_SECTION__KEY values over the file's; JSON where it parses as such, text where not."""
    for name, value in environ.items():
        if not name.startswith(_ENV_PREFIX) or name in _NOT_SETTINGS:
            continue
        *sections, key = name.removeprefix(_ENV_PREFIX).lower().split("__")
        place = raw
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f"The environment variable {name} names no setting: {section!r} is not a section.")
        place[key] = _parsed(value)
    return raw


def _parsed(value: str) -> Any:
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, list | dict | bool) else value


def _explain(err: ValidationError, path: Path, text: str) -> str:
    lines = []
    for problem in err.errors():
        location = tuple(str(part) for part in problem["loc"] if part not in ("sql", "files"))
        line = _line_of(text, location)
        variable = _ENV_PREFIX + "__".join(location).upper()
        where = f"{path}, line {line}" if line else f"{path}, or the environment variable {variable}"
        lines.append(f"{where}: {'.'.join(location)}: {_reason(problem, location)}")
    return "\n".join(lines)


def _reason(problem: Any, location: tuple[str, ...]) -> str:
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        return f"unknown key {location[-1]!r}" + (f"; there are: {', '.join(known)}" if known else "")
    if problem["type"].startswith("union_tag"):
        return 'a source needs kind = "sql" or kind = "files"'
    return str(problem["msg"]).removeprefix("Value error, ")


def _known_keys(section: tuple[str, ...]) -> list[str]:
    fields = Settings.model_fields
    if not section:
        return [name for name in fields if name != "root"]
    model = fields[section[0]].annotation if section[0] in fields else None
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    if section[0] == "sources":
        return sorted({(f.alias or n) for m in (SqlSettings, FilesSettings) for n, f in m.model_fields.items()})
    return []


def _line_of(text: str, location: tuple[str, ...]) -> int | None:
    """The line of a key: the last part of its location that the file has, under its section."""
    section, key = ".".join(location[:-1]), location[-1] if location else ""
    current, fallback = "", None
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[([^\[\]]+)\]", line)
        if header:
            current = header.group(1).replace('"', "").replace(" ", "")
            if current in (section, ".".join(location)):
                fallback = number
        assigned = re.match(r"""\s*["']?([\w-]+)["']?\s*=""", line)
        if assigned and current == section and assigned.group(1) == key:
            return number
        if assigned and assigned.group(1) in location and current in section and fallback is None:
            fallback = number
    return fallback

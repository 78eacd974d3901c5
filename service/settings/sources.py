"""Settings of the sources: [sources.NAME], and when each is read."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from connectors.files.limits import PARSE_MEMORY_MB, PARSE_TIMEOUT
from connectors.sql.changes.patience import Patience
from connectors.sql.limits import Limits
from rag.boundary.urls import user_part
from service.settings.values import Acl, Duration, Secret, SecretUrl, Section

_PATIENCE, _LIMITS = Patience(), Limits()


class _Schedule(Section):
    """When `citewell serve` and `citewell ingest --watch` read a source."""

    every: Annotated[Duration, Field(ge=1)] | None = Field(None, description='Read at this interval: "5m", "2h"')
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
    cursors: dict[str, str] = Field({}, description="Tables' columns that are updated with every change (updated_at)")
    tombstones: dict[str, str] = Field({}, description="Tables' columns that mark a row as deleted (deleted_at)")
    overlap: Duration = Field(
        _PATIENCE.overlap, ge=0, description="Rows changed this long before the newest are read again"
    )
    reconcile_every: Duration = Field(
        _PATIENCE.reconcile_every, ge=0, description="How often a table with a cursor is compared in full"
    )
    statement_timeout: Duration = Field(
        _LIMITS.statement_timeout, ge=0, description="Longest time of a statement; 0: the server's own limit"
    )
    lock_timeout: Duration = Field(
        _LIMITS.lock_timeout, ge=0, description="Longest wait for another session's lock; 0: the server's own"
    )
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
            raise ValueError('a query needs key = ["…"], the columns that identify its rows')
        if self.query and (self.tables or self.exclude or self.keys or self.cursors or self.tombstones):
            raise ValueError("give either a query or tables, exclude, keys, cursors and tombstones")
        if self.key and not self.query:
            raise ValueError('key belongs to a query; for tables write keys = { table = ["column"] }')
        return self


class RuleSettings(Section):
    path: str = Field(min_length=1, description="Glob, relative to the configuration")
    tenant: str | None = Field(None, min_length=1)
    acl: Acl | None = None
    tags: tuple[str, ...] = ()


class FilesSettings(_Schedule):
    kind: Literal["files"]
    paths: tuple[str, ...] = Field(min_length=1, description="Files, folders or globs, relative to the configuration")
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = Field(
        (),
        description="Files to read although left out by default: secrets, build output, what ignore files name",
    )
    hidden: bool = Field(False, description="Read hidden sheets, rows, columns and slides")
    watch: bool = Field(False, description="Read the source as soon as a file of it changes")
    parse_timeout: Duration = Field(PARSE_TIMEOUT, gt=0, description="Longest time to parse one PDF or office file")
    parse_memory_mb: int = Field(PARSE_MEMORY_MB, ge=128, description="Maximum memory to parse one PDF or office file")
    tenant: str = Field("default", min_length=1, description="Tenant of its files")
    acl: Acl = Field((), description='Groups that may see its files; ["*"], and when left out: all of the tenant')
    tags: tuple[str, ...] = Field((), description="Tags to filter by")
    rules: tuple[RuleSettings, ...] = Field((), description="Settings for some of the files: path, tenant, acl, tags")

    @property
    def tenants(self) -> tuple[str, ...]:
        """Tenants that may have documents here."""
        return (self.tenant, *(rule.tenant for rule in self.rules if rule.tenant is not None))


SourceSettings = Annotated[SqlSettings | FilesSettings, Field(discriminator="kind")]

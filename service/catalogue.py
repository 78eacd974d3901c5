"""The configured sources: their connectors, and who may search them, see them and read them in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from connectors.files.source import FilesSource
from connectors.files.visibility import FileVisibility, PathRule
from connectors.sql.changes.patience import Patience
from connectors.sql.connection import rooted, with_password
from connectors.sql.limits import Limits
from connectors.sql.source import SqlSource
from connectors.sql.visibility import RowVisibility
from rag.errors import ConfigError
from rag.filters import All, parse_filter
from rag.lazy import Lazy
from rag.ports import Identity, Scope
from service.settings.sections import Settings
from service.settings.sources import FilesSettings, SourceSettings, SqlSettings
from service.store.keys import Rights

NO_SOURCES = "No source is configured. Add one with `citewell add URL_OR_PATH`."


class Catalogue:
    """The sources of one configuration. indexed: gives the names of the sources that the index has documents of."""

    def __init__(self, settings: Settings, *, indexed: Callable[[], Iterable[str]]) -> None:
        self.sources: Mapping[str, SourceSettings] = settings.sources
        self._settings = settings
        self._has_stale = Lazy(lambda: not set(indexed()) <= set(self.sources))  # to filter costs as much as to search

    def names(self, chosen: Sequence[str] = ()) -> list[str]:
        """The chosen sources, all when none is. Raises ConfigError for one that is not configured, or if none is."""
        for name in chosen:
            self.settings(name)
        if not self.sources:
            raise ConfigError(NO_SOURCES)
        return list(chosen or self.sources)

    def settings(self, name: str) -> SourceSettings:
        """Raises ConfigError listing the sources there are."""
        if name not in self.sources:
            raise ConfigError(no_source(name, self.sources or ["none; add one with `citewell add URL_OR_PATH`"]))
        return self.sources[name]

    def connector(self, name: str) -> SqlSource | FilesSource:
        """The connector of a source. Raises ConfigError listing the sources there are."""
        return connector_of(name, self.settings(name), self._settings.root, self._settings.own_files)

    def scope(
        self,
        sources: Sequence[str] = (),
        *,
        where: Mapping[str, Any] | None = None,
        identity: Identity | None = None,
    ) -> Scope:
        """Where a search looks: in configured sources only, so that one taken out stops answering at once.

        where: a filter as in rag/filters.py, joined to the configured one; identity: the caller's tenant and groups,
        the configured ones when left out. Raises ConfigError for a source that is not configured, FilterError for a
        filter that cannot be read.
        """
        for name in sources:
            self.settings(name)
        if not sources and self._has_stale():
            sources = tuple(self.sources) or ("",)
        filters = [parsed for form in (self._settings.retrieval.filter, where) if (parsed := parse_filter(form))]
        configured = self._settings.identity
        return Scope(
            identity=identity or Identity(tenant=configured.tenant, groups=configured.groups),
            sources=tuple(sources),
            where=All(parts=tuple(filters)) if len(filters) > 1 else next(iter(filters), None),
        )

    def visible(self, rights: Rights) -> list[str]:
        """Sources that a caller may know of: theirs by key, and with documents for their tenant."""
        return [
            name
            for name, source in self.sources.items()
            if (not rights.sources or name in rights.sources)
            and (not source.tenants or rights.tenant in source.tenants)
        ]

    def operated(self, rights: Rights) -> list[str]:
        """Sources that a caller may read in, and see the state of.

        With the scope admin all, unless the key names some. Else those of the caller's tenant alone; one that several
        tenants share only where the key names it.
        """
        return [
            name
            for name, source in self.sources.items()
            if (not rights.sources or name in rights.sources)
            and (rights.may("admin") or _is_theirs(name, source, rights))
        ]


def no_source(name: str, known: Iterable[str]) -> str:
    """What is said of a source that there is not, or not for who asks."""
    return f"There is no source {name!r}. Configured sources: {', '.join(known) or 'none'}."


def _is_theirs(name: str, source: SourceSettings, rights: Rights) -> bool:
    tenants = set(source.tenants)  # none where each row names its own
    return tenants == {rights.tenant} or (name in rights.sources and (not tenants or rights.tenant in tenants))


def connector_of(
    name: str, settings: SourceSettings, root: Path, own: tuple[Path, ...] = ()
) -> SqlSource | FilesSource:
    """The connector of a source; paths are relative to root, the configuration's folder. own: never to be read."""
    return _sql(name, settings, root) if isinstance(settings, SqlSettings) else _files(name, settings, root, own)


def _sql(name: str, settings: SqlSettings, root: Path) -> SqlSource:
    return SqlSource(
        name=name,
        url=with_password(rooted(settings.url.get_secret_value(), root), settings.password.get_secret_value()),
        schema=settings.db_schema,
        tables=settings.tables,
        exclude=settings.exclude,
        keys=settings.keys,
        cursors=settings.cursors,
        tombstones=settings.tombstones,
        patience=Patience(overlap=settings.overlap, reconcile_every=settings.reconcile_every),
        limits=Limits(statement_timeout=settings.statement_timeout, lock_timeout=settings.lock_timeout),
        query=settings.query,
        key=settings.key,
        labels=RowVisibility(
            tenant=settings.tenant,
            acl=settings.acl,
            tags=settings.tags,
            tenant_column=settings.tenant_column,
            acl_column=settings.acl_column,
            metadata=settings.metadata,
        ),
    )


def _files(name: str, settings: FilesSettings, root: Path, own: tuple[Path, ...]) -> FilesSource:
    return FilesSource(
        name=name,
        paths=settings.paths,
        root=root,
        exclude=settings.exclude,
        include=settings.include,
        own=own,
        hidden=settings.hidden,
        labels=FileVisibility(
            tenant=settings.tenant,
            acl=settings.acl,
            tags=settings.tags,
            rules=tuple(PathRule(**rule.model_dump()) for rule in settings.rules),
        ),
        parse_timeout=settings.parse_timeout,
        parse_memory_mb=settings.parse_memory_mb,
    )

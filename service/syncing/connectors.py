"""Connectors from their settings."""

import os
from pathlib import Path

import sqlalchemy as sa

from connectors.files.source import FilesSource
from connectors.sql.changes.patience import Patience
from connectors.sql.limits import Limits
from connectors.sql.source import SqlSource
from connectors.visibility import FileVisibility, PathRule, RowVisibility
from service.settings.sources import FilesSettings, SqlSettings


def make_source(
    name: str, settings: SqlSettings | FilesSettings, root: Path, own: tuple[Path, ...] = ()
) -> SqlSource | FilesSource:
    """The connector of a source; paths are relative to root, the configuration's folder. own: never to be read."""
    return _sql(name, settings, root) if isinstance(settings, SqlSettings) else _files(name, settings, root, own)


def _sql(name: str, settings: SqlSettings, root: Path) -> SqlSource:
    return SqlSource(
        name=name,
        url=_with_password(_rooted(settings.url.get_secret_value(), root), settings.password.get_secret_value()),
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


def _with_password(url: str, password: str) -> str:
    try:
        return sa.make_url(url).set(password=password).render_as_string(hide_password=False) if password else url
    except sa.exc.ArgumentError:
        return url  # which is told when it is used


def _rooted(url: str, root: Path) -> str:
    """A SQLite URL with its path made absolute, from the configuration's folder."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        return url
    database = parsed.database or ""
    if parsed.get_backend_name() != "sqlite" or database in ("", ":memory:") or database.startswith("file:"):
        return url
    return parsed.set(database=os.path.normpath(root / Path(database).expanduser())).render_as_string(
        hide_password=False
    )

"""Who may see a source's documents, and what they are filtered by: fixed, by a row's columns, or by a file's path."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import sqlalchemy as sa

from connectors.rows import is_text, metadata_value
from rag.errors import SourceError


class Labels(TypedDict):
    """Fields of a Document."""

    tenant: str
    acl: tuple[str, ...]
    tags: tuple[str, ...]
    metadata: dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLabels:
    """Labels of rows. tenant_column and acl_column: columns that hold them for a row; metadata: columns to filter by.

    An acl column holds one group, several with commas between, a JSON list or an array; where it is empty, `acl` holds.
    """

    tenant: str = "default"
    acl: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tenant_column: str = ""
    acl_column: str = ""
    metadata: tuple[str, ...] = ()

    def check(self, table: str, columns: Sequence[str]) -> None:
        """Raises SourceError where a table lacks a column that says who may see its rows."""
        for setting, column in (("tenant_column", self.tenant_column), ("acl_column", self.acl_column)):
            if column and column not in columns:
                raise SourceError(
                    f"Table {table!r} has no column {column!r}, which {setting} names, so nobody can say who may see "
                    "its rows. Leave it out with exclude, or read it as a source of its own."
                )

    @property
    def columns(self) -> frozenset[str]:
        """The columns that are read for labels."""
        return frozenset(filter(None, (self.tenant_column, self.acl_column, *self.metadata)))

    def of(self, values: Mapping[str, Any], types: Mapping[str, sa.types.TypeEngine[Any]]) -> Labels:
        """The labels of a row. Raises ValueError when it has no tenant and should."""
        tenant = values[self.tenant_column] if self.tenant_column else self.tenant
        if tenant is None or not str(tenant).strip():
            raise ValueError(f"its {self.tenant_column} is empty, so it belongs to no tenant")
        for column in filter(None, (self.tenant_column, self.acl_column)):
            if not is_text(str(values[column])):
                raise ValueError(f"its {column} is not UTF-8, so nobody can say who may see it")
        return Labels(
            tenant=str(tenant).strip(),
            acl=(_groups(values[self.acl_column]) if self.acl_column else ()) or self.acl,
            tags=self.tags,
            metadata={
                name: held
                for name in self.metadata
                if name in values and (held := metadata_value(values[name], types[name])) is not None
            },
        )


def _groups(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = json.loads(value)
    parts = value if isinstance(value, list | tuple | set) else [] if value is None else str(value).split(",")
    return tuple(sorted({text for part in parts if (text := str(part).strip())}))


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRule:
    """What holds for files that a glob names, over what the source says; None leaves that as it is."""

    path: str
    tenant: str | None = None
    acl: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLabels:
    """Labels of files. Of the rules that name a file, the last one's tenant and acl hold; their tags add up."""

    tenant: str = "default"
    acl: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    rules: tuple[PathRule, ...] = field(default=())

    def of(self, file: str, matched: Sequence[frozenset[str] | set[str]]) -> Labels:
        """The labels of a file; matched: the files that each rule names, in the rules' order."""
        tenant, acl, tags = self.tenant, self.acl, list(self.tags)
        for rule, files in zip(self.rules, matched, strict=True):
            if file in files:
                tenant = tenant if rule.tenant is None else rule.tenant
                acl = acl if rule.acl is None else rule.acl
                tags += rule.tags
        return Labels(tenant=tenant, acl=acl, tags=tuple(dict.fromkeys(tags)), metadata={})

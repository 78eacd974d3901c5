"""Who may see rows, and what they are filtered by: fixed, or by columns of theirs."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from connectors.sql.rows import Unread, is_text, metadata_value
from connectors.visibility import Visibility, as_stored
from rag.errors import SourceError
from rag.ports import PUBLIC

# What a list of groups has in other forms than those that are read: an array's or object's text, other separators.
_NO_GROUP = re.compile(r"""^[{("']|[]};|，、；\n\r\0]""")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowVisibility:
    """Labels of rows. tenant_column and acl_column: columns that hold them for a row; metadata: columns to filter by.

    An acl column holds one group, several with commas between, a JSON list or an array; an empty list lets nobody in,
    and `*` all of the tenant. Where it is NULL or blank, `acl` holds; nobody sees the row where that is empty, too.
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
                    f"Table {table!r} has no column {column!r}, named in {setting}, so nobody can say who may see "
                    "its rows. Leave it out with exclude, or read it as a source of its own."
                )

    @property
    def are_of_rows(self) -> bool:
        """Whether each row says itself who may see it."""
        return bool(self.tenant_column or self.acl_column)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that are read for labels."""
        return frozenset(filter(None, (self.tenant_column, self.acl_column, *self.metadata)))

    def of(self, values: Mapping[str, Any], types: Mapping[str, sa.types.TypeEngine[Any]]) -> Visibility:
        """The labels of a row. Raises RightsUnknown when they do not say who may see it."""
        tenant = values[self.tenant_column] if self.tenant_column else self.tenant
        if tenant is None or not str(tenant).strip():
            raise RightsUnknown(f"its {self.tenant_column} is empty, so it belongs to no tenant")
        for column in filter(None, (self.tenant_column, self.acl_column)):
            if isinstance(values[column], Unread) or not is_text(str(values[column])):
                raise RightsUnknown(f"its {column} cannot be read, so nobody can say who may see it")
        return Visibility(
            tenant=str(tenant).strip(),
            acl=self._acl(values[self.acl_column]) if self.acl_column else as_stored(self.acl or (PUBLIC,)),
            tags=self.tags,
            metadata={
                name: held
                for name in self.metadata
                if name in values and (held := metadata_value(values[name], types[name])) is not None
            },
        )

    def _acl(self, value: Any) -> tuple[str, ...]:
        groups = _groups(value)
        if isinstance(groups, str):
            raise RightsUnknown(
                f"its {self.acl_column} is {groups}. Give one group, several with commas between, or a JSON list; "
                "`*` for all of the tenant"
            )
        return as_stored(self.acl if groups is None else groups)


class RightsUnknown(ValueError):
    """Nobody can say who may see a row."""


def _groups(value: Any) -> frozenset[str] | str | None:
    """The groups that a value of an acl column names; None where it says nothing. What is wrong with it, as text."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        if text.startswith("["):
            try:
                value = json.loads(text)
            except ValueError as err:
                return f"not a JSON list ({err}): {text[:80]!r}"
        elif found := _NO_GROUP.search(text):
            return f"neither a group nor a list of groups, because of {found[0]!r} in it: {text[:80]!r}"
        else:
            value = text.split(",")
    if not isinstance(value, list | tuple | set | frozenset):
        value = [value]
    if odd := [part for part in value if not isinstance(part, str | int | UUID) or isinstance(part, bool)]:
        return f"a list with {odd[0]!r} in it, which is not a group"
    return frozenset(group for part in value if (group := str(part).strip()))

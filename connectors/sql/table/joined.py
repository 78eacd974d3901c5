"""A table with the rows that it refers to, as the FROM of the statements that read it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from connectors.sql.rows import LABEL_CHARS
from connectors.sql.schema import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A table with the rows that it refers to. labels: the columns that name those rows.

    only: tables that are read without those that inherit from them, whose keys are not theirs.
    """

    base: sa.TableClause
    joined: sa.FromClause
    labels: tuple[sa.ColumnElement[Any], ...]
    only: tuple[sa.FromClause, ...]

    @classmethod
    def of(cls, table: Table) -> "Joined":
        base = sa.table(table.name, *(sa.column(c, t) for c, t in table.columns.items()), schema=table.schema)
        joined: sa.FromClause = base
        labels: list[sa.ColumnElement[Any]] = []
        only: list[sa.FromClause] = [base] if table.only else []
        for number, reference in enumerate(table.references):
            other = sa.table(
                reference.table,
                *(sa.column(c) for c in {*reference.referenced, *reference.labels}),
                schema=reference.schema,
            ).alias(f"r{number}")
            pairs = zip(reference.columns, reference.referenced, strict=True)
            joined = joined.outerjoin(other, sa.and_(*(base.c[mine] == other.c[theirs] for mine, theirs in pairs)))
            labels += [_beginning(other.c[label], reference.long) for label in reference.labels]
            only += [other] if reference.only else []
        return cls(base=base, joined=joined, labels=tuple(labels), only=tuple(only))

    def select(self, *columns: Any) -> sa.Select[Any]:
        """The rows with what they refer to."""
        return self._only(sa.select(*columns).select_from(self.joined))

    def alone(self, *columns: Any) -> sa.Select[Any]:
        """The rows without it."""
        return self._only(sa.select(*columns).select_from(self.base))

    def _only(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        for table in self.only:
            statement = statement.with_hint(table, "ONLY", "postgresql")
        return statement


def _beginning(column: sa.ColumnClause[Any], long: Collection[str]) -> sa.ColumnElement[Any]:
    """A label, as far as it may be shown, and one character more that shows whether it goes on."""
    raw = raw_column(column)
    return sa.func.substr(raw, 1, LABEL_CHARS + 1) if column.name in long else raw


def raw_column(column: Any) -> sa.ColumnElement[Any]:
    """A column as the driver gives it."""
    return sa.type_coerce(column, sa.types.NullType())


def numbered(columns: Sequence[sa.ColumnElement[Any]]) -> list[sa.ColumnElement[Any]]:
    """Columns under names of their own, for tables whose columns are named alike."""
    return [column.label(f"c{number}") for number, column in enumerate(columns)]

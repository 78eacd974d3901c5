"""What a statement's rows are: their key, their id in the table, their values and their digest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from connectors.sql.ids import KeyValue, key_values, row_id
from connectors.sql.keys import Key
from connectors.sql.rows import Blob
from connectors.sql.table.digests import UNKNOWN, python_digest
from connectors.sql.table.statements import Statements


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row as the driver gave it. key: as it is compared; name: its id in the table; error: why it is no document."""

    key: Key
    name: str
    values: tuple[Any, ...] = ()
    digest: int = UNKNOWN
    error: str = ""


class Decoder:
    """Rows from what the statements of a table give."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._types = [column.type for column in statements.key]
        names = list(statements.table.columns)
        self._key_at = [names.index(column) for column in statements.table.key]
        self._cursor_at = [names.index(column) for column in statements.cursor_columns]

    def row(self, found: Sequence[Any]) -> Row:
        """A row from its `Statements.row_columns`."""
        width = len(self._statements.keys.extras)
        extras, values = tuple(found[:width]), tuple(found[width:])
        key = (*(values[place] for place in self._key_at), *extras)
        measured = self._statements.measured
        values = tuple(
            Blob(value) if place in measured and isinstance(value, int) else value for place, value in enumerate(values)
        )
        if self._statements.digest is not None:
            return self._row(key, values[:-1], int(values[-1]))
        if not self._cursor_at:
            return self._row(key, values, python_digest(values))
        labels = values[len(self._statements.table.columns) :]
        return self._row(key, values, python_digest([*(values[place] for place in self._cursor_at), *labels]))

    def key_and_digest(self, found: Sequence[Any]) -> Row:
        """A row without its values, from what `Statements.digests` gives of it."""
        width = len(self._types) + len(self._statements.keys.extras)
        key, last = tuple(found[:width]), tuple(found[width:])
        return self._row(key, (), int(last[0]) if self._statements.digest is not None else python_digest(last))

    def key(self, found: Sequence[Any]) -> Key:
        """A key as it is compared, from its `Statements.key_columns`."""
        width = len(self._types)
        return self._statements.keys.key(found[:width], found[width:])

    def raw_key(self, row: Row) -> list[Any]:
        """The values of a row's key columns, as the driver gave them."""
        return [row.values[place] for place in self._key_at]

    def typed_key(self, raw: Sequence[Any], compared: Key) -> list[KeyValue]:
        """A key as it is cited and as ids are made of it."""
        return key_values(raw, compared, self._types, self._statements.dialect)

    def _row(self, key: tuple[Any, ...], values: tuple[Any, ...], digest: int) -> Row:
        """key: the values of the key columns, and the extras."""
        compared = self.key(key)
        name = row_id(self.typed_key(key[: len(self._types)], compared))
        return Row(key=compared, name=name, values=values, digest=digest)


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """Rows with names that differ: of two with one name, the first keeps it and the second cannot be a document."""
    first: dict[str, Row] = {}
    apart: list[Row] = []
    for row in rows:
        owner = first.setdefault(row.name, row)
        if owner is not row:
            reason = f"it has the same id as another row; their keys are {_shown(owner.key)} and {_shown(row.key)}"
            row = replace(row, name=f"{row.name}~{len(apart)}", error=reason)
        apart.append(row)
    return apart


def _shown(key: Key) -> str:
    return ", ".join(map(repr, key))

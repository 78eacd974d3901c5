"""What a row becomes: a document with a readable text, a title, a key to be cited by, and its labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from connectors.sql.ids import KeyValue, legacy_row_id
from connectors.sql.rows import Field, as_label, format_value, json_value, render
from connectors.sql.schema import Reference, Table
from connectors.sql.visibility import RightsUnknown, RowVisibility
from rag.documents import Document, Key
from rag.events import Unreadable, Upsert
from rag.language.text import humanize


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the documents of a source belong."""

    source: str
    url: str
    labels: RowVisibility = RowVisibility()

    @property
    def address(self) -> str:
        """The database, without user and password."""
        return _address(self.url)


@lru_cache(maxsize=256)
def _address(url: str) -> str:
    parsed = sa.make_url(url)
    place = sa.URL.create(parsed.get_backend_name(), host=parsed.host, port=parsed.port, database=parsed.database)
    return place.render_as_string()


def document_of(table: Table, place: Place, row: Sequence[Any], *, name: str, key: Key | None) -> Document:
    """A row, with the labels of its references after its own values, as a document.

    name: what tells the row apart in its table; key: its key as it is cited, None in a table that has none.
    """
    values = dict(zip(table.columns, row, strict=False))
    fields = _fields(table, values, list(row[len(table.columns) :]))
    label = " ".join(t for c in table.labels if (t := as_label(format_value(values[c], table.columns[c]))))
    shown = ", ".join(str(json_value(values[column])) for column in table.key)
    key_fields = [_short(f) if f.name in table.labels else f for f in fields if f.name in {*table.key, *table.labels}]
    return Document(
        id=f"{table.name}/{name}",
        source=place.source,
        title=f"{humanize(table.name)} {shown}".strip() + (f": {label}" if label else ""),
        text=render(table.name, fields, table_comment=table.comment),
        uri=f"{place.address}#{table.name}?"
        + ("&".join(f"{column}={value}" for column, value in key.items()) if key else f"row={name}"),
        scope=table.name,
        kind="row",
        primary_key=key,
        key_text="; ".join(render(table.name, key_fields).splitlines()),
        **place.labels.of(values, table.columns),
    )


def row_event(
    table: Table, place: Place, row: Sequence[Any], *, name: str, key: Sequence[KeyValue], raw: Sequence[Any]
) -> Upsert | Unreadable:
    """A row with a key as the event that its source yields. raw: the key's values, as the driver gave them."""
    try:
        cited = {column: value.held for column, value in zip(table.key, key, strict=True)}
        document = document_of(table, place, row, name=name, key=cited)
        legacy = f"{table.name}/{legacy_row_id(raw)}"
        return Upsert(document=document, moved_from=legacy if legacy != document.id else "")
    except Exception as err:  # noqa: BLE001 any value that a driver may give; the other rows go on
        return unreadable(table, place, name, err)


def unreadable(table: Table, place: Place, name: str, err: Exception) -> Unreadable:
    """A row of which no document could be made. One that says itself who may see it keeps nothing in the index."""
    what = "" if isinstance(err, ValueError) else f"{type(err).__name__}: "
    reason = f"the row cannot be rendered: {what}{err}" if not isinstance(err, RightsUnknown) else str(err)
    return Unreadable(
        document_id=f"{table.name}/{name}",
        scope=table.name,
        reason=" ".join(reason.split())[:500],
        withdrawn=place.labels.are_of_rows,
    )


def _short(field: Field) -> Field:
    """A field with its value as it names a row."""
    return replace(field, value=as_label(format_value(field.value, field.type)), type=sa.types.NullType())


def _fields(table: Table, values: Mapping[str, Any], labels: list[Any]) -> list[Field]:
    """The row's fields; those of a reference carry its label at the first of its columns."""
    named: dict[str, tuple[str, str]] = {}
    for reference in table.references:
        found, labels = labels[: len(reference.labels)], labels[len(reference.labels) :]
        text = " ".join(as_label(format_value(part, sa.types.NullType())) for part in found if part is not None)
        if text:
            named[reference.columns[0]] = (text, _reference_key(reference))
    return [
        Field(
            name=column,
            value=values[column],
            type=column_type,
            comment=table.column_comments.get(column, ""),
            reference=named.get(column, ("", ""))[0],
            reference_key=named.get(column, ("", ""))[1],
        )
        for column, column_type in table.columns.items()
    ]


def _reference_key(reference: Reference) -> str:
    name = humanize(reference.referenced[0])
    return name if name.lower() != "id" else f"{humanize(reference.table)} id"

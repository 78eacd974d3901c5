"""What a database's schema says: tables, keys, references and comments, by reflection."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGInspector
from sqlalchemy.engine.interfaces import ReflectedForeignKeyConstraint, ReflectedIndex

from connectors.sql.rows import LABEL_CHARS, label_columns
from rag.errors import SourceError

_TEXT = (sa.String, sa.Enum)
_SHORT = 255  # characters that a column may hold whose texts name rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A foreign key, with the columns of the referenced table that name its rows.

    only: the referenced table is read without those that inherit from it, as the constraint means it. long: those of
    the labels that may hold a long text, of which only the beginning is read.
    """

    columns: tuple[str, ...]
    schema: str | None
    table: str
    referenced: tuple[str, ...]
    labels: tuple[str, ...]
    only: bool = False
    long: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table or view. key: the columns that tell its rows apart; only: read it without those that inherit from it."""

    name: str
    schema: str | None
    columns: Mapping[str, sa.types.TypeEngine[Any]]
    key: tuple[str, ...]
    comment: str = ""
    column_comments: Mapping[str, str] = field(default_factory=dict)
    references: tuple[Reference, ...] = ()
    labels: tuple[str, ...] = ()
    nullable_key: bool = False
    only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Relations:
    """How PostgreSQL's tables hang together; empty elsewhere.

    partitions: each with the table that it is in the end a part of; inherited: tables that others inherit from.
    """

    partitions: Mapping[str, str] = field(default_factory=dict)
    inherited: frozenset[str] = frozenset()


def read_relations(connection: sa.Connection, schema: str | None) -> Relations:
    if connection.dialect.name != "postgresql":
        return Relations()
    statement = sa.text(
        "SELECT c.relname, c.relkind, c.relispartition, c.relhassubclass, p.relname FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_inherits i ON i.inhrelid = c.oid "
        "LEFT JOIN pg_class p ON p.oid = i.inhparent AND p.relnamespace = c.relnamespace "
        "WHERE n.nspname = coalesce(:schema, current_schema()) AND c.relkind IN ('r', 'p')"
    )
    rows = connection.execute(statement, {"schema": schema}).all()
    connection.commit()
    parents = {name: parent for name, _, is_partition, _, parent in rows if is_partition and parent is not None}
    return Relations(
        partitions={name: _root(name, parents) for name in parents},
        inherited=frozenset(name for name, kind, _, has_children, _ in rows if kind == "r" and has_children),
    )


def _root(name: str, parents: Mapping[str, str]) -> str:
    while name in parents:
        name = parents[name]
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The tables to read. missing: those that the configuration names and that are not there; known: all there are."""

    names: tuple[str, ...]
    missing: tuple[str, ...]
    known: tuple[str, ...]

    def no_table(self, name: str, schema: str | None) -> str:
        shown = ", ".join(sorted(self.known)[:40]) or "none"
        return f"There is no table {name!r}{_in(schema)}. Tables there: {shown}."


def choose_tables(
    inspector: sa.Inspector, schema: str | None, wanted: Sequence[str], exclude: Sequence[str], relations: Relations
) -> Chosen:
    """All tables, or those wanted, which may be views and foreign tables. Partitions are read through their table."""
    tables = inspector.get_table_names(schema=schema)
    known = [*tables, *inspector.get_view_names(schema=schema), *_other_relations(inspector, schema)]
    left = [name for name in (wanted or sorted(tables)) if name not in exclude]
    partitions = {n for n, root in relations.partitions.items() if not wanted or root in left}
    return Chosen(
        names=tuple(name for name in left if name in known and name not in partitions),
        missing=tuple(name for name in [*wanted, *exclude] if name not in known),
        known=tuple(known),
    )


def _other_relations(inspector: sa.Inspector, schema: str | None) -> list[str]:
    """Materialized views, and PostgreSQL's foreign tables."""
    found: list[str] = []
    with suppress(NotImplementedError):
        found += inspector.get_materialized_view_names(schema=schema)
    if isinstance(inspector, PGInspector):
        found += inspector.get_foreign_table_names(schema=schema)
    return found


def read_table(
    inspector: sa.Inspector, name: str, schema: str | None, key: Sequence[str], relations: Relations = Relations()
) -> Table:
    """A table's columns, key, references and labels.

    key: the key that the configuration gives; the primary key, or else a unique constraint or index over columns that
    are never NULL, when it is empty; none when there is none either (connectors/sql/changes/unkeyed.py).
    """
    columns = inspector.get_columns(name, schema=schema)
    types: dict[str, sa.types.TypeEngine[Any]] = {c["name"]: c["type"] for c in columns}
    for column in key:
        if column not in types:
            raise SourceError(
                f"Table {name!r} has no column {column!r}, named in keys. Its columns: {', '.join(types)}."
            )
    found = tuple(key) or _primary_key(inspector, name, schema)
    nullable = {c["name"] for c in columns if c["nullable"]}
    if not found:
        found = _unique_key(inspector, name, schema, nullable)
    return Table(
        name=name,
        schema=schema,
        columns=types,
        key=found,
        comment=_table_comment(inspector, name, schema),
        column_comments={c["name"]: str(c.get("comment") or "") for c in columns},
        references=tuple(
            _reference(inspector, fk, schema, relations) for fk in inspector.get_foreign_keys(name, schema=schema)
        ),
        labels=label_columns(list(types), [c for c, t in types.items() if _may_name(t)], found),
        nullable_key=bool(nullable & set(found)),
        only=name in relations.inherited,
    )


def _may_name(column_type: sa.types.TypeEngine[Any]) -> bool:
    """Whether a column holds texts that are short enough to name a row, by its type."""
    if isinstance(column_type, sa.Text) and column_type.__class__.__module__.startswith("sqlalchemy.dialects.mysql"):
        return False  # where people write VARCHAR for what is short
    return isinstance(column_type, _TEXT) and (getattr(column_type, "length", None) or 0) <= _SHORT


def _may_be_long(column_type: sa.types.TypeEngine[Any]) -> bool:
    if isinstance(column_type, sa.Enum) or not isinstance(column_type, sa.String):
        return False
    return column_type.length is None or column_type.length > LABEL_CHARS


def _in(schema: str | None) -> str:
    return f" in schema {schema!r}" if schema else ""


def _primary_key(inspector: sa.Inspector, name: str, schema: str | None) -> tuple[str, ...]:
    try:
        return tuple(inspector.get_pk_constraint(name, schema=schema)["constrained_columns"])
    except sa.exc.NoSuchTableError:  # a view
        return ()


def _unique_key(inspector: sa.Inspector, name: str, schema: str | None, nullable: set[str]) -> tuple[str, ...]:
    found: list[Sequence[str | None]] = []
    try:
        found += [constraint["column_names"] for constraint in inspector.get_unique_constraints(name, schema=schema)]
        indexes = inspector.get_indexes(name, schema=schema)
        found += [index["column_names"] for index in indexes if index["unique"] and not _is_partial(index)]
    except (NotImplementedError, sa.exc.NoSuchTableError):
        pass
    keys = [tuple(c for c in columns if c is not None) for columns in found if None not in columns]
    return min((key for key in keys if key and not nullable & set(key)), key=lambda key: (len(key), key), default=())


def _is_partial(index: ReflectedIndex) -> bool:
    """Whether an index leaves rows out."""
    return any(option.endswith("_where") for option in index.get("dialect_options", {}))


def _table_comment(inspector: sa.Inspector, name: str, schema: str | None) -> str:
    try:
        return str(inspector.get_table_comment(name, schema=schema)["text"] or "")
    except (NotImplementedError, sa.exc.NoSuchTableError):
        return ""


def _reference(
    inspector: sa.Inspector, fk: ReflectedForeignKeyConstraint, schema: str | None, relations: Relations
) -> Reference:
    target_schema = fk["referred_schema"] or schema
    columns = inspector.get_columns(fk["referred_table"], schema=target_schema)
    names = [c["name"] for c in columns]
    texts = [c["name"] for c in columns if _may_name(c["type"])]
    referenced = tuple(fk["referred_columns"]) or _primary_key(inspector, fk["referred_table"], target_schema)
    return Reference(
        columns=tuple(fk["constrained_columns"]),
        schema=target_schema,
        table=fk["referred_table"],
        referenced=referenced,
        labels=label_columns(names, texts, referenced),
        long=frozenset(c["name"] for c in columns if _may_be_long(c["type"])),
        only=target_schema == schema and fk["referred_table"] in relations.inherited,
    )

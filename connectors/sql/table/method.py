"""How a table's changes are found: the method that fits it."""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from connectors.sql.schema import Table

_HASHING = ("postgresql", "mysql", "mariadb")
_CURSOR_NAMES = (
    "updated_at", "modified_at", "last_modified", "last_updated", "last_update", "updated_on", "modified_on", "updated",
    "modified", "update_time", "modify_time", "mtime", "gmt_modified", "更新时间", "修改时间",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """name: "cursor" (a column that moves with every change), "ranges" (hashes of key ranges made by the database), or
    "scan" (every row is read and hashed here). why: the reason, for people."""

    name: Literal["cursor", "ranges", "scan"]
    column: str = ""
    why: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"method": self.name, "column": self.column, "why": self.why}


def choose_method(connection: sa.Connection, table: Table, configured: str) -> Method:
    """The method for a table. configured: the cursor column that the configuration names, or nothing.

    A column that is called like a time of change is trusted only where the database itself keeps it.
    """
    if configured:
        return Method(name="cursor", column=configured, why="set in the configuration")
    hashing = connection.dialect.name in _HASHING
    named = next((c for c in table.columns if c.lower() in _CURSOR_NAMES), "")
    if (
        named
        and hashing
        and isinstance(table.columns[named], sa.DateTime)
        and _kept_by_database(connection, table, named)
    ):
        return Method(name="cursor", column=named, why="the database updates it with every change")
    setting = f'cursors = {{ {table.name} = "{named}" }}'
    doubt = f"; nothing shows that {named} is updated with every change (if it is, set {setting})"
    if hashing:
        return Method(name="ranges", why="the database can hash its rows" + (doubt if named else ""))
    return Method(name="scan", why=f"{connection.dialect.name} has no hash function" + (doubt if named else ""))


def _kept_by_database(connection: sa.Connection, table: Table, column: str) -> bool:
    """Whether a trigger or the column's own definition sets the column on every update."""
    if connection.dialect.name == "postgresql":
        statement = (
            "SELECT count(*) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = :name AND NOT t.tgisinternal "
            "AND t.tgenabled = 'O' AND (t.tgtype & 19) = 19 AND t.tgattr = '' AND t.tgqual IS NULL "
            "AND n.nspname = coalesce(:schema, current_schema()) AND p.prosrc ~* ('new\\.\"?' || :column)"
        )
    else:
        statement = (
            "SELECT count(*) FROM information_schema.columns WHERE table_name = :name AND column_name = :column "
            "AND table_schema = coalesce(:schema, database()) AND extra LIKE '%on update%'"
        )
    values = {"name": table.name, "schema": table.schema, "column": column}
    found = connection.execute(sa.text(statement), values).scalar_one()
    connection.commit()
    return bool(found)

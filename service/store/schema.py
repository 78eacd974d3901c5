"""Tables of the state store, and the steps that bring an older store up to date."""

import json
from collections.abc import Callable

import sqlalchemy as sa

from rag.errors import ConfigError

metadata = sa.MetaData()

meta = sa.Table(
    "citewell_meta", metadata, sa.Column("key", sa.String(64), primary_key=True), sa.Column("value", sa.String(255))
)
sources = sa.Table(
    "citewell_sources",
    metadata,
    sa.Column("source", sa.String(255), primary_key=True),
    sa.Column("format", sa.String(64), nullable=False),  # of what was indexed; another one asks for a full read
    sa.Column("format_since", sa.Integer),  # the run that began to read all anew, until one has
    sa.Column("next_run_at", sa.Float),
    sa.Column("generation", sa.String(32)),  # of the last commit that wrote points: what the index should bear
)
documents = sa.Table(
    "citewell_documents",
    metadata,
    sa.Column("source", sa.String(255), primary_key=True),
    sa.Column("document_id", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("version", sa.String(64), nullable=False),  # hash of the content
    sa.Column("chunk_ids", sa.Text, nullable=False),
    sa.Column("num_chunks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("seen_run", sa.Integer, nullable=False),
    sa.Index("citewell_documents_seen", "source", "seen_run"),
    sa.Index("citewell_documents_scope", "source", "scope"),
)
cursors = sa.Table(
    "citewell_cursors",
    metadata,
    sa.Column("source", sa.String(255), primary_key=True),
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("head", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
runs = sa.Table(
    "citewell_runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("source", sa.String(255), nullable=False, index=True),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("report", sa.Text),
    sqlite_autoincrement=True,  # a run's id is its fencing token: never given twice
)
leases = sa.Table(
    "citewell_leases",
    metadata,
    sa.Column("source", sa.String(255), primary_key=True),
    sa.Column("holder", sa.String(255), nullable=False),
    sa.Column("place", sa.String(255), nullable=False, server_default=""),
    sa.Column("token", sa.String(36), nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
quarantine = sa.Table(
    "citewell_quarantine",
    metadata,
    sa.Column("source", sa.String(255), primary_key=True),
    sa.Column("document_id", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, nullable=False, server_default=""),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("seen_run", sa.Integer, nullable=False),
)
conversations = sa.Table(
    "citewell_conversations",
    metadata,
    sa.Column("conversation", sa.String(64), primary_key=True),  # hash of who asks and of the id that they gave
    sa.Column("turn", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
)
# Chunks whose document got another id: where conversations that stand on them find them now.
moved = sa.Table(
    "citewell_moved",
    metadata,
    sa.Column("old", sa.String(36), primary_key=True),
    sa.Column("new", sa.String(36), nullable=False, index=True),
    sa.Column("document_id", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False, index=True),
)
keys = sa.Table(
    "citewell_keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),  # SHA-256 of the secret, which is 256 random bits
    sa.Column("old_hash", sa.String(64), nullable=False),  # the secret before a rotation, while it still counts
    sa.Column("old_until", sa.Float, nullable=False),
    sa.Column("rights", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
)
jobs = sa.Table(
    "citewell_jobs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("status", sa.String(16), nullable=False, index=True),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("progress", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("started_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("alive_at", sa.Float, nullable=False),  # renewed by the process that runs it
    sa.Column("cancelled", sa.Boolean, nullable=False),
    sqlite_autoincrement=True,
)


def migrate(connection: sa.Connection) -> None:
    """Create the tables, or bring those of an older Citewell up to date. Raises ConfigError for a newer one's."""
    inspector = sa.inspect(connection)
    new = not inspector.has_table(meta.name)
    metadata.create_all(connection)
    if new:
        connection.execute(sa.insert(meta).values(key="schema", value=str(VERSION)))
        return
    stored = int(connection.scalar(sa.select(meta.c.value).where(meta.c.key == "schema")) or 1)
    if stored > VERSION:
        raise ConfigError(
            f"The state store has schema {stored}, which a newer Citewell wrote; this one supports {VERSION}. "
            "Upgrade Citewell, or restore the backup that was made before it was upgraded."
        )
    for version in range(stored, VERSION):
        _STEPS[version](connection)
    if stored < VERSION:
        connection.execute(sa.update(meta).where(meta.c.key == "schema").values(value=str(VERSION)))


def _from_1(connection: sa.Connection) -> None:
    """Schema 2: notes of sources, the number of a document's chunks, quarantine by scope, the place of a lease."""
    for table, column in (
        ("documents", "num_chunks INTEGER DEFAULT 0 NOT NULL"),
        ("quarantine", "scope TEXT DEFAULT '' NOT NULL"),
        ("leases", "place VARCHAR(255) DEFAULT '' NOT NULL"),
    ):
        connection.execute(sa.text(f"ALTER TABLE citewell_{table} ADD COLUMN {column}"))
    for index in documents.indexes:
        index.create(connection, checkfirst=True)
    rows = connection.execute(sa.select(documents.c.source, documents.c.document_id, documents.c.chunk_ids)).all()
    for row in rows:
        here = sa.and_(documents.c.source == row.source, documents.c.document_id == row.document_id)
        connection.execute(sa.update(documents).where(here).values(num_chunks=len(json.loads(row.chunk_ids))))


def _from_2(connection: sa.Connection) -> None:
    """Schema 3: the generation of the index; chunks that moved (made by create_all)."""
    if "generation" not in {column["name"] for column in sa.inspect(connection).get_columns(sources.name)}:
        connection.execute(sa.text("ALTER TABLE citewell_sources ADD COLUMN generation VARCHAR(32)"))


_STEPS: dict[int, Callable[[sa.Connection], None]] = {1: _from_1, 2: _from_2}
VERSION = 3

"""Opening a state store, bringing an older one up to date, and what is said when it fails."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from rag.errors import ConfigError, StateUnavailable
from service.store.database import Database
from service.store.ledger.stored import StoredLedger
from service.store.overview import Overview
from service.store.schema import VERSION, documents, meta, migrate

SCHEMA_1 = (
    "CREATE TABLE citewell_meta (key VARCHAR(64) PRIMARY KEY, value VARCHAR(255))",
    "INSERT INTO citewell_meta VALUES ('schema', '1')",
    "CREATE TABLE citewell_documents (source VARCHAR(255), document_id TEXT, scope TEXT NOT NULL, version VARCHAR(64) "
    "NOT NULL, chunk_ids TEXT NOT NULL, seen_run INTEGER NOT NULL, PRIMARY KEY (source, document_id))",
    "INSERT INTO citewell_documents VALUES ('shop', 'album/1', 'album', 'v', '[\"a\", \"b\"]', 1)",
    "CREATE TABLE citewell_runs (id INTEGER PRIMARY KEY, source VARCHAR(255) NOT NULL, started_at FLOAT NOT NULL, "
    "ended_at FLOAT, status VARCHAR(16) NOT NULL, report TEXT)",
    "INSERT INTO citewell_runs VALUES (1, 'shop', 0, 1, 'done', NULL)",
    "CREATE TABLE citewell_leases (source VARCHAR(255) PRIMARY KEY, holder VARCHAR(255) NOT NULL, token VARCHAR(36) "
    "NOT NULL, expires_at FLOAT NOT NULL)",
    "CREATE TABLE citewell_quarantine (source VARCHAR(255), document_id TEXT, reason TEXT NOT NULL, since FLOAT NOT NULL, "
    "seen_run INTEGER NOT NULL, PRIMARY KEY (source, document_id))",
    "INSERT INTO citewell_quarantine VALUES ('shop', 'album/9', 'broken', 0, 1)",
)


@pytest.fixture
def old() -> Iterator[Database]:
    """A store of schema 1, brought up to date."""
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        for statement in SCHEMA_1:
            connection.exec_driver_sql(statement)
        migrate(connection)
    yield Database(engine)
    engine.dispose()


def test_an_older_store_keeps_what_it_knew(old: Database) -> None:
    assert StoredLedger(old).counts("shop") == (1, 2)
    assert StoredLedger(old).generation("shop") == ""
    assert Overview(old).summary("shop")["quarantine"][0]["document_id"] == "album/9"


def test_an_older_store_can_be_written_and_its_runs_go_on_counting(old: Database) -> None:
    with StoredLedger(old).lease("shop") as lease:
        assert lease.run == 2
        StoredLedger(old).set_generation(lease, "new")
    assert StoredLedger(old).generation("shop") == "new"


def test_an_older_store_gets_the_indexes_of_a_new_one(old: Database, database: Database) -> None:
    found = [
        {index["name"] for index in sa.inspect(each.engine).get_indexes(documents.name)} for each in (old, database)
    ]
    assert found[0] == found[1] != set()


def test_a_store_that_is_up_to_date_is_left_alone(database: Database) -> None:
    with database.write() as connection:
        migrate(connection)
        assert connection.scalar(sa.select(meta.c.value)) == str(VERSION)


def test_a_newer_store_is_refused_with_the_mend(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.update(meta).values(value=str(VERSION + 1)))
        with pytest.raises(ConfigError, match=rf"schema {VERSION + 1}, which a newer Citewell wrote.*Upgrade Citewell"):
            migrate(connection)


def test_a_failure_is_told_without_what_was_asked_and_with_the_mend(database: Database) -> None:
    failure = pytest.raises(StateUnavailable, match=r"no such table.*free space on its disk")
    with database.read() as connection, failure as caught:
        connection.execute(sa.text("SELECT :secret FROM nowhere"), {"secret": "what people ask"})
    assert "what people ask" not in str(caught.value)


def test_a_row_that_is_there_already_is_told_without_what_it_holds(database: Database) -> None:
    row = sa.insert(meta).values(key="schema", value="what people ask")
    with database.write() as connection, pytest.raises(sa.exc.IntegrityError) as caught:
        connection.execute(row)
    assert "what people ask" not in str(caught.value)


def test_a_transaction_that_fails_records_nothing(database: Database) -> None:
    def write() -> None:
        with database.write() as connection:
            connection.execute(sa.insert(meta).values(key="x", value="y"))
            connection.execute(sa.text("SELECT * FROM nowhere"))

    with pytest.raises(StateUnavailable):
        write()
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(meta)) == 1

"""The SQL connector on real servers."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.sql.connection import shown
from connectors.sql.source import SqlSource
from rag.documents import Document
from rag.errors import SourceError
from rag.events import ScopeFailed, SnapshotComplete, Unreadable, Upsert
from tests.support.command import SAMPLE
from tests.support.databases import change, server_database, sqlite_with


def documents(source: SqlSource) -> dict[str, Document]:
    return {event.document.id: event.document for event in source.read() if isinstance(event, Upsert)}


def failure(source: SqlSource) -> str:
    """Why its only table could not be read."""
    (reason,) = (event.reason for event in source.read() if isinstance(event, ScopeFailed))
    return reason


def quoted(url: str, name: str) -> str:
    return f"`{name}`" if sa.make_url(url).get_backend_name() == "mysql" else f'"{name}"'


def test_rows_read_the_same_from_every_database(database: str) -> None:
    change(
        database,
        "CREATE TABLE artist (id INTEGER PRIMARY KEY, name VARCHAR(80))",
        "CREATE TABLE album (id INTEGER PRIMARY KEY, title VARCHAR(80), artist_id INTEGER, price NUMERIC(10,2), released DATE, "
        "stored TIMESTAMP, sold BOOLEAN, FOREIGN KEY (artist_id) REFERENCES artist (id))",
        "INSERT INTO artist VALUES (1, 'AC/DC')",
        "INSERT INTO album VALUES (4, 'Let There Be Rock', 1, 9.90, '1977-03-21', '2021-01-02 03:04:05', true)",
        "INSERT INTO album (id, title) VALUES (5, '黑胶')",
    )
    found = documents(SqlSource(name="shop", url=database))
    assert found["album/4"].text == (
        "Album\nId: 4\nTitle: Let There Be Rock\nArtist: AC/DC (Artist id 1)\nPrice: 9.90\nReleased: 1977-03-21\n"
        "Stored: 2021-01-02 03:04:05\nSold: yes"
    )
    assert found["album/5"].text == "Album\nId: 5\nTitle: 黑胶"
    assert found["album/4"].primary_key == {"id": 4}
    assert found["album/4"].title == "Album 4: Let There Be Rock"


def test_every_row_is_read_once_over_many_pages(database: str) -> None:
    change(database, "CREATE TABLE line (a INTEGER, b VARCHAR(10), n INTEGER, PRIMARY KEY (a, b))")
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    table = sa.table("line", sa.column("a"), sa.column("b"), sa.column("n"))
    rows = [{"a": i // 7, "b": f"k{i % 7}", "n": i} for i in range(2503)]
    with engine.begin() as connection:
        connection.execute(sa.insert(table), rows)
    events = list(SqlSource(name="s", url=database).read())
    ids = [event.document.id for event in events if isinstance(event, Upsert)]
    assert len(ids) == len(set(ids)) == 2503
    assert "line/3,k4" in ids
    assert events[-1] == SnapshotComplete(scopes=frozenset({"line"}), fixed_scopes=True, changes_only=True)


def test_chinese_mixed_case_and_reserved_names_work(database: str) -> None:
    table, column = quoted(database, "订单"), quoted(database, "Order")
    key = quoted(database, "编号")
    change(
        database,
        f"CREATE TABLE {table} ({key} INTEGER PRIMARY KEY, {column} VARCHAR(20), {quoted(database, 'select')} VARCHAR(20))",
        f"INSERT INTO {table} VALUES (7, '十张唱片', 'x')",
    )
    document = documents(SqlSource(name="s", url=database))["订单/7"]
    assert document.text == "订单\n编号: 7\nOrder: 十张唱片\nSelect: x"


def test_a_query_with_its_key_is_a_source(database: str) -> None:
    change(database, "CREATE TABLE t (id INTEGER PRIMARY KEY, v VARCHAR(9))", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    source = SqlSource(
        name="letters", url=database, query="SELECT id AS number, v FROM t WHERE id > 1;", key=("number",)
    )
    assert {d.id: d.text for d in documents(source).values()} == {"letters/2": "Letters\nNumber: 2\nV: b"}


def test_only_the_tables_asked_for_are_read(database: str) -> None:
    change(
        database,
        *(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY)" for name in ("a", "b", "c")),
        "INSERT INTO a VALUES (1)",
    )
    chosen = list(SqlSource(name="s", url=database, tables=("a", "b"), exclude=("b",)).read())[-1]
    assert chosen == SnapshotComplete(scopes=frozenset({"a"}), fixed_scopes=True, changes_only=True)
    with pytest.raises(SourceError, match=r"no table 'd'.*Tables there: a, b, c"):
        SqlSource(name="s", url=database, tables=("a", "d")).check()


def test_rows_of_a_table_without_a_key_are_told_apart_by_their_content(database: str) -> None:
    change(
        database,
        "CREATE TABLE log (line VARCHAR(20), at INTEGER)",
        "INSERT INTO log VALUES ('x', 1), ('x', 1), ('y', NULL), ('', NULL), (NULL, NULL)",
    )
    found = documents(SqlSource(name="s", url=database))
    assert len(found) == 5
    assert sorted(document.text for document in found.values()) == ["Log"] * 2 + ["Log\nLine: x\nAt: 1"] * 2 + [
        "Log\nLine: y"
    ]
    assert all(document.primary_key is None for document in found.values())
    assert found == documents(SqlSource(name="s", url=database))
    change(database, "DELETE FROM log WHERE line = 'y'")
    assert set(documents(SqlSource(name="s", url=database))) < set(found)


def test_a_cursor_or_a_tombstone_needs_a_key(database: str) -> None:
    change(database, "CREATE TABLE log (line VARCHAR(20), at INTEGER)")
    assert "keys = { log = [" in failure(SqlSource(name="s", url=database, cursors={"log": "at"}))
    change(database, "INSERT INTO log VALUES ('x', 1), ('y', 2)")
    assert set(documents(SqlSource(name="s", url=database, keys={"log": ["at"]}))) == {"log/1", "log/2"}


def test_a_configured_key_that_rows_share_is_an_error(database: str) -> None:
    change(database, "CREATE TABLE log (line VARCHAR(20), at INTEGER)", "INSERT INTO log VALUES ('x', 1), ('y', 1)")
    assert "'log' has 2 rows whose key (at) is 1." in failure(SqlSource(name="s", url=database, keys={"log": ["at"]}))


def test_a_unique_column_that_is_never_null_serves_as_key(database: str) -> None:
    change(
        database,
        "CREATE TABLE code (c VARCHAR(9) NOT NULL, n INTEGER, CONSTRAINT one UNIQUE (c))",
        "INSERT INTO code VALUES ('x1', 1)",
    )
    assert set(documents(SqlSource(name="s", url=database))) == {"code/x1"}


def test_rows_whose_key_is_null_are_reported(database: str) -> None:
    change(database, "CREATE TABLE v (n INTEGER, t VARCHAR(5))", "INSERT INTO v VALUES (1, 'a'), (NULL, 'b')")
    events = list(SqlSource(name="s", url=database, keys={"v": ["n"]}).read())
    assert [e.reason[:32] for e in events if isinstance(e, Unreadable)] == ["1 rows have NULL in their key (n"]
    assert [e.document.id for e in events if isinstance(e, Upsert)] == ["v/1"]


def test_the_connector_cannot_write(database: str) -> None:
    change(database, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    with pytest.raises(SourceError):
        list(SqlSource(name="s", url=database, query="INSERT INTO t VALUES (1)", key=("id",)).read())
    assert documents(SqlSource(name="s", url=database)) == {}


def test_types_of_postgresql_are_readable() -> None:
    with server_database("postgresql") as url:
        change(
            url,
            "CREATE TYPE mood AS ENUM ('sad', 'happy')",
            "CREATE TABLE t (id uuid PRIMARY KEY, m mood, tags text[], doc jsonb, at timestamptz, raw bytea, d interval)",
            "COMMENT ON TABLE t IS 'feelings'",
            "COMMENT ON COLUMN t.m IS 'how it felt'",
            "INSERT INTO t VALUES ('00000000-0000-0000-0000-000000000001', 'happy', '{a,b}', '{\"k\": [1, \"中\"]}', "
            "'2024-05-01 10:00:00+02', '\\x0102', '1 day')",
        )
        document = documents(SqlSource(name="s", url=url))["t/00000000-0000-0000-0000-000000000001"]
    assert document.text.splitlines() == [
        "T (feelings)",
        "Id: 00000000-0000-0000-0000-000000000001",
        "M (how it felt): happy",
        "Tags: a, b",
        'Doc: {"k": [1, "中"]}',
        "At: 2024-05-01 08:00:00 UTC",
        "Raw: (binary, 2 bytes, not indexed)",
        "D: 1 day",
    ]


def test_types_and_comments_of_mariadb_are_readable() -> None:
    with server_database("mariadb") as url:
        change(
            url,
            "CREATE TABLE t (id INT PRIMARY KEY, ok BOOLEAN COMMENT '是否有效', doc JSON, kind ENUM('a','b'), raw BLOB, d TIME) COMMENT '测试'",
            "INSERT INTO t VALUES (1, 1, '{\"k\": 1}', 'b', x'0102', '10:30:00')",
        )
        text = documents(SqlSource(name="s", url=url))["t/1"].text
    assert text.startswith("T (测试)\nId: 1\nOk (是否有效): yes\nDoc: {")
    assert text.endswith("Kind: b\nRaw: (binary, 2 bytes, not indexed)\nD: 10:30:00")


def test_values_that_sqlite_keeps_against_their_type_do_no_harm(tmp_path: Path) -> None:
    path = sqlite_with(
        tmp_path / "x.sqlite",
        "CREATE TABLE t (at DATETIME PRIMARY KEY, n INTEGER, price NUMERIC(10,2))",
        "INSERT INTO t VALUES ('soon', 'many', 'free'), ('2021-01-01 00:00:00', 5, 2)",
    )
    assert documents(SqlSource(name="s", url=f"sqlite:///{path}"))["t/soon"].text == "T\nAt: soon\nN: many\nPrice: free"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/x.db", "There is no SQLite database at /nowhere/x.db"),
        ("nonsense", "is not a database URL"),
        ("foodb://x", "SQLAlchemy does not support"),
        ("oracle://u:hunter2@h/x", "pip install oracledb"),
        ("postgresql://u:hunter2@127.0.0.1:1/x", "Check that the server runs"),
        ("mysql://u:hunter2@127.0.0.1:1/x", "Check that the server runs"),
    ],
)
def test_a_source_that_cannot_be_reached_says_how_to_mend_it(url: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        list(SqlSource(name="s", url=url).read())
    assert "hunter2" not in str(caught.value)


def test_a_wrong_password_is_told_and_never_shown() -> None:
    with server_database("mariadb") as url:
        wrong = sa.make_url(url).set(username="nobody_here", password="hunter2").render_as_string(hide_password=False)
        with pytest.raises(SourceError, match="Check the user and the password") as caught:
            SqlSource(name="s", url=wrong).check()
    assert "hunter2" not in str(caught.value)


def test_credentials_never_show(tmp_path: Path) -> None:
    assert shown("postgresql://u:hunter2@h/d?sslpassword=hunter3") == "postgresql://u:***@h/d?sslpassword=***"
    assert "hunter2" not in repr(SqlSource(name="s", url="postgresql://u:hunter2@h/d"))


def copy_of_chinook(url: str) -> None:
    """The sample's tables and rows in another database."""
    source = sa.create_engine(f"sqlite:///{SAMPLE / 'chinook.sqlite'}")
    target = sa.create_engine(url, poolclass=sa.NullPool)
    metadata = sa.MetaData()
    metadata.reflect(source)
    for column in (column for table in metadata.tables.values() for column in table.columns):
        column.type = column.type.as_generic()
    with source.connect() as reading, target.begin() as writing:
        metadata.create_all(writing)
        for table in metadata.sorted_tables:
            rows = [dict(row._mapping) for row in reading.execute(sa.select(table))]
            for start in range(0, len(rows), 2000):
                writing.execute(sa.insert(table), rows[start : start + 2000])
    source.dispose()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_all_of_chinook_reads_as_it_does_from_sqlite(kind: str) -> None:
    """15,607 documents, each with the same id, key and text: so every answer cites the same."""
    original = documents(SqlSource(name="shop", url=f"sqlite:///{SAMPLE / 'chinook.sqlite'}"))
    with server_database(kind) as url:
        copy_of_chinook(url)
        copied = documents(SqlSource(name="shop", url=url))
    assert len(copied) == 15607
    for document_id, document in original.items():
        other = copied[document_id]
        assert (other.text, other.title, other.primary_key) == (document.text, document.title, document.primary_key)

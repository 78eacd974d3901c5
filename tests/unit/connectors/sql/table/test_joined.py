"""A table with the rows that it refers to."""

import sqlalchemy as sa

from connectors.sql.schema import Reference
from connectors.sql.table.joined import Joined
from tests.support.tables import a_table, sql_of, sqlite

ALBUM = {"id": sa.Integer(), "artist_id": sa.Integer()}
ARTIST = Reference(columns=("artist_id",), schema=None, table="artist", referenced=("id",), labels=("name",))


def test_a_row_stays_though_what_it_refers_to_is_not_there() -> None:
    joined = Joined.of(a_table(ALBUM, name="album", references=(ARTIST,)))
    make = ["CREATE TABLE album (id INT, artist_id INT)", "CREATE TABLE artist (id INT, name TEXT)"]
    fill = ["INSERT INTO album VALUES (1, 7), (2, 8)", "INSERT INTO artist VALUES (7, 'AC/DC')"]
    with sqlite(*make, *fill) as db:
        rows = db.execute(joined.select(joined.base.c.id, *joined.labels)).all()
    assert [tuple(row) for row in rows] == [(1, "AC/DC"), (2, None)]


def test_two_references_to_one_table_are_told_apart() -> None:
    twice = Joined.of(a_table({**ALBUM, "guest_id": sa.Integer()}, references=(ARTIST, second())))
    assert sql_of(twice.select(*twice.labels), "postgresql").count("LEFT OUTER JOIN artist AS r") == 2


def second() -> Reference:
    return Reference(columns=("guest_id",), schema=None, table="artist", referenced=("id",), labels=("name",))


def test_alone_it_is_not_joined() -> None:
    joined = Joined.of(a_table(ALBUM, references=(ARTIST,)))
    assert "JOIN" not in sql_of(joined.alone(joined.base.c.id), "postgresql")


def test_of_a_long_label_only_the_beginning_is_read() -> None:
    long = Reference(
        columns=("artist_id",), schema=None, table="artist", referenced=("id",), labels=("name", "bio"), long=frozenset({"bio"})
    )  # fmt: skip
    joined = Joined.of(a_table(ALBUM, references=(long,)))
    text = sql_of(joined.select(*joined.labels), "postgresql")
    assert "substr(r0.bio, 1, 201)" in text
    assert "substr(r0.name" not in text


def test_tables_that_others_inherit_from_are_read_without_those() -> None:
    parent = Reference(
        columns=("artist_id",), schema=None, table="artist", referenced=("id",), labels=("name",), only=True
    )
    joined = Joined.of(a_table(ALBUM, name="album", references=(parent,), only=True))
    text = sql_of(joined.select(joined.base.c.id), "postgresql")
    assert "ONLY album" in text
    assert "ONLY artist" in text
    plain = Joined.of(a_table(ALBUM, name="album", references=(ARTIST,)))
    assert "ONLY" not in sql_of(plain.select(plain.base.c.id), "postgresql")

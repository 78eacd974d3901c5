"""What a row becomes."""

import pytest
import sqlalchemy as sa

from connectors.sql.documents import Place, document_of, row_event, unreadable
from connectors.sql.ids import KeyValue
from connectors.sql.schema import Reference
from connectors.sql.visibility import RightsUnknown, RowVisibility
from rag.events import Unreadable, Upsert
from tests.support.tables import PLACE, a_table

ALBUM = a_table(
    {"AlbumId": sa.Integer(), "Title": sa.Text(), "ArtistId": sa.Integer()}, key=("AlbumId",), name="Album", labels=("Title",),
    references=(
        Reference(columns=("ArtistId",), schema=None, table="Artist", referenced=("ArtistId",), labels=("Name",)),
    ),
)  # fmt: skip


def test_a_row_is_a_document_with_a_title_an_address_and_its_key() -> None:
    document = document_of(ALBUM, PLACE, (4, "Let There Be Rock", 1, "AC/DC"), name="4", key={"AlbumId": 4})
    assert document.id == "Album/4"
    assert document.title == "Album 4: Let There Be Rock"
    assert document.uri == "sqlite:///shop.sqlite#Album?AlbumId=4"
    assert document.text.endswith("Artist: AC/DC (Artist id 1)")
    assert document.key_text == "Album; Album id: 4; Title: Let There Be Rock"
    assert (document.scope, document.kind, document.primary_key) == ("Album", "row", {"AlbumId": 4})


def test_a_row_without_a_key_is_cited_by_its_name() -> None:
    bare = a_table({"body": sa.Text()}, key=(), name="log")
    document = document_of(bare, PLACE, ("text",), name="~ab", key=None)
    assert (document.title, document.uri) == ("Log", "sqlite:///shop.sqlite#log?row=~ab")


def test_a_reference_without_a_label_stays_its_number() -> None:
    document = document_of(ALBUM, PLACE, (4, "Let There Be Rock", 1, None), name="4", key={"AlbumId": 4})
    assert document.text.endswith("Artist id: 1")


def test_the_key_of_a_reference_that_is_called_id_says_of_what() -> None:
    reference = Reference(columns=("by",), schema=None, table="artist", referenced=("id",), labels=("name",))
    album = a_table({"id": sa.Integer(), "by": sa.Integer()}, references=(reference,))
    assert "By: AC/DC (Artist id 1)" in document_of(album, PLACE, (4, 1, "AC/DC"), name="4", key={"id": 4}).text


def test_labels_of_several_references_are_not_mixed_up() -> None:
    by = Reference(columns=("by",), schema=None, table="person", referenced=("id",), labels=("first", "last"))
    at = Reference(columns=("at",), schema=None, table="store", referenced=("id",), labels=("town",))
    sale = a_table({"id": sa.Integer(), "by": sa.Integer(), "at": sa.Integer()}, references=(by, at))
    text = document_of(sale, PLACE, (1, 2, 3, "Ada", "Byron", "Edmonton"), name="1", key={"id": 1}).text
    assert "By: Ada Byron (Person id 2)" in text
    assert "At: Edmonton (Store id 3)" in text


def test_a_long_label_is_shortened_where_it_names_the_row_and_not_in_the_text() -> None:
    document = document_of(ALBUM, PLACE, (4, "x" * 300, None, None), name="4", key={"AlbumId": 4})
    assert document.title.endswith("x…")
    assert document.key_text.endswith("x…")
    assert "x" * 300 in document.text


def test_the_address_hides_user_and_password() -> None:
    place = Place(source="shop", url="postgresql+psycopg://ada:secret@db:5432/shop?sslmode=require")
    assert place.address == "postgresql://db:5432/shop"


def event(row: tuple[object, ...], *, raw: object = 4, labels: RowVisibility = RowVisibility()) -> Upsert | Unreadable:
    place = Place(source="shop", url="sqlite://", labels=labels)
    return row_event(ALBUM, place, row, name="4", key=[KeyValue(held=4)], raw=[raw])


def test_a_row_that_had_another_id_before_says_so() -> None:
    assert event((4, "a", 1, "AC/DC")) == event((4, "a", 1, "AC/DC"), raw=4)
    moved = event((4, "a", 1, "AC/DC"), raw="old")
    assert isinstance(moved, Upsert)
    assert moved.moved_from == "Album/old"


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("no text of it")


def test_a_value_that_no_text_can_be_made_of_costs_its_row_alone() -> None:
    told = event((4, Odd(), 1, "AC/DC"))
    assert isinstance(told, Unreadable)
    assert (told.document_id, told.scope, told.withdrawn) == ("Album/4", "Album", False)
    assert "RuntimeError: no text of it" in told.reason


@pytest.mark.parametrize(("labels", "withdrawn"), [(RowVisibility(), False), (RowVisibility(acl_column="Title"), True)])
def test_a_row_that_says_itself_who_may_see_it_keeps_nothing_when_it_cannot_be_read(
    labels: RowVisibility, withdrawn: bool
) -> None:
    place = Place(source="shop", url="sqlite://", labels=labels)
    assert unreadable(ALBUM, place, "4", ValueError("x")).withdrawn is withdrawn


def test_the_reason_names_the_error_only_where_it_is_not_about_the_value() -> None:
    assert "ValueError" not in unreadable(ALBUM, PLACE, "4", ValueError("bad  year")).reason
    assert unreadable(ALBUM, PLACE, "4", ValueError("bad  year")).reason.endswith("bad year")
    assert unreadable(ALBUM, PLACE, "4", RightsUnknown("its acl is odd")).reason == "its acl is odd"
    assert len(unreadable(ALBUM, PLACE, "4", ValueError("x" * 900)).reason) == 500

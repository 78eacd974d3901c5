"""Conversations: whose they are, how long they are kept, and where what they stand on has gone."""

import pytest

from rag.documents import Document, Passage
from rag.ports import Identity
from rag.types import Turn
from service.store import conversations as module
from service.store.conversations import Conversations, without_lost
from service.store.database import Database
from service.store.ledger.ports import Changes, Moved
from service.store.ledger.stored import StoredLedger

ME = Identity(groups=("b", "a"), subject="me")


@pytest.fixture
def kept(database: Database) -> Conversations:
    return Conversations(database, keep_s=3600)


def turn(question: str, *chunks: str, document: str = "t/1") -> Turn:
    held = Document(
        id=document, source="shop", title="T", text="", uri="db://", acl=("hr",), tags=("vip",), metadata={"n": 1}
    )
    passages = tuple(passage(held, chunk) for chunk in chunks)
    return Turn(question=question, asked=f"asked {question}", answer="It is so.", passages=passages, stands_on=chunks)


def passage(document: Document, chunk: str) -> Passage:
    return Passage(
        document=document,
        text="text",
        chunk_ids=(chunk,),
        label="aaaa",
        start=0,
        end=4,
        page=None,
        context="",
        score=0.5,
    )


def move(database: Database, *chunks: Moved) -> None:
    ledger = StoredLedger(database)
    with ledger.lease("shop") as lease:
        ledger.commit(lease, Changes(moved=chunks))


def questions(kept: Conversations, conversation: str = "c", identity: Identity = ME) -> list[str]:
    return [turn.question for turn in kept.turns(conversation, identity)]


def test_turns_come_back_as_they_were_in_order(kept: Conversations) -> None:
    said = [turn("first", "a", "b"), turn("second", "c")]
    for each in said:
        kept.add("c", ME, each)
    assert kept.turns("c", ME) == said


@pytest.mark.parametrize(
    "other",
    [
        Identity(groups=("a", "b"), subject="another"),
        Identity(groups=("a",), subject="me"),
        Identity(tenant="acme", groups=("a", "b"), subject="me"),
    ],
)
def test_another_tenant_group_or_caller_has_another_conversation_under_the_same_id(
    kept: Conversations, other: Identity
) -> None:
    kept.add("c", ME, turn("mine"))
    assert questions(kept, identity=other) == []
    kept.forget("c", other)
    assert questions(kept, identity=Identity(groups=("a", "b"), subject="me")) == ["mine"]


def test_turns_that_are_out_of_date_are_not_given_and_are_removed(database: Database, kept: Conversations) -> None:
    kept.add("c", ME, turn("old"))
    short = Conversations(database, keep_s=-1)
    assert questions(short) == []
    short.add("other", ME, turn("new"))
    assert questions(kept) == []


def test_only_so_many_turns_are_given_the_last_ones(kept: Conversations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_TURNS", 2)
    for number in range(4):
        kept.add("c", ME, turn(str(number)))
    assert questions(kept) == ["2", "3"]


@pytest.mark.parametrize(("last", "left"), [(None, []), (1, ["0", "1"]), (2, ["0"]), (9, [])])
def test_a_conversation_is_forgotten_or_its_last_turns(kept: Conversations, last: int | None, left: list[str]) -> None:
    for number in range(3):
        kept.add("c", ME, turn(str(number)))
    kept.add("other", ME, turn("stays"))
    kept.forget("c", ME, last=last)
    assert (questions(kept), questions(kept, "other")) == (left, ["stays"])


def test_a_turn_follows_a_document_that_got_another_id(database: Database, kept: Conversations) -> None:
    kept.add("c", ME, turn("first", "old", "stays"))
    move(database, Moved(old="old", new="new", document_id="t/2"))
    (followed,) = kept.turns("c", ME)
    assert followed.stands_on == ("new", "stays")
    assert [p.document.id for p in followed.passages] == ["t/2", "t/1"]
    assert [(p.chunk_ids, p.label) for p in followed.passages] == [(("new",), "aaaa"), (("stays",), "aaaa")]


def test_a_turn_follows_a_document_that_moved_twice(database: Database, kept: Conversations) -> None:
    kept.add("c", ME, turn("first", "one"))
    move(database, Moved(old="one", new="two", document_id="t/2"))
    move(database, Moved(old="two", new="three", document_id="t/3"))
    assert kept.turns("c", ME)[0].stands_on == ("three",)


def test_a_turn_follows_a_document_that_came_back(database: Database, kept: Conversations) -> None:
    kept.add("c", ME, turn("first", "one"))
    move(database, Moved(old="one", new="two", document_id="t/2"))
    move(database, Moved(old="two", new="one", document_id="t/1"))
    (back,) = kept.turns("c", ME)
    assert (back.stands_on, back.passages[0].document.id) == (("one",), "t/1")


def test_a_turn_follows_a_document_that_came_back_and_went_again(database: Database, kept: Conversations) -> None:
    kept.add("c", ME, turn("first", "one"))
    for old, new in (("one", "two"), ("two", "one"), ("one", "three")):
        move(database, Moved(old=old, new=new, document_id=f"t/{new}"))
    assert kept.turns("c", ME)[0].stands_on == ("three",)


def test_where_documents_went_is_not_noted_without_a_conversation(database: Database, kept: Conversations) -> None:
    move(database, Moved(old="one", new="two", document_id="t/2"))
    kept.add("c", ME, turn("first", "one"))
    assert kept.turns("c", ME)[0].stands_on == ("one",)


def test_a_turn_is_lost_with_one_passage_that_may_not_be_seen() -> None:
    turns = [turn("both", "a", "b"), turn("one", "a"), turn("none")]
    assert [each.question for each in without_lost(turns, {"a"})] == ["one", "none"]

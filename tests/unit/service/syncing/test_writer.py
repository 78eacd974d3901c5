"""What a run writes: points first, then their commit, and nothing more once it was taken over."""

from collections.abc import Iterator
from typing import Any

import pytest

from rag.documents import Point
from rag.errors import LeaseLost
from rag.fakes import MemoryIndex
from service.store.ledger.memory import MemoryLedger
from service.store.ledger.ports import Changes, StoredDocument
from service.syncing.writer import Writer
from tests.unit.service.syncing.conftest import points, row


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def writer(calls: list[str]) -> Iterator[Writer]:
    ledger, index = MemoryLedger(before=calls.append), MemoryIndex(before=calls.append)
    with ledger.lease("shop") as lease:
        yield Writer(ledger=ledger, index=index, lease=lease)


def stored(number: int, *made: Point) -> StoredDocument:
    return StoredDocument(
        document_id=f"t/{number}", scope="t", version="v", chunk_ids=tuple(point.chunk.id for point in made)
    )


def take_over(writer: Writer, changes: Changes = Changes()) -> None:
    """Another run takes the source over, commits something, and ends."""
    ledger: Any = writer.ledger  # the fake, whose leases can be made to expire
    ledger.expire("shop")
    with ledger.lease("shop") as lease:
        ledger.commit(lease, changes)


def test_points_are_stored_before_they_are_committed_and_the_stale_go_after(writer: Writer, calls: list[str]) -> None:
    writer.commit(points(row(1)), Changes(changed=[stored(1)]), ["stale"])
    assert calls == ["renew", "upsert", "commit", "delete", "mark"]


def test_a_commit_of_points_gives_the_ledger_and_the_index_the_same_new_generation(writer: Writer) -> None:
    writer.commit(points(row(1)), Changes(), [])
    first = writer.ledger.generation("shop")
    writer.upsert(points(row(2)))
    writer.commit([], Changes(), [])
    assert first != writer.ledger.generation("shop") == writer.index.marked("shop") != ""


def test_a_commit_that_only_makes_points_stale_gives_a_new_generation_too(writer: Writer) -> None:
    writer.commit(points(row(1)), Changes(), [])
    first = writer.ledger.generation("shop")
    writer.commit([], Changes(), ["stale"])
    assert first != writer.ledger.generation("shop") == writer.index.marked("shop")


def test_a_commit_without_points_leaves_the_generation_and_asks_nothing_of_the_index(
    writer: Writer, calls: list[str]
) -> None:
    writer.commit(points(row(1)), Changes(), [])
    first = writer.ledger.generation("shop")
    calls.clear()
    writer.commit([], Changes(unchanged=["t/1"]), [])
    assert (writer.ledger.generation("shop"), calls) == (first, ["commit"])


def test_the_index_is_not_marked_while_it_is_made_good(writer: Writer) -> None:
    writer.marks = False
    writer.commit(points(row(1)), Changes(), [])
    writer.remove([stored(1)])
    assert (writer.index.marked("shop"), writer.ledger.generation("shop") != "") == ("", True)


def test_a_removed_document_goes_with_its_points(writer: Writer, calls: list[str]) -> None:
    made = points(row(1))
    writer.commit(made, Changes(changed=[stored(1, *made)]), [])
    calls.clear()
    writer.remove([stored(1, *made)])
    assert calls == ["renew", "delete", "remove", "mark"]
    assert (writer.index.count(), writer.ledger.counts("shop")) == (0, (0, 0))


def test_documents_without_points_ask_no_deletion_of_the_index(writer: Writer, calls: list[str]) -> None:
    writer.remove([stored(1)])
    assert calls == ["renew", "remove", "mark"]


def test_a_run_that_was_taken_over_stores_and_deletes_nothing_more(writer: Writer) -> None:
    made = points(row(1))
    writer.commit(made, Changes(changed=[stored(1, *made)]), [])
    take_over(writer)
    with pytest.raises(LeaseLost):
        writer.upsert(points(row(2)))
    with pytest.raises(LeaseLost):
        writer.remove([stored(1, *made)])
    assert writer.index.count() == 1


@pytest.mark.parametrize("more", [points(row(2)), []])
def test_a_run_that_was_taken_over_takes_back_what_it_did_not_commit(writer: Writer, more: list[Point]) -> None:
    writer.upsert(points(row(1)))
    take_over(writer)
    with pytest.raises(LeaseLost):
        writer.commit(more, Changes(), [])
    assert writer.index.count() == 0


def test_points_that_the_other_run_has_committed_meanwhile_stay(writer: Writer) -> None:
    made = points(row(1))
    writer.upsert([*made, *points(row(2))])
    take_over(writer, Changes(changed=[stored(1, *made)]))
    with pytest.raises(LeaseLost):
        writer.commit([], Changes(), [])
    assert list(writer.index.versions([made[0].chunk.id])) == [made[0].chunk.id]
    assert writer.index.count() == 1

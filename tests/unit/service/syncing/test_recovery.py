"""What a broken run or an older index left is found and made good."""

from copy import deepcopy
from dataclasses import replace

import pytest

from service.store.ledger.ports import Changes
from service.syncing.recovery import compare, find_difference, finish_recovery
from tests.unit.service.syncing.conftest import Store, points, row, rows


@pytest.fixture
def store() -> Store:
    made = Store()
    made.run(rows(range(4)))
    return made


def found(store: Store) -> str:
    with store.ledger.lease("shop") as lease:
        return find_difference(store.ledger, store.index, lease)


def points_of(store: Store, *documents: str) -> list[str]:
    return [chunk for d in store.ledger.known("shop", documents).values() for chunk in d.chunk_ids]


def test_an_index_that_is_in_step_is_found_so_without_a_look_at_its_points(store: Store) -> None:
    store.before_request = lambda request: pytest.fail("looked") if request in ("versions", "pages") else None
    assert found(store) == ""


def test_a_new_source_has_nothing_to_make_good() -> None:
    assert found(Store()) == ""


def test_points_that_vanished_are_found_and_their_documents_wait(store: Store) -> None:
    store.index.delete(points_of(store, "t/1"))
    assert "held 3 chunks instead of 4" in found(store)
    assert store.ledger.known("shop", ["t/1"])["t/1"].version == ""


def test_points_that_vanished_are_made_again_by_the_next_run(store: Store) -> None:
    store.index.delete(points_of(store, "t/1", "t/2"))
    report = store.run()
    assert "2 documents are indexed again" in report.notes[0]
    assert (report.chunks_embedded, len(store.texts())) == (2, 4)
    assert store.is_in_step()


def test_points_of_another_version_are_found_by_the_mark_though_their_number_is_right(store: Store) -> None:
    older = deepcopy(store.index)
    store.run([row(0, "changed"), *rows(range(1, 4))])
    store.use(index=older)
    assert "was not as the last run left it" in found(store)
    store.run([row(0, "changed"), *rows(range(1, 4))])
    assert store.texts()["t/0"] == "changed"
    assert store.is_in_step()


def test_an_index_that_was_put_back_with_the_same_points_is_checked_and_well(store: Store) -> None:
    store.index.mark("shop", "another generation")
    assert found(store) == "The index was checked, because the last run did not mark it: it is complete."


def test_an_index_that_was_never_marked_is_checked_and_nothing_is_told_of_it(store: Store) -> None:
    with store.ledger.lease("shop") as lease:
        store.ledger.set_generation(lease, "")
    assert found(store) == ""
    assert store.run().notes == []


def test_points_without_a_document_are_deleted_at_the_end_of_the_run(store: Store) -> None:
    with store.ledger.lease("shop") as lease:
        store.ledger.remove(lease, ["t/3"])
    report = store.run(rows(range(3)))
    assert "chunks without a document are deleted" in report.notes[0]
    assert store.index.count() == 3
    assert store.is_in_step()


def test_vectors_of_points_that_a_broken_run_did_not_commit_are_not_made_again(store: Store) -> None:
    with store.ledger.lease("shop") as lease:
        store.ledger.remove(lease, ["t/2", "t/3"])
    report = store.run()
    assert (report.added, report.chunks_embedded, report.chunks_reused) == (2, 0, 2)


def test_an_index_is_marked_only_at_the_end_of_a_run_that_makes_it_good(store: Store) -> None:
    store.index.delete(points_of(store, "t/1"))
    marks: list[str] = []
    store.before_request = lambda request: marks.append(request) if request in ("upsert", "delete", "mark") else None
    store.run()
    assert marks == ["upsert", "mark"]


def test_an_index_is_not_marked_while_documents_wait(store: Store) -> None:
    with store.ledger.lease("shop") as lease:
        store.ledger.forget_scopes(lease, ["t"], ["t/1"])
        before = store.index.marked("shop")
        finish_recovery(store.ledger, store.index, lease)
    assert store.index.marked("shop") == before


def test_points_of_a_document_that_waits_still_answer(store: Store) -> None:
    with store.ledger.lease("shop") as lease:
        store.ledger.forget_scopes(lease, ["t"], ["t/1"])
        finish_recovery(store.ledger, store.index, lease)
    assert "t/1" in store.texts()


def test_a_comparison_tells_what_is_lost_outdated_and_left_over(store: Store) -> None:
    store.index.upsert(points(row(9)))
    store.index.delete(points_of(store, "t/1"))
    with store.ledger.lease("shop") as lease:
        other = replace(store.ledger.known("shop", ["t/2"])["t/2"], version="other")
        store.ledger.commit(lease, Changes(changed=[other]))
    difference = compare(store.ledger, store.index, "shop")
    assert (difference.lost, difference.outdated) == ((("t", "t/1"),), (("t", "t/2"),))
    assert (len(difference.orphans), difference.documents, difference.chunks, difference.is_none) == (1, 4, 4, False)


def test_points_without_a_document_are_not_looked_for_where_they_are_deleted_anyway(store: Store) -> None:
    with store.ledger.lease("shop") as lease:
        store.ledger.remove(lease, ["t/1"])
    assert compare(store.ledger, store.index, "shop", orphans=False).is_none


def test_an_index_that_was_never_marked_is_compared_though_nothing_says_that_it_differs(store: Store) -> None:
    with store.ledger.lease("shop") as lease:
        other = replace(store.ledger.known("shop", ["t/2"])["t/2"], version="other")
        store.ledger.commit(lease, Changes(changed=[other]))
        store.ledger.set_generation(lease, "")
    store.index.mark("shop", "")
    assert "1 documents are indexed again" in found(store)


def test_a_document_that_waits_to_be_indexed_is_lost_whatever_its_points(store: Store) -> None:
    with store.ledger.lease("shop") as lease:
        store.ledger.forget_scopes(lease, ["t"], ["t/1"])
    assert compare(store.ledger, store.index, "shop").lost == (("t", "t/1"),)

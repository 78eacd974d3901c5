"""What an operator does beside running: forget a table, verify the index."""

from dataclasses import replace

import pytest

from rag.errors import SourceBusy, SourceError
from rag.events import Checkpoint, Unreadable
from service.store.ledger.ports import Changes
from service.syncing.upkeep import forget, verify
from tests.unit.service.syncing.conftest import Store, points, row, rows


@pytest.fixture
def store() -> Store:
    made = Store()
    made.run([*rows(range(3)), *rows(range(2), table="u")])
    return made


def test_a_table_is_forgotten_with_its_points_and_the_rest_stays(store: Store) -> None:
    assert forget(store.ledger, store.index, "shop", "t") == 3
    assert sorted(store.texts()) == ["u/0", "u/1"]
    assert store.is_in_step()


def test_a_table_is_forgotten_with_its_notes_and_its_quarantine(store: Store) -> None:
    note = Checkpoint(scope="t", name="table", head={})
    with store.ledger.lease("shop") as lease:
        bad = Unreadable(document_id="t/9", scope="t", reason="broken")
        store.ledger.commit(lease, Changes(checkpoints=[note], unreadable=[bad]))
    forget(store.ledger, store.index, "shop", "t")
    assert (list(store.ledger.notes("shop").find(scope="t")), store.ledger.quarantined("shop")) == ([], [])


def test_a_table_of_which_all_was_set_aside_can_be_forgotten(store: Store) -> None:
    with store.ledger.lease("shop") as lease:
        store.ledger.commit(lease, Changes(unreadable=[Unreadable(document_id="v/1", scope="v", reason="broken")]))
    assert forget(store.ledger, store.index, "shop", "v") == 0
    assert store.ledger.quarantined("shop") == []


def test_a_table_of_which_nothing_is_indexed_lists_what_is(store: Store) -> None:
    with pytest.raises(SourceError, match=r"Nothing of 'v' is indexed in source 'shop'\. What is: t, u\."):
        forget(store.ledger, store.index, "shop", "v")
    with pytest.raises(SourceError, match="What is: nothing"):
        forget(store.ledger, store.index, "docs", "t")


def test_a_table_is_not_forgotten_while_its_source_is_read(store: Store) -> None:
    with store.ledger.lease("shop"), pytest.raises(SourceBusy):
        forget(store.ledger, store.index, "shop", "t")


def test_forgetting_hides_nothing_that_the_next_run_has_to_make_good(store: Store) -> None:
    store.index.mark("shop", "older")
    forget(store.ledger, store.index, "shop", "t")
    assert store.index.marked("shop") == "older"


def test_an_index_in_step_is_verified(store: Store) -> None:
    found = verify(store.ledger, store.index, "shop")
    assert (found.ok, found.documents, found.chunks, found.examples) == (True, 5, 5, [])
    assert store.run().notes == []


def test_what_differs_is_counted_named_and_made_good_by_the_next_run(store: Store) -> None:
    store.index.delete(store.ledger.known("shop", ["t/1"])["t/1"].chunk_ids)
    store.index.upsert(points(row(77)))
    found = verify(store.ledger, store.index, "shop")
    assert (found.documents_without_points, found.points_without_document) == (1, 1)
    assert (found.ok, found.examples) == (False, ["t/1"])
    store.run()
    assert verify(store.ledger, store.index, "shop").ok


def test_a_document_of_another_version_is_told(store: Store) -> None:
    with store.ledger.lease("shop") as lease:
        known = store.ledger.known("shop", ["t/1"])["t/1"]
        store.ledger.commit(lease, Changes(changed=[replace(known, version="another")]))
    found = verify(store.ledger, store.index, "shop")
    assert (found.documents_of_another_version, found.documents_without_points, found.ok) == (1, 0, False)


def test_no_more_than_twenty_examples_are_named() -> None:
    store = Store([row(number) for number in range(30)])
    store.run()
    store.index.delete([point_id for page in store.index.pages("shop") for point_id in page])
    assert len(verify(store.ledger, store.index, "shop").examples) == 20


def test_a_source_is_not_verified_while_it_is_read(store: Store) -> None:
    with store.ledger.lease("shop"), pytest.raises(SourceBusy):
        verify(store.ledger, store.index, "shop")

"""The end of a table, and of the source: what is gone goes, what is noted is kept, and the report says what was done."""

import pytest

from rag.documents import Document
from rag.errors import MassDeleteRefused, SourceError
from rag.events import (
    Checkpoint,
    Listed,
    Listing,
    ScopeComplete,
    ScopeFailed,
    SnapshotComplete,
    SourceEvent,
    Tombstone,
    Unreadable,
    Upsert,
)
from rag.ports import LISTING
from service.store.ledger.ports import Changes
from service.syncing.report import Report, TableReport
from tests.unit.service.syncing.conftest import Item, Store, end, row, rows, whole


def line(report: Report, table: str) -> TableReport:
    return next(each for each in report.tables if each.table == table)


def note(name: str, *gone: str) -> Checkpoint:
    return Checkpoint(scope="t", name=name, head={}, gone=gone)


def names(store: Store) -> set[str]:
    return {name for _, name, _ in store.ledger.notes("shop").find(scope="t")}


def changes(*items: Item, table: str = "t", documents: int | None = None) -> list[Item]:
    """What changed of a table, without a listing."""
    return [*items, ScopeComplete(scope=table, documents=documents)]


# A table.


def test_what_a_listing_did_not_meet_goes(store: Store) -> None:
    store.run([*whole(rows(range(5))), end("t")])
    report = store.run([*whole(rows(range(4))), end("t")])
    assert (report.deleted, line(report, "t").deleted, "t/4" in store.texts()) == (1, 1, False)


def test_what_is_not_listed_stays_where_only_changes_are_read(store: Store) -> None:
    store.run([*whole(rows(range(5))), end("t")])
    report = store.run([*changes(row(0, "new"), documents=5), end("t")])
    assert (report.deleted, report.updated, report.unchanged, len(store.texts())) == (0, 1, 4, 5)


@pytest.mark.parametrize("gone", [Tombstone(document_id="t/1"), note("range-1", "t/1")])
def test_what_the_source_says_is_gone_goes_at_the_end_of_its_table(store: Store, gone: Item) -> None:
    store.run([*whole(rows(range(5))), end("t")])
    assert store.run([*changes(gone, documents=4), end("t")]).deleted == 1
    assert "t/1" not in store.texts()
    assert store.is_in_step()


def test_what_was_only_set_aside_and_is_gone_leaves_the_quarantine(store: Store) -> None:
    bad = Unreadable(document_id="t/9", scope="t", reason="broken")
    store.run([*whole([*rows(range(5)), bad]), end("t")])
    report = store.run([*changes(Tombstone(document_id="t/9"), documents=5), end("t")])
    assert (report.deleted, report.quarantined) == (0, 0)


def test_notes_are_kept_when_what_they_say_is_gone_has_gone(store: Store) -> None:
    store.run([*whole(rows(range(5))), end("t")])
    store.run([*changes(note("range-1", "t/1"), documents=4), end("t")])
    assert names(store) == {"table", "range-1"}


def test_notes_are_not_kept_where_what_they_say_is_gone_was_refused(store: Store) -> None:
    store.run([*whole(rows(range(60))), end("t")])
    gone = note("range-1", *(f"t/{number}" for number in range(30)))
    with pytest.raises(MassDeleteRefused):
        store.run([*changes(gone, documents=30), end("t")])
    assert (names(store), len(store.texts())) == ({"table"}, 60)


def test_notes_of_a_table_that_failed_are_not_kept_and_nothing_of_it_goes(store: Store) -> None:
    store.run([*whole(rows(range(5))), *whole(rows([1], table="u"), table="u"), end("t", "u")])
    failed: list[SourceEvent] = [note("range-1", "t/1"), ScopeFailed(scope="t", reason="locked")]
    report = store.run([*failed, *changes(table="u", documents=1), end("t", "u")])
    assert (names(store), len(store.texts()), line(report, "t").error) == ({"table"}, 6, "locked")


def test_a_table_that_could_not_be_read_whole_keeps_its_documents_and_its_listing(store: Store) -> None:
    store.run([*whole(rows(range(5))), end("t")])
    broken = Unreadable(document_id="t", scope="t", reason="page torn")
    store.run([Listing(scope="t"), row(0), broken, Listed(scope="t", checkpoint=note("table")), *changes(), end("t")])
    assert len(store.texts()) == 5
    assert names(store) == {LISTING}


def test_rows_that_moved_are_no_loss(store: Store) -> None:
    store.run([*whole(rows(range(60))), end("t")])
    moved = [Upsert(document=row(number + 100, f"row {number}"), moved_from=f"t/{number}") for number in range(30)]
    report = store.run([*whole([*moved, *rows(range(30, 60))]), end("t")])
    assert (report.deleted, report.chunks_embedded, report.error) == (30, 0, "")


def test_of_rows_whose_id_is_their_content_those_that_nobody_may_see_are_no_loss(store: Store) -> None:
    store.run([*whole(rows(range(60)), by_content=True), end("t")])
    hidden = [Unreadable(document_id=f"x/{n}", scope="t", reason="no tenant", withdrawn=True) for n in range(30)]
    report = store.run([*whole([*rows(range(30)), *hidden], by_content=True), end("t")])
    assert (report.deleted, report.error) == (30, "")


def test_a_change_of_a_row_whose_id_is_its_content_is_no_loss(store: Store) -> None:
    store.run([*whole(rows(range(60)), by_content=True), end("t")])
    report = store.run([*whole(rows(range(30, 90)), by_content=True), end("t")])
    assert (report.added, report.deleted, report.error) == (30, 30, "")


def test_a_table_that_is_empty_now_is_refused_however_small(store: Store) -> None:
    store.run([*whole(rows(range(3))), end("t")])
    with pytest.raises(MassDeleteRefused, match="all of its 3 indexed documents are gone"):
        store.run([*whole([]), end("t")])


def test_a_refused_table_leaves_the_others_in_step(store: Store) -> None:
    store.run([*whole(rows(range(60))), *whole(rows(range(3), table="u"), table="u"), end("t", "u")])
    report = store.run([*whole(rows(range(9))), *whole(rows(range(2), table="u"), table="u"), end("t", "u")])
    assert (line(report, "u").deleted, line(report, "u").error) == (1, "")
    assert "51 of its 60" in line(report, "t").error
    assert (line(report, "t").deleted, line(report, "t").read) == (0, 9)


def test_a_table_that_holds_other_documents_than_the_index_is_told_and_read_whole_again(store: Store) -> None:
    store.run([*whole(rows(range(3))), *whole([], table="u"), end("t", "u")])
    report = store.run([*changes(documents=7), *changes(table="u", documents=0), end("t", "u")])
    assert "holds 7 documents according to this read, and 3 are indexed" in line(report, "t").error
    assert names(store) == {LISTING}


def test_a_table_that_was_not_counted_is_taken_to_hold_what_is_indexed(store: Store) -> None:
    store.run([*whole(rows(range(3))), end("t")])
    report = store.run([*changes(row(0, "new")), end("t")])
    assert (report.error, report.read, report.updated, report.unchanged) == ("", 3, 1, 2)


def test_a_row_that_cannot_be_read_now_is_held_once_as_it_was(store: Store) -> None:
    store.run([*whole(rows(range(3))), end("t")])
    report = store.run([*whole([*rows(range(2)), Unreadable(document_id="t/2", scope="t", reason="x")]), end("t")])
    assert (report.error, report.read, report.unchanged, report.quarantined) == ("", 3, 2, 1)


def test_a_table_that_failed_counts_as_read_what_it_gave(store: Store) -> None:
    store.run([*whole(rows(range(5))), *whole([], table="u"), end("t", "u")])
    failed: list[Document | SourceEvent] = [*rows(range(2)), ScopeFailed(scope="t", reason="locked")]
    assert line(store.run([*failed, *whole([], table="u"), end("t", "u")]), "t").read == 2


def test_a_table_s_line_adds_up_with_what_was_set_aside(store: Store) -> None:
    bad = [Unreadable(document_id=f"t/{number}", scope="t", reason="broken") for number in (8, 9)]
    store.run([*whole(rows(range(4))), end("t")])
    report = store.run([*whole([row(0, "new"), *rows(range(1, 5)), *bad]), end("t")])
    each = line(report, "t")
    assert (each.read, each.added, each.updated, each.unchanged, each.quarantined) == (7, 1, 1, 3, 2)


# The source.


def test_a_dropped_table_is_told_and_keeps_its_rows(store: Store) -> None:
    store.run([*whole(rows(range(3))), *whole(rows(range(2), table="u"), table="u"), end("t", "u")])
    report = store.run([*changes(documents=3), end("t")])
    assert "Table 'u' was indexed before and is not read now" in line(report, "u").error
    assert "`citewell forget shop u`" in report.error
    assert len(store.texts()) == 5


def test_a_partition_that_is_read_under_its_parent_is_no_dropped_table(store: Store) -> None:
    store.run([*whole(rows(range(3), table="u"), table="u"), end("u")])
    report = store.run([*whole(rows(range(3))), end("t", covered={"u": "t"})])
    assert (report.error, report.deleted, sorted(store.texts())) == ("", 3, ["t/0", "t/1", "t/2"])


def test_a_partition_stays_while_its_parent_fails(store: Store) -> None:
    store.run([*whole(rows(range(3), table="u"), table="u"), *whole(rows([1], table="v"), table="v"), end("u", "v")])
    failed = ScopeFailed(scope="t", reason="locked")
    report = store.run([failed, *changes(table="v", documents=1), end("t", "v", covered={"u": "t"})])
    assert report.error == "t: locked"
    assert {"u/0", "u/1", "u/2"} <= store.texts().keys()


def test_a_file_that_is_no_more_goes_with_all_its_records(store: Store) -> None:
    store.run([*rows(range(2), table="a"), *rows(range(9), table="b")])
    report = store.run(rows(range(9), table="b"))
    assert (report.deleted, store.ledger.scopes("shop")) == (2, {"b"})


def test_notes_of_a_file_that_is_no_more_go_and_those_of_one_in_a_folder_that_cannot_be_read_stay(store: Store) -> None:
    noted = [Checkpoint(scope=scope, name="file", head={}) for scope in ("a", "b/c")]
    store.run([*rows([1], table="a"), *rows([1], table="b/c"), *rows(range(9), table="d"), *noted])
    store.run([Unreadable(document_id="b", scope="b", reason="no permission"), *rows(range(9), table="d")])
    assert [scope for scope, _, _ in store.ledger.notes("shop").find()] == ["b/c"]


def test_a_folder_that_would_lose_too_much_is_refused_as_a_whole(store: Store) -> None:
    store.run(rows(range(60)))
    with pytest.raises(MassDeleteRefused) as refused:
        store.run([*rows(range(30)), SnapshotComplete(scopes=frozenset("t"), documents=30)])
    assert str(refused.value).startswith("Source 'shop': 30 of its 60 indexed documents are gone")
    assert "holds 30" not in str(refused.value)
    assert len(store.texts()) == 60


def test_what_a_table_s_end_refused_is_not_deleted_at_the_source_s(store: Store) -> None:
    tables = SnapshotComplete(scopes=frozenset({"t", "u"}))
    store.run([*whole(rows(range(60))), *whole(rows([1], table="u"), table="u"), tables])
    report = store.run([*whole(rows(range(50, 60))), *whole(rows([1], table="u"), table="u"), tables])
    assert (report.deleted, len(store.texts()), report.error.count("are gone")) == (0, 61, 1)


def test_tables_that_do_not_end_by_themselves_are_brought_in_step_at_the_source_s_end(store: Store) -> None:
    tables = end("t", changes_only=False)
    store.run([*rows(range(5)), tables])
    assert store.run([*rows(range(4)), tables]).deleted == 1


def test_a_file_that_cannot_be_read_now_is_held_once_as_it_was(store: Store) -> None:
    whole_folder = SnapshotComplete(scopes=frozenset("t"), documents=3)
    store.run([*rows(range(3)), whole_folder])
    report = store.run([*rows(range(2)), Unreadable(document_id="t/2", scope="t", reason="x"), whole_folder])
    assert (report.error, report.read, report.unchanged, report.quarantined) == ("", 3, 2, 1)


def test_of_a_folder_of_which_only_changes_are_read_the_rest_stays(store: Store) -> None:
    changed = SnapshotComplete(scopes=frozenset({"a", "b"}), changes_only=True)
    store.run([*rows([1], table="a"), *rows([1], table="b")])
    assert store.run([row(1, "new", table="a"), changed]).deleted == 0
    assert len(store.texts()) == 2


def test_files_that_were_not_met_since_the_format_changed_go_when_all_has_been_read(store: Store) -> None:
    store.run(rows(range(9)))
    store.use(max_tokens=50)
    changed = SnapshotComplete(scopes=frozenset({"t"}), changes_only=True)
    assert store.run([*rows(range(8)), changed]).deleted == 1
    store.source.items = [*rows(range(7)), changed]
    assert store.run().deleted == 0


def test_a_folder_that_holds_other_documents_than_the_index_is_told(store: Store) -> None:
    store.run(rows(range(3)))
    with pytest.raises(SourceError, match="The source holds 5 documents according to this read, and 3 are"):
        store.run([*rows(range(3)), SnapshotComplete(scopes=frozenset({"t"}), documents=5)])
    assert list(store.ledger.notes("shop").find(scope="t", name=LISTING))


def test_what_was_set_aside_of_scopes_that_are_no_more_is_forgotten(store: Store) -> None:
    bad = Unreadable(document_id="gone/1", scope="gone", reason="broken")
    store.run([*whole(rows(range(3))), bad, end("t", "gone")])
    assert store.run([*changes(documents=3), end("t")]).quarantined == 0


def test_a_format_is_read_anew_until_no_table_fails(store: Store) -> None:
    store.run([*whole(rows(range(3))), *whole([], table="u"), end("t", "u")])
    with store.ledger.lease("shop") as lease:
        store.ledger.start_format(lease, store.ledger.format_of("shop"))
    failed = ScopeFailed(scope="t", reason="locked")
    store.run([failed, *whole([], table="u"), end("t", "u")])
    with store.ledger.lease("shop") as lease:
        assert len(store.ledger.left_over(lease)) == 3
    store.run([*whole(rows(range(3))), *whole([], table="u"), end("t", "u")])
    with store.ledger.lease("shop") as lease:
        store.ledger.commit(lease, Changes())
        assert store.ledger.left_over(lease) == []

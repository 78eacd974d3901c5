"""A sync: the index follows the source, and nothing is lost on the way."""

import threading
from typing import Any

import pytest

from rag.documents import Document
from rag.errors import IndexUnavailable, LeaseLost, MassDeleteRefused, RunStopped, SourceBusy, SourceError
from rag.events import Expected, Notice, Passed, ScopeFailed, SnapshotComplete, Unreadable, Upsert
from rag.ports import LISTING
from service.syncing.batch import store as batch_store
from tests.unit.service.syncing.conftest import Store, end, points, row, rows, whole

# What becomes of a document.


def test_a_first_run_indexes_every_document(store: Store) -> None:
    report = store.run([row(1, "one"), row(2, "two")])
    assert (report.read, report.added, report.fetched, report.error) == (2, 2, 2, "")
    assert store.texts() == {"t/1": "one", "t/2": "two"}
    assert store.is_in_step()


def test_a_second_run_over_the_same_documents_embeds_nothing(store: Store) -> None:
    store.run([row(1), row(2)])
    asked = len(store.embedder.asked)
    report = store.run()
    assert (report.added, report.updated, report.unchanged, report.chunks_embedded) == (0, 0, 2, 0)
    assert len(store.embedder.asked) == asked


def test_a_changed_document_answers_with_its_new_text_only(store: Store) -> None:
    store.run([row(1, "old"), row(2)])
    report = store.run([row(1, "new"), row(2)])
    assert (report.added, report.updated, report.unchanged, report.chunks_embedded) == (0, 1, 1, 1)
    assert store.texts() == {"t/1": "new", "t/2": "row 2"}
    assert store.is_in_step()


@pytest.mark.parametrize("fields", [{"tenant": "acme"}, {"acl": ("hr",)}, {"tags": ("vip",)}, {"title": "other"}])
def test_a_change_beside_the_text_is_a_change(store: Store, fields: dict[str, Any]) -> None:
    store.run([row(1)])
    report = store.run([row(1, **fields)])
    assert (report.updated, report.chunks_embedded) == (1, 0)


def test_a_document_that_the_source_has_no_more_stops_answering(store: Store) -> None:
    store.run(rows(range(5)))
    report = store.run(rows(range(4)))
    assert report.deleted == 1
    assert "t/4" not in store.texts()
    assert store.is_in_step()


def test_a_full_run_indexes_every_document_again(store: Store) -> None:
    store.run(rows(range(3)))
    report = store.run(full=True)
    assert (report.updated, report.chunks_embedded, report.chunks_reused) == (3, 3, 0)
    assert store.is_in_step()


def test_chunks_that_a_changed_document_keeps_are_not_embedded_again(store: Store) -> None:
    parts = ["The first sentence, which stays.\n\n", "The second sentence, which stays.\n\n"]
    store.run([row(1, "".join([*parts, "The third one, which goes."]))])
    report = store.run([row(1, "".join([*parts, "Another third one comes."]))])
    assert (report.chunks_embedded, report.chunks_reused) == (1, 2)
    assert store.texts()["t/1"].endswith("Another third one comes.")


def test_a_document_that_moved_keeps_its_embeddings_and_is_no_loss(store: Store) -> None:
    store.run([row(1, "the same")])
    report = store.run([Upsert(document=row(2, "the same"), moved_from="t/1"), SnapshotComplete(scopes=frozenset("t"))])
    assert (report.added, report.deleted, report.chunks_embedded, report.chunks_reused) == (1, 1, 0, 1)
    assert store.texts() == {"t/2": "the same"}
    (moved,) = store.ledger.moved
    assert (moved.new in store.ledger.known("shop", ["t/2"])["t/2"].chunk_ids, moved.document_id) == (True, "t/2")


def test_of_a_document_that_comes_twice_the_last_one_counts_outside_a_listing(store: Store) -> None:
    report = store.run([row(1, "first"), row(1, "last")])
    assert (report.added, report.quarantined) == (1, 0)
    assert store.texts() == {"t/1": "last"}


def test_a_document_that_comes_again_in_a_later_batch_is_compared_with_the_first() -> None:
    store = Store([row(1, "first"), row(2), row(1, "last")], batch_documents=1)
    report = store.run()
    assert (report.added, report.updated) == (2, 1)
    assert store.texts()["t/1"] == "last"
    assert store.is_in_step()


@pytest.mark.parametrize(("most", "commits"), [(512, 1), (2, 3)])
def test_a_batch_is_committed_at_once_unless_it_has_very_many_chunks(
    store: Store, monkeypatch: pytest.MonkeyPatch, most: int, commits: int
) -> None:
    monkeypatch.setattr(batch_store, "_BATCH_CHUNKS", most)
    calls: list[str] = []
    store.ledger.before = calls.append
    store.run(rows(range(5)))
    assert calls.count("commit") == commits + 1  # and one of the notes that waited for the end
    assert store.is_in_step()


# Two documents of one id in a listing.


def test_the_second_of_two_rows_with_one_id_is_set_aside_with_both_keys(store: Store) -> None:
    twin = row(1, "second", primary_key={"id": "1 "})
    report = store.run([*whole([row(1, "first"), twin]), end("t")])
    assert store.texts() == {"t/1": "first"}
    assert [entry["document_id"] for entry in store.ledger.quarantined("shop")] == ["t/1~1"]
    assert '{"id": 1} (t 1) and {"id": "1 "} (t 1)' in report.unreadable[0]["reason"]
    assert (report.error, report.read, report.added, report.quarantined) == ("", 2, 1, 1)


def test_a_twin_in_a_later_batch_is_set_aside_too() -> None:
    store = Store([*whole([row(1, "first"), row(2), row(1, "second")]), end("t")], batch_documents=1)
    report = store.run()
    assert store.texts() == {"t/1": "first", "t/2": "row 2"}
    assert [entry["document_id"] for entry in report.unreadable] == ["t/1~1"]


def test_each_twin_of_a_document_has_an_entry_of_its_own(store: Store) -> None:
    store.run([*whole([row(1, text) for text in ("first", "second", "third")]), end("t")])
    assert [entry["document_id"] for entry in store.ledger.quarantined("shop")] == ["t/1~1", "t/1~2"]


def test_a_row_that_an_earlier_run_met_is_no_twin(store: Store) -> None:
    store.run([*whole([row(1, "old")]), end("t")])
    report = store.run([*whole([row(1, "new")]), end("t")])
    assert (report.updated, report.quarantined) == (1, 0)


# What cannot be read, or embedded, or seen.


def unreadable(number: int, *, table: str = "t", **fields: bool) -> Unreadable:
    return Unreadable(document_id=f"{table}/{number}", scope=table, reason="broken", **fields)


def test_an_unreadable_document_is_set_aside_and_its_old_text_stays(store: Store) -> None:
    store.run([row(1, "old"), row(2)])
    report = store.run([unreadable(1), row(2)])
    assert (report.deleted, report.quarantined, report.unreadable[0]["reason"]) == (0, 1, "broken")
    assert store.texts()["t/1"] == "old"


def test_a_document_that_is_readable_again_leaves_the_quarantine(store: Store) -> None:
    store.run([unreadable(1), row(2)])
    report = store.run([row(1), row(2)])
    assert (report.quarantined, store.ledger.quarantined("shop")) == (0, [])


def test_what_is_ignored_is_told_and_is_no_failure(store: Store) -> None:
    report = store.run([row(1), unreadable(2, ignored=True)])
    assert ([entry["document_id"] for entry in report.ignored], report.unreadable) == (["t/2"], [])
    assert (report.quarantined, report.read) == (0, 1)


def test_documents_of_a_scope_that_cannot_be_read_stay(store: Store) -> None:
    store.run([row(1, table="a/x"), row(1, table="b")])
    broken = Unreadable(document_id="a", scope="a", reason="no permission")
    report = store.run([broken, row(1, table="b"), SnapshotComplete(scopes=frozenset({"a", "b"}))])
    assert (report.deleted, sorted(store.texts())) == (0, ["a/x/1", "b/1"])


def test_a_text_that_cannot_be_embedded_is_set_aside_and_its_neighbours_land(store: Store) -> None:
    report = store.run([row(1), row(2, "poison"), row(3)])
    assert (report.added, report.quarantined, sorted(store.texts())) == (2, 1, ["t/1", "t/3"])
    assert report.unreadable[0]["reason"] == "its text cannot be embedded: ValueError: too long"
    assert store.is_in_step()


def test_a_document_whose_new_text_cannot_be_embedded_keeps_its_old_one(store: Store) -> None:
    store.run([row(1, "old"), row(2)])
    report = store.run([row(1, "poison"), row(2)])
    assert (report.updated, report.quarantined, store.texts()["t/1"]) == (0, 1, "old")
    assert store.is_in_step()


@pytest.mark.parametrize("now", [{"acl": ("hr",)}, {"tenant": "acme"}])
def test_an_old_text_goes_where_others_may_see_the_new_one_that_cannot_be_embedded(
    store: Store, now: dict[str, Any]
) -> None:
    store.run([row(1, "old", acl=("all",)), row(2)])
    store.run([row(1, "poison", **{"acl": ("all",), **now}), row(2)])
    assert store.texts() == {"t/2": "row 2"}
    assert store.is_in_step()


def test_of_a_row_that_nobody_may_see_nothing_stays(store: Store) -> None:
    store.run(rows(range(3)))
    report = store.run([row(0), row(1), unreadable(2, withdrawn=True)])
    assert (sorted(store.texts()), report.quarantined) == (["t/0", "t/1"], 1)
    assert store.is_in_step()


def test_of_a_table_that_nobody_may_see_nothing_stays(store: Store) -> None:
    store.run([*rows(range(2)), *rows(range(2), table="u")])
    withdrawn = Unreadable(document_id="t", scope="t", reason="no tenant column", withdrawn=True)
    store.run([withdrawn, *rows(range(2), table="u")])
    assert sorted(store.texts()) == ["u/0", "u/1"]


def test_where_a_batch_says_two_things_of_one_id_nobody_sees_it(store: Store) -> None:
    store.run([*whole([row(1, "seen"), unreadable(1, withdrawn=True), row(2)]), end("t")])
    assert store.texts() == {"t/2": "row 2"}


def test_documents_set_aside_are_read_again_when_they_are_to_be_tried_again(store: Store) -> None:
    store.run([*whole([row(1)]), unreadable(2), end("t")])
    store.run([end("t")], retry=True)
    assert store.source.notes is not None
    assert list(store.source.notes.find(scope="t", name=LISTING))
    assert not list(store.source.notes.find(name="table"))


def test_a_file_with_nothing_to_read_any_more_loses_what_was_indexed_of_it(store: Store) -> None:
    store.run([*rows(range(2), table="a"), *rows(range(9), table="b")])
    empty = Unreadable(document_id="a", scope="a", reason="nothing to read", ignored=True)
    assert store.run([empty, *rows(range(9), table="b")]).deleted == 2


def test_what_is_set_aside_is_forgotten_by_a_whole_read_that_does_not_meet_it(store: Store) -> None:
    store.run([row(1), unreadable(2)])
    changed = SnapshotComplete(scopes=frozenset("t"), changes_only=True)
    assert store.run([changed]).quarantined == 1
    assert store.run([row(1)]).quarantined == 0


# The whole run.


def test_a_full_run_heals_what_counts_and_marks_cannot_see(store: Store) -> None:
    store.run(rows(range(3)))
    store.index.delete(store.ledger.known("shop", ["t/1"])["t/1"].chunk_ids)
    store.index.upsert(points(row(9)))
    report = store.run(full=True)
    assert (report.notes, sorted(store.texts())) == ([], ["t/0", "t/1", "t/2"])
    assert store.is_in_step()


def test_a_dry_run_of_a_listing_finds_nothing_gone_that_it_has_met(store: Store) -> None:
    store.run([*whole(rows(range(3))), end("t")])
    report = store.run(dry_run=True)
    assert (report.deleted, report.unchanged, report.error) == (0, 3, "")


def test_a_dry_run_says_what_would_change_and_changes_nothing(store: Store) -> None:
    store.run(rows(range(10)))
    before = store.texts()
    report = store.run([row(0, "changed"), *rows(range(1, 9)), row(20)], dry_run=True)
    assert (report.added, report.updated, report.deleted, report.unchanged) == (1, 1, 1, 8)
    assert (store.texts(), store.ledger.counts("shop")) == (before, (10, 10))
    assert store.ledger.finished[-1].status == "dry-run"


def test_a_dry_run_of_a_new_source_writes_nothing_at_all(store: Store) -> None:
    report = store.run([*whole(rows(range(3))), end("t")], dry_run=True)
    assert (report.added, report.error, store.texts()) == (3, "", {})
    assert (store.ledger.format_of("shop"), store.ledger.generation("shop")) == ("", "")


def test_a_dry_run_tells_twins_as_a_run_does(store: Store) -> None:
    store.use(batch_documents=1)
    report = store.run([*whole([row(1), row(1, "second")]), end("t")], dry_run=True)
    assert [entry["document_id"] for entry in report.unreadable] == ["t/1~1"]


def test_a_read_that_breaks_keeps_what_it_gave_and_deletes_nothing(store: Store) -> None:
    store.run(rows(range(3)))
    with pytest.raises(SourceError, match="the connection broke"):
        store.run([row(7), SourceError("the connection broke")])
    assert sorted(store.texts()) == ["t/0", "t/1", "t/2", "t/7"]
    finished = store.ledger.finished[-1]
    assert (finished.status, finished.report["error"]) == ("failed", "the connection broke")


def test_a_run_that_is_stopped_ends_with_what_it_committed(store: Store) -> None:
    stop = threading.Event()

    store.use(batch_documents=1)
    with pytest.raises(RunStopped):
        store.run(rows(range(50)), stop=stop, progress=lambda report: stop.set())
    assert store.ledger.finished[-1].status == "stopped"
    assert 1 <= len(store.texts()) < 50


def test_a_source_that_another_run_holds_is_refused(store: Store) -> None:
    with store.ledger.lease("shop"), pytest.raises(SourceBusy):
        store.run(rows(range(3)))
    assert store.texts() == {}


@pytest.mark.parametrize("moment", ["renew", "commit"])
def test_a_run_that_was_taken_over_takes_its_points_back(store: Store, moment: str) -> None:
    store.run(rows(range(3)))

    def taken_over(call: str) -> None:
        if call == moment:
            store.ledger.before = lambda call: None
            store.ledger.expire("shop")
            with store.ledger.lease("shop"):
                pass

    store.ledger.before = taken_over
    with pytest.raises(LeaseLost):
        store.run([row(0, "changed"), *rows(range(1, 3))])
    assert store.texts()["t/0"] == "row 0"
    assert store.index.count() == 3


def test_a_run_tells_how_far_it_is(store: Store) -> None:
    told: list[int] = []
    store.run([Expected(documents=3), *rows(range(3))], progress=lambda report: told.append(report.expected))
    assert set(told) == {3}


def test_what_is_expected_of_files_is_told_by_the_bytes_that_were_read(store: Store) -> None:
    report = store.run([Expected(size_bytes=400), row(1), row(2), Passed(size_bytes=100)])
    assert report.expected == 8


def test_what_an_operator_should_know_is_in_the_report(store: Store) -> None:
    assert store.run([Notice(text="a column was dropped"), row(1)]).notes == ["a column was dropped"]


# Tables, each a unit of its own.


def test_each_table_has_its_line_and_the_report_is_their_sum(store: Store) -> None:
    report = store.run([*whole(rows(range(3))), *whole(rows(range(2), table="u"), table="u"), end("t", "u")])
    assert [(line.table, line.read, line.added) for line in report.tables] == [("t", 3, 3), ("u", 2, 2)]
    assert (report.read, report.added, report.error) == (5, 5, "")
    assert store.ledger.finished[-1].status == "done"


def test_a_table_that_fails_leaves_the_others_in_step(store: Store) -> None:
    failed = ScopeFailed(scope="t", reason="it is locked")
    report = store.run([*rows(range(2)), failed, *whole(rows(range(2), table="u"), table="u"), end("t", "u")])
    assert (report.error, [line.error for line in report.tables]) == ("t: it is locked", ["it is locked", ""])
    assert store.ledger.finished[-1].status == "partial"
    assert len(store.texts()) == 4


def test_a_source_of_which_every_table_failed_has_failed(store: Store) -> None:
    with pytest.raises(SourceError, match=r"^it is locked$"):
        store.run([ScopeFailed(scope="t", reason="it is locked"), end("t")])
    with pytest.raises(SourceError, match=r"t: locked\nu: gone"):
        store.run([ScopeFailed(scope="t", reason="locked"), ScopeFailed(scope="u", reason="gone"), end("t", "u")])


def test_a_source_that_would_lose_too_much_is_refused_until_it_is_allowed(store: Store) -> None:
    store.run([*whole(rows(range(60))), end("t")])
    with pytest.raises(MassDeleteRefused, match=r"Table 't' of source 'shop': 30 of its 60 .*--allow-mass-delete"):
        store.run([*whole(rows(range(30))), end("t")])
    assert len(store.texts()) == 60
    assert store.run(allow_mass_delete=True).deleted == 30
    assert store.is_in_step()


def test_a_table_whose_deletions_were_refused_keeps_its_listing_open(store: Store) -> None:
    store.run([*whole(rows(range(60))), end("t")])
    with pytest.raises(MassDeleteRefused):
        store.run([*whole(rows(range(30))), end("t")])
    assert list(store.ledger.notes("shop").find(scope="t", name=LISTING))


@pytest.mark.parametrize("moment", ["upsert", "delete", "mark"])
def test_a_run_whose_index_fails_is_made_good_by_the_next(store: Store, moment: str) -> None:
    store.run(rows(range(4)))

    def fail(request: str) -> None:
        if request == moment:
            raise IndexUnavailable("Qdrant is away")

    store.before_request = fail
    with pytest.raises(IndexUnavailable):
        store.run([row(0, "changed"), row(1), row(2)])
    store.before_request = lambda request: None
    store.run()
    assert store.texts() == {"t/0": "changed", "t/1": "row 1", "t/2": "row 2"}
    assert store.is_in_step()


@pytest.mark.parametrize("moment", ["start_format", "renew", "commit", "remove", "drop_scope_notes", "read_anew"])
def test_a_run_whose_ledger_fails_is_made_good_by_the_next(store: Store, moment: str) -> None:
    store.run(rows(range(4)))

    def fail(call: str) -> None:
        if call == moment:
            raise OSError("the disk is full")

    store.ledger.before = fail
    with pytest.raises(OSError, match="full"):
        store.run([row(0, "changed"), row(1), row(2)], full=moment == "start_format")
    store.ledger.before = lambda call: None
    store.run()
    assert store.texts() == {"t/0": "changed", "t/1": "row 1", "t/2": "row 2"}
    assert store.is_in_step()


def test_a_document_without_text_is_known_and_has_no_points(store: Store) -> None:
    blank = Document(id="t/1", source="shop", title="t", text=" ", uri="db://shop", scope="t")
    assert (store.run([blank]).added, store.run([blank]).unchanged, store.texts()) == (1, 1, {})

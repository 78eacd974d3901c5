"""What changed in a table: over one in memory, which notes what it was asked."""

import random
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from connectors.sql.changes.patience import Patience
from connectors.sql.changes.ranges import in_order, range_of
from connectors.sql.table.buckets import bucket_of
from rag.events import (
    Checkpoint,
    CheckpointGroup,
    Expected,
    Listing,
    Met,
    Notice,
    ScopeComplete,
    SourceEvent,
    Unreadable,
    Upsert,
)
from rag.ports import LISTING
from tests.support.following import Follower
from tests.support.memory_table import CURSOR, RANGES, SCAN, MemoryTable, TableSource

WAYS: dict[str, dict[str, Any]] = {
    "hashed, whole numbers": {"method": RANGES},
    "hashed, other keys": {"method": RANGES, "counts_keys": False, "has_buckets": False},
    "scanned": {"method": SCAN, "hashes_inside": False, "counts_keys": False, "has_buckets": False},
}


def rows(count: int, *, start: int = 0) -> dict[int, str]:
    return {number: f"row {number}" for number in range(start, start + count)}


def followed(count: int = 300, **options: Any) -> tuple[MemoryTable, Follower]:
    """A table of so many rows, and who follows it and has read it once."""
    table = MemoryTable(rows=rows(count), **options)
    follower = Follower(source=TableSource(table=table))
    follower.read()
    return table, follower


def found(follower: Follower) -> dict[int, str]:
    """The rows that an index has."""
    return {int(i.split("/")[1]): d.text.split("Body: ")[1] for i, d in follower.documents.items()}


def kinds(table: MemoryTable) -> set[str]:
    return {kind for kind, _ in table.asked}


def one(events: list[SourceEvent], kind: type) -> Any:
    (event,) = (event for event in events if isinstance(event, kind))
    return event


@pytest.mark.parametrize("way", WAYS)
def test_a_first_read_notes_ranges_that_cover_all_keys(way: str) -> None:
    table, follower = followed(300, **WAYS[way])
    assert found(follower) == table.rows
    noted = [range_of(name, head) for _, name, head in follower.notes.find() if name.startswith("range-")]
    ranges = in_order(noted)
    assert ranges is not None
    assert ranges[-1].high is None
    assert sum(r.rows for r in ranges) == 300


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("way", WAYS)
def test_whatever_changes_and_wherever_reads_break_off_the_index_ends_with_the_table_s_rows(
    way: str, seed: int
) -> None:
    chance = random.Random(seed)
    table = MemoryTable(rows=rows(chance.choice([0, 3, 150])), **WAYS[way])
    table.size.rows = chance.choice([4, 32, 1024])
    follower = Follower(source=TableSource(table=table))
    for _ in range(4):
        table.rows |= dict.fromkeys(chance.sample(range(400), chance.choice([0, 1, 20, 200])), f"new {chance.random()}")
        for number in chance.sample(sorted(table.rows), min(len(table.rows), chance.choice([0, 1, 40]))):
            del table.rows[number]
        follower.read(stop_after=chance.choice([None, chance.randrange(300)]))
    follower.read()
    follower.read()  # where the numbers showed that a broken read had left a row behind
    assert found(follower) == table.rows
    assert follower.changed() == set()


def test_a_table_that_did_not_change_is_compared_in_one_statement() -> None:
    table, follower = followed(1000)
    assert follower.changed() == set()
    assert [kind for kind, _ in table.asked] == ["sums"]


def test_of_a_range_that_differs_only_the_changed_row_is_read() -> None:
    table, follower = followed(1000)
    table.rows[500] = "changed"
    assert follower.changed() == {"t/500"}
    assert [about for kind, about in table.asked if kind == "by_keys"] == [[500]]
    ((ranges, _),) = [about for kind, about in table.asked if kind == "digests"]
    assert [low < (500,) <= high for low, high in ranges] == [True]


def test_of_a_range_that_differs_only_the_buckets_that_do_are_read() -> None:
    table, follower = followed(1000)
    table.rows[500] = "changed"
    follower.read()
    ((_, among),) = [about for kind, about in table.asked if kind == "digests"]
    assert [len(each) for each in among] == [1]


def test_of_a_short_range_all_buckets_are_read() -> None:
    table, follower = followed(10)
    table.rows[5] = "changed"
    follower.read()
    assert [about for kind, about in table.asked if kind == "sums" and about[1] > 1] == []


def test_keys_that_tell_no_bucket_are_compared_whole() -> None:
    table, follower = followed(600, **WAYS["hashed, other keys"])
    table.rows[5] = "changed"
    assert follower.changed() == {"t/5"}
    assert {about[1] for kind, about in table.asked if kind == "sums"} == {1}


def test_a_range_that_grew_is_noted_in_pieces_all_at_once() -> None:
    table, follower = followed(64)
    table.rows |= rows(150, start=64)
    group = one(follower.read(), CheckpointGroup)
    assert len(group.parts) == 3
    assert len({part.name for part in group.parts}) == 3
    assert [part.head["rows"] for part in group.parts] == [64, 64, 86]
    assert found(follower) == table.rows


def test_a_range_that_grew_by_up_to_twice_its_size_stays_one() -> None:
    table, follower = followed(64)
    table.rows |= rows(64, start=64)
    assert len(one(follower.read(), CheckpointGroup).parts) == 1


def test_a_range_that_grew_past_eight_pieces_is_read_in_pages() -> None:
    table, follower = followed(64)
    table.rows |= rows(8 * 64 - 64, start=64)
    follower.read()
    assert "digests" in kinds(table)
    table.rows |= rows(2000, start=8 * 64)
    follower.read()
    assert kinds(table) == {"sums", "page"}
    assert found(follower) == table.rows


def test_a_range_that_nobody_counted_and_that_grew_past_eight_pieces_is_read_in_pages() -> None:
    table, follower = followed(10, method=CURSOR, hashes_inside=False, counts_keys=False, has_buckets=False)
    table.rows |= rows(2100, start=10)
    follower.read()
    assert {"digests", "page"} <= kinds(table)
    assert found(follower) == table.rows


def test_many_changed_rows_are_looked_up_a_page_at_a_time() -> None:
    table, follower = followed(640)
    table.size.rows = 10
    table.rows |= dict.fromkeys(range(0, 640, 80), "changed")  # one in each of eight ranges
    assert len(follower.changed()) == 8
    table.rows |= dict.fromkeys(range(0, 640, 16), "changed again")  # four in each of ten
    assert len(follower.changed()) == 40
    assert [len(about) for kind, about in table.asked if kind == "by_keys"] == [8, 8, 8, 8, 8]


def test_a_range_with_more_changed_rows_than_a_page_is_read_whole() -> None:
    table, follower = followed(64)
    table.size.rows = 10
    table.rows = dict.fromkeys(table.rows, "changed")
    follower.read()
    assert "by_keys" not in kinds(table)
    assert found(follower) == table.rows


def test_a_row_that_is_gone_is_told_with_the_note_of_its_range() -> None:
    table, follower = followed(64)
    del table.rows[7]
    (part,) = one(follower.read(), CheckpointGroup).parts
    assert part.gone == ("t/7",)
    assert 7 not in found(follower)


def test_a_row_that_a_look_up_does_not_find_is_gone_only_when_its_range_was_read() -> None:
    table, follower = followed(64)
    table.rows[7] = "changed"
    table.vanishing = {7}
    follower.read()
    assert "page" in kinds(table)
    assert found(follower)[7] == "changed"


def test_a_range_that_grows_while_some_of_its_buckets_are_compared_is_read_whole() -> None:
    table, follower = followed(64)
    table.rows[7] = "changed"
    same = [number for number in range(64, 2000) if bucket_of(str(number), 8) == bucket_of("7", 8)][:70]
    table.meanwhile = lambda: table.rows.update(dict.fromkeys(same, "came meanwhile"))
    follower.read()
    assert "page" in kinds(table)
    assert found(follower) == table.rows
    assert follower.changed() == set()


def test_a_table_most_of_whose_ranges_are_empty_is_listed_anew() -> None:
    table, follower = followed(66 * 64)
    for number in range(33 * 64):
        del table.rows[number]
    assert not any(isinstance(event, Listing) for event in follower.read())  # which finds them empty: half of them
    assert not any(isinstance(event, Listing) for event in follower.read())
    for number in range(33 * 64, 34 * 64):
        del table.rows[number]
    follower.read()
    assert one(follower.read(), Listing).resumes is False
    assert found(follower) == table.rows


def test_a_few_empty_ranges_are_no_reason_to_list_anew() -> None:
    table, follower = followed(63 * 64)
    table.rows.clear()
    follower.read()
    assert not any(isinstance(event, Listing) for event in follower.read())


def test_a_column_that_is_new_has_all_rows_compared_and_is_told() -> None:
    table, follower = followed(10)
    table.columns = {**table.columns, "price": sa.Integer()}
    events = list(TableSource(table=replace_values(table)).read(follower.notes))
    assert "column price was added" in one(events, Notice).text
    assert one(events, Listing).resumes is False


def replace_values(table: MemoryTable) -> MemoryTable:
    """A table whose rows have a third value."""

    class Wider(MemoryTable):
        def _row(self, number: int) -> Any:
            row = super()._row(number)
            return replace(row, values=(*row.values, 5))

    return Wider(rows=table.rows, columns=table.columns)


def test_another_comment_has_all_rows_compared_and_is_nothing_to_tell() -> None:
    table, follower = followed(10)
    table.comment = "all albums"
    events = follower.read()
    assert any(isinstance(event, Listing) for event in events)
    assert not any(isinstance(event, Notice) for event in events)


def test_notes_with_a_gap_are_dropped_and_told() -> None:
    table, follower = followed(300)
    del follower.notes.kept["t", "range-2"]
    events = follower.read()
    assert "is inconsistent" in one(events, Notice).text
    assert one(events, Listing).resumes is False
    assert found(follower) == table.rows


@pytest.mark.parametrize("kept", [0, 4])
def test_notes_of_a_listing_that_ended_and_cover_not_all_keys_are_dropped(kept: int) -> None:
    _, follower = followed(300)
    for number in range(kept + 1, 6):
        del follower.notes.kept["t", f"range-{number}"]
    assert "is inconsistent" in one(follower.read(), Notice).text


def test_a_listing_that_was_broken_off_goes_on_where_it_was() -> None:
    table = MemoryTable(rows=rows(300))
    follower = Follower(source=TableSource(table=table))
    follower.read(stop_after=2 + 1 + 65 + 65 + 10)
    assert len(list(follower.notes.find(name=LISTING))) == 1
    table.rows[10] = "changed meanwhile"
    events = follower.read()
    listing = one(events, Listing)
    assert listing.resumes
    met = [i for event in events if isinstance(event, Met) for i in event.document_ids]
    assert sorted(met) == sorted(f"t/{n}" for n in range(128))
    assert [event.documents for event in events if isinstance(event, Expected)] == [1, 300 - 128]
    assert found(follower) == table.rows
    assert one(events, ScopeComplete).documents == 300


def test_a_listing_of_which_only_the_end_was_not_kept_reads_no_row_again() -> None:
    table = MemoryTable(rows=rows(100))
    follower = Follower(source=TableSource(table=table))
    whole = follower.read()
    broken = Follower(source=TableSource(table=table))
    broken.read(stop_after=len(whole) - 3)
    assert broken.changed() == set()
    assert "page" not in kinds(table)
    assert broken.changed() == set()
    assert not any(head["listing"] for _, _, head in broken.notes.find(name="table"))


def test_rows_that_were_counted_before_are_not_expected_again() -> None:
    table = MemoryTable(rows=rows(5))
    assert [e.documents for e in TableSource(table=table).read() if isinstance(e, Expected)] == [5]
    assert [e for e in TableSource(table=table, is_counted=True).read() if isinstance(e, Expected)] == []


def test_rows_without_a_key_are_one_entry_until_they_have_one() -> None:
    table, follower = followed(5, without_key=3)
    events = follower.read()
    assert "3 rows have NULL in their key (id)" in one(events, Unreadable).reason
    assert one(events, ScopeComplete).documents == 6
    table.without_key = 0
    events = list(TableSource(table=replace(table, comment="")).read(follower.notes))
    notes = [event for event in events if isinstance(event, Checkpoint)]
    assert [note.gone for note in notes if note.name == "no-key"] == [("t/NULL",)]
    assert one(events, ScopeComplete).documents == 5


def test_a_table_that_always_had_keys_says_nothing_of_them() -> None:
    _, follower = followed(5)
    assert not any(getattr(event, "name", "") == "no-key" for event in follower.read())


def test_rows_of_a_new_table_may_be_indexed_under_an_id_made_of_their_content() -> None:
    table = MemoryTable(rows=rows(2))
    first = list(TableSource(table=table).read())
    assert all(e.moved_from.startswith("t/~") for e in first if isinstance(e, Upsert))
    assert one(first, Listing).by_content
    follower = Follower(source=TableSource(table=table))
    follower.read()
    table.rows[1] = "changed"
    assert [event.moved_from for event in follower.read() if isinstance(event, Upsert)] == [""]


def by_cursor(count: int, **options: Any) -> tuple[MemoryTable, Follower]:
    table = MemoryTable(
        rows=rows(count), moved=dict.fromkeys(range(count), 1), method=CURSOR, tombstone="gone", hashes_inside=False,
        counts_keys=False, has_buckets=False,
    )  # fmt: skip
    follower = Follower(source=TableSource(table=table, **options))
    follower.read()
    return table, follower


SELDOM = Patience(reconcile_every=1e9)  # thirty years


def move(table: MemoryTable, number: int, text: str, at: int | None) -> None:
    table.rows[number], table.moved[number] = text, at


def test_a_row_whose_cursor_moved_is_read_without_comparing_the_table() -> None:
    table, follower = by_cursor(50, patience=SELDOM)
    follower.read()
    for number in range(49):
        move(table, number, table.rows[number], 1)
    move(table, 50, "new", 3)
    follower.read()
    move(table, 50, "newer", 4)
    events = follower.read()
    assert [event.document.id for event in events if isinstance(event, Upsert)] == ["t/50"]
    assert kinds(table) == {"since", "without_cursor"}
    assert one(events, ScopeComplete).documents is None


def test_when_it_is_due_the_whole_table_is_compared_too() -> None:
    table, follower = by_cursor(5, patience=Patience(reconcile_every=0))
    move(table, 6, "new", 3)
    follower.read()
    del table.rows[2]
    events = follower.read()
    assert found(follower) == table.rows
    assert one(events, ScopeComplete).documents == 5


def test_a_first_read_with_a_cursor_counts_as_a_comparison() -> None:
    table, follower = by_cursor(5, patience=SELDOM)
    follower.read()
    assert "digests" not in kinds(table)


def test_rows_at_the_mark_are_read_again_page_by_page_and_each_once() -> None:
    table, follower = by_cursor(50, patience=SELDOM)
    table.size.rows = 7
    events = follower.read()
    assert sorted(e.document.id for e in events if isinstance(e, Upsert)) == sorted(f"t/{n}" for n in range(50))


def test_rows_whose_cursor_is_empty_are_read_every_time_page_by_page() -> None:
    table, follower = by_cursor(5, patience=SELDOM)
    for number in range(100, 120):
        move(table, number, "no time", None)
    move(table, 9, "new", 2)
    table.size.rows = 7
    follower.read()
    assert follower.changed() == {"t/9", *(f"t/{n}" for n in range(100, 120))}


def test_a_table_whose_cursor_is_always_empty_is_read_by_those_rows_alone() -> None:
    table, follower = by_cursor(0, patience=SELDOM)
    move(table, 1, "no time", None)
    assert follower.changed() == {"t/1"}
    assert kinds(table) == {"without_cursor"}


def test_rows_that_the_tombstone_marks_are_told_as_gone() -> None:
    table, follower = by_cursor(50, patience=SELDOM)
    for number in range(20):
        table.dead.add(number)
        table.moved[number] = 2
    table.size.rows = 7
    follower.read()
    assert set(found(follower)) == set(range(20, 50))


def test_without_a_tombstone_column_no_dead_rows_are_looked_for() -> None:
    table, follower = by_cursor(5, patience=SELDOM)
    table.tombstone = ""
    follower = Follower(source=TableSource(table=table, patience=SELDOM))
    follower.read()
    follower.read()
    assert {about[2] for kind, about in table.asked if kind == "since"} == {False}


def test_a_mark_that_was_lost_has_the_table_compared() -> None:
    table, follower = by_cursor(5, patience=SELDOM)
    del follower.notes.kept["t", "mark"]
    move(table, 3, "changed", 2)
    assert follower.changed() == {"t/3"}
    assert "since" not in kinds(table)

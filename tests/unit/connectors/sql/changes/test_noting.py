"""How a table's ranges are noted: their sizes, and the pieces of one that is noted anew."""

import pytest

from connectors.sql.changes.noting import Split, TableRead
from connectors.sql.changes.ranges import Range
from connectors.sql.table.decoding import Row
from tests.support.memory_table import MemoryTable


def reading(**options: bool) -> TableRead:
    return TableRead(reader=MemoryTable(rows={}, **options), notes=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("counts_keys", "sizes"), [(True, (64, 128, 512, 500, 8)), (False, (256, 512, 2048, 40, 32))])
def test_ranges_are_shorter_and_more_at_once_where_arithmetic_tells_them_apart(
    counts_keys: bool, sizes: tuple[int, ...]
) -> None:
    read = reading(counts_keys=counts_keys)
    assert (read.range_rows, read.most_rows, read.refresh_rows, read.group_ranges, read.buckets) == sizes


def test_without_buckets_a_range_is_one() -> None:
    assert reading(has_buckets=False).buckets == 1


def split(old: dict[str, int], **options: bool) -> Split:
    return Split(read=reading(**options), range=Range(number=0, low=None, high=None), old=old, low=None)


def test_a_range_of_a_few_rows_is_compared_whole() -> None:
    assert split({str(n): n for n in range(15)}).in_buckets() == {}
    assert sum(map(len, split({str(n): n for n in range(16)}).in_buckets().values())) == 16


def test_a_range_with_a_key_that_shows_no_text_is_compared_whole() -> None:
    assert split({f"%float:{n}": n for n in range(20)}).in_buckets() == {}


def test_a_range_that_is_as_it_was_is_not_noted_again() -> None:
    same = split({"1": 10})
    same.add([Row(key=(1,), name="1", digest=10)])
    assert list(same.end()) == []


def test_a_row_that_came_and_one_that_went_are_noted() -> None:
    changed = split({"1": 10})
    changed.add([Row(key=(2,), name="2", digest=20)])
    ((note,),) = [group.parts for group in changed.end()]
    assert ((note.head or {})["rows"], note.gone) == (1, ("t/1",))

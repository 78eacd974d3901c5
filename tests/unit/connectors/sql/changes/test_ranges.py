"""Ranges of keys: those that are noted hold together, or are not used."""

from dataclasses import replace
from itertools import pairwise

import pytest

from connectors.sql.changes.ranges import Range, digests_in, in_order, note_of, range_of


def chain(*bounds: object) -> list[Range]:
    edges = [None, *((bound,) for bound in bounds), None]
    return [Range(number=i, low=low, high=high) for i, (low, high) in enumerate(pairwise(edges))]


def test_ranges_come_in_order_by_their_bounds_alone() -> None:
    whole = chain("b", "A", "ä", 5.5)
    assert in_order(whole[::-1]) == whole
    assert in_order([]) == []
    assert in_order(whole[:2][::-1]) == whole[:2]  # a listing that was broken off ends at a key


@pytest.mark.parametrize("number", [1, 2])
def test_overlapping_ranges_do_not_hold_together(number: int) -> None:
    """As a split leaves them that was kept in part: the pieces, and what they were cut from."""
    whole = chain(10, 20, 30)
    piece = replace(whole[number], number=9, high=(12 + 10 * number,))
    assert in_order([*whole, piece]) is None


def test_ranges_with_a_gap_do_not_hold_together() -> None:
    whole = chain(10, 20, 30)
    assert in_order([*whole[:1], *whole[2:]]) is None
    assert in_order(whole[1:]) is None


def test_a_range_comes_back_from_its_note() -> None:
    noted = note_of("t", Range(number=4, low=(1, "a"), high=None), {"1": 5, "2": 2**60}, ["3"])
    assert noted.gone == ("t/3",)
    back = range_of(noted.name, noted.head or {})
    assert (back.low, back.high, back.rows, back.total) == ((1, "a"), None, 2, 5 + 2**60)
    assert digests_in(noted.body) == {"1": 5, "2": 2**60}

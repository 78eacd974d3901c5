"""How far a cursor column is trusted."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from connectors.sql.changes.patience import Patience


@pytest.mark.parametrize(
    ("newest", "start"),
    [
        (datetime(2026, 1, 1, 0, 4), datetime(2025, 12, 31, 23, 59)),
        (datetime(2026, 1, 1, 0, 5, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01 00:05:00", "2026-01-01 00:00:00"),
        ("2026-01-01T00:05:00", "2026-01-01T00:00:00"),
        ("rev-17", "rev-17"),
        (1700000000, 1700000000),
        (date(2026, 1, 1), date(2026, 1, 1)),
        (None, None),
    ],
)
def test_rows_are_read_again_from_a_while_before_the_newest_time(newest: Any, start: Any) -> None:
    assert Patience(overlap=300).start(newest) == start


def test_the_whole_table_is_compared_every_so_often() -> None:
    patience = Patience(reconcile_every=60)
    assert patience.is_due(100.0, now=160.0)
    assert not patience.is_due(100.0, now=159.9)
    assert Patience(reconcile_every=0).is_due(100.0, now=100.0)

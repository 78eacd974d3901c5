"""How far a cursor column is trusted."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a cursor column is trusted, in seconds: rows this much older than the newest are read again (overlap), and
    every so often the whole table is compared (reconcile_every; 0: in every run)."""

    overlap: float = 300
    reconcile_every: float = 0

    def start(self, newest: Any) -> Any:
        """From where on rows are read again: a time less the overlap.

        Any other value is given as it is, because rows that equal it are read again anyway.
        """
        if isinstance(newest, datetime):
            return newest - timedelta(seconds=self.overlap)
        if isinstance(newest, str):
            try:
                moved = datetime.fromisoformat(newest) - timedelta(seconds=self.overlap)
            except ValueError:
                return newest
            return moved.isoformat(sep="T" if "T" in newest else " ")
        return newest

    def is_due(self, reconciled_at: float, now: float) -> bool:
        """Whether the whole table is compared now. Both are seconds since the epoch."""
        return now - reconciled_at >= self.reconcile_every

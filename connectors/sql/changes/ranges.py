"""Ranges of keys that together cover a table, as they are noted between reads."""

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.sql.keys import Key, decode, encode
from rag.events import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Keys after low, up to high (None: no limit), as the last read found them."""

    number: int
    low: Key | None
    high: Key | None
    rows: int = 0
    total: int = 0

    @property
    def name(self) -> str:
        return f"range-{self.number}"


def in_order(ranges: Sequence[Range]) -> list[Range] | None:
    """Ranges, each beginning where the one before it ends, from the first key on; None where they do not hold together.

    They are followed by their bounds, not sorted: only the database knows the order of its keys.
    """
    starting = {_bound(r.low): r for r in ranges}
    chain: list[Range] = []
    at = _bound(None)
    while (r := starting.pop(at, None)) is not None:
        chain.append(r)
        if r.high is None:
            break
        at = _bound(r.high)
    return chain if len(chain) == len(ranges) else None


def _bound(key: Key | None) -> str:
    return json.dumps(encode(key)) if key is not None else ""


def range_of(name: str, head: Mapping[str, Any]) -> Range:
    """A range from its note."""
    low, high = (decode(head[side]) if head[side] is not None else None for side in ("low", "high"))
    return Range(number=int(name.partition("-")[2]), low=low, high=high, rows=head["rows"], total=int(head["total"]))


def note_of(scope: str, r: Range, digests: Mapping[str, int], gone: Collection[str]) -> Checkpoint:
    """A range with its rows' names and digests. gone: names of rows that it does not have any more."""
    head = {
        "low": encode(r.low) if r.low is not None else None,
        "high": encode(r.high) if r.high is not None else None,
        "rows": len(digests),
        "total": str(sum(digests.values())),
    }
    body = zlib.compress(json.dumps(digests).encode(), 1)
    ids = tuple(f"{scope}/{name}" for name in sorted(gone))
    return Checkpoint(scope=scope, name=r.name, head=head, body=body, gone=ids)


def digests_in(body: bytes) -> dict[str, int]:
    """The rows of a noted range: their names and digests."""
    return dict(json.loads(zlib.decompress(body))) if body else {}

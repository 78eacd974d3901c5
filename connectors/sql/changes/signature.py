"""What a table's rows and their digests hang on, besides their values: where that changes, all rows are compared."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from connectors.sql.table.reader import TableReader

_FORMAT = 3  # of rendered rows and of notes: a change has every table read and compared anew


def signature_of(reader: TableReader) -> dict[str, Any]:
    """All that a row's text and digest hang on, besides its values; in the form that it comes back from JSON in."""
    table = reader.table
    found = {
        "format": _FORMAT,
        "method": [reader.method.name, reader.method.column, reader.tombstone],
        "columns": {name: repr(column_type) for name, column_type in table.columns.items()},
        "key": list(table.key),
        "comments": [table.comment, {name: comment for name, comment in table.column_comments.items() if comment}],
        "references": [[list(r.columns), r.table, list(r.referenced), list(r.labels)] for r in table.references],
        "labels": list(table.labels),
        "place": [asdict(reader.place.labels), reader.place.address],
        "only": table.only,
        **({"rights": 2} if reader.place.labels.are_of_rows else {}),  # how rows are read that say who may see them
    }
    kept: dict[str, Any] = json.loads(json.dumps(found))
    return kept


def drift(before: Mapping[str, Any], now: Mapping[str, Any], scope: str) -> str:
    """What changed in a table's columns between two signatures, in a sentence; empty when nothing did."""
    old, new = before["columns"], now["columns"]
    parts = [f"column {name} was added" for name in new if name not in old]
    parts += [f"column {name} was removed" for name in old if name not in new]
    parts += [
        f"column {name} is {new[name]}, was {old[name]}" for name in new if name in old and new[name] != old[name]
    ]
    if not parts:
        return ""
    return f"Table {scope}: {'; '.join(parts)}. Its rows are compared again; those whose text changed are re-indexed."

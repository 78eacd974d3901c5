"""Deciding what of a source is gone: one table, or one folder, at a time.

A document is deleted when its source said so, or read all of its scope and did not meet it. Where that would take more
than a share and more than a few, or all there are, everything stays until somebody says that it is right.
"""

from dataclasses import dataclass, field

from rag.events import Checkpoint, Listed
from service.store.ledger.ports import StoredDocument

FEW = 20


@dataclass(slots=True, kw_only=True)
class Unit:
    """What has been read since the last table ended: what waits for its end, and what has been counted.

    moved: ids that documents had before; that they go is no loss. by_content: ids are made of the content, so that a
    change is one document that goes and one that comes. waits: the source said that a document is gone, so what it
    notes from here on must not be kept without that. withdrawn: rows of which nothing may stay in the index.
    """

    fetched: int = 0
    added: int = 0
    updated: int = 0
    withdrawn: int = 0
    by_content: bool = False
    waits: bool = False
    gone: dict[str, None] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    listed: list[Listed] = field(default_factory=list)
    deferred: list[Checkpoint] = field(default_factory=list)
    listing: set[str] = field(default_factory=set)  # scopes whose every document comes once, from here on


def refusal(gone: dict[str, StoredDocument], unit: Unit, *, before: int, share: float) -> str:
    """Why so much must not be deleted, in words; empty when it may. before: documents of the table or folder."""
    lost = len(gone.keys() - unit.moved)
    if unit.by_content:
        lost = max(lost - unit.added - unit.withdrawn, 0)
    if not lost:
        return ""
    if len(gone) >= before:
        return f"all of its {before} indexed documents are gone"
    if lost > FEW and lost > share * before:
        return f"{lost} of its {before} indexed documents are gone, more than {share:.0%}"
    return ""

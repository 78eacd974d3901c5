"""What a run did, for people and programs."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(slots=True, kw_only=True)
class TableReport:
    """What a run did with one table, in documents. error: why it was not brought in step; empty when it was.

    read: documents that the table holds by this run, those too whose digest said that they had not changed. Each is
    added, updated, unchanged or quarantined.
    """

    table: str
    read: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    quarantined: int = 0
    error: str = ""


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run did; the counts are documents unless named otherwise.

    read: documents of the source that were compared, by their content or by a digest of it: read = added + updated +
    unchanged + quarantined. fetched: those of them whose content was read. expected: about how many the run will
    fetch, which of files is told by the bytes read of those to be read; 0 when the source does not say. tables: the
    same of each table. error: of all that failed. mass_delete_refused: whether documents were kept because more were
    gone than a run may delete unasked.
    """

    source: str
    read: int = 0
    fetched: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    expected: int = 0
    bytes_read: int = 0
    bytes_expected: int = 0
    chunks_embedded: int = 0
    chunks_reused: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    error: str = ""
    mass_delete_refused: bool = False
    tables: list[TableReport] = field(default_factory=list)
    unreadable: list[dict[str, str]] = field(default_factory=list)
    ignored: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    quarantined: int = 0  # documents set aside, by this run and by those before it

    def as_dict(self) -> dict[str, Any]:
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return found | {"tables": [asdict(table) for table in self.tables]}

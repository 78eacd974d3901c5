"""A source with an index and a state of its own: it is read, and shows what would answer."""

from typing import Any

from service.syncing.report import TableReport
from service.syncing.sync import Options, Report, ingest
from tests.crash.harness import Setting, difference
from tests.support.databases import change

Rows = dict[str, str]


class Store:
    """A source with an index and a state of its own; reads, and shows what would answer."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.database = setting.database()
        self.parts = setting.parts(database=self.database)

    def run(self, **options: Any) -> Report:
        return ingest(self.parts, "shop", self.setting.source, Options(**options))

    def rows(self) -> Rows:
        """Texts by document."""
        payloads = (p for p, _ in self.setting.snapshot().values() if "source" in p)
        return {payload["document_id"]: payload["text"] for payload in payloads}

    def ids(self) -> set[str]:
        return set(self.rows())

    def is_a_clean_rebuild(self) -> bool:
        clean = Store(self.setting.anew())
        clean.run()
        found = difference(clean.setting.snapshot(), self.setting.snapshot())
        clean.close()
        return (found.lost, found.duplicate, found.stale) == (0, 0, 0)

    def close(self) -> None:
        self.database.close()


def line(report: Report, table: str) -> TableReport:
    return next(each for each in report.tables if each.table == table)


def adds_up(report: Report) -> bool:
    sums: list[Report | TableReport] = [report, *report.tables]
    return all(r.read == r.added + r.updated + r.unchanged + r.quarantined for r in sums)


def fill(url: str, ids: range, table: str = "a", *, create: bool = True) -> None:
    values = ", ".join(f"({i}, 'row {i}')" for i in ids)
    made = [f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name VARCHAR(80))"] if create else []
    change(url, *made, f"INSERT INTO {table} VALUES {values}")

"""What a run did, for people and programs."""

import json

import pytest

from rag.events import Unreadable
from service.syncing.report import Report, TableReport
from tests.unit.service.syncing.conftest import Item, Store, end, row, rows, whole


def test_a_report_can_be_json_with_its_tables() -> None:
    report = Report(source="shop", added=2, tables=[TableReport(table="t", added=2)], notes=["a note"])
    told = json.loads(json.dumps(report.as_dict()))
    assert (told["source"], told["added"], told["notes"]) == ("shop", 2, ["a note"])
    assert (told["tables"][0]["table"], told["tables"][0]["added"], told["tables"][0]["error"]) == ("t", 2, "")


@pytest.mark.parametrize("options", [{}, {"full": True}])
def test_what_was_read_is_added_updated_unchanged_or_set_aside(store: Store, options: dict[str, bool]) -> None:
    store.run([*whole(rows(range(9))), *whole(rows(range(3), table="u"), table="u"), end("t", "u")])
    bad = Unreadable(document_id="t/20", scope="t", reason="broken")
    changed: list[Item] = [row(0, "new"), *rows(range(1, 8)), row(10), row(11, "poison"), bad]
    report = store.run([*whole(changed), *whole(rows(range(3), table="u"), table="u"), end("t", "u")], **options)
    counted: list[Report | TableReport] = [report, *report.tables]
    for each in counted:
        assert each.read == each.added + each.updated + each.unchanged + each.quarantined
    assert report.read == 14

"""What people read on the terminal."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from rag.ports import Scope
from rag.types import Answer, Citation
from service.cli.terminal import (
    ingest_progress,
    place,
    print_answer,
    print_checks,
    print_hits,
    print_keys,
    print_measures,
    print_report,
    print_status,
    print_verified,
    reindex_progress,
)
from service.health.doctor import Check
from service.health.status import status
from service.store.keys import Key, Rights
from service.syncing.reindex import Copied
from service.syncing.report import Report, TableReport
from service.syncing.upkeep import Verified
from tests.unit.service.conftest import services_of

Capsys = pytest.CaptureFixture[str]


def printed(capsys: Capsys, function: Any, *arguments: Any) -> str:
    function(*arguments)
    return capsys.readouterr().out


def test_a_report_says_what_was_done_of_each_table_in_which_something_happened(capsys: Capsys) -> None:
    tables = [TableReport(table="orders", added=2), TableReport(table="quiet"), TableReport(table="bad", error="gone")]
    report = Report(source="[shop]", added=2, seconds=1.26, tables=tables, error="bad: gone", notes=["A note."])
    said = printed(capsys, print_report, report)
    assert said.startswith("[shop]: 0 read, 2 added")
    assert "in 1.3 s" in said
    assert "A note." in said
    assert ("orders" in said, "quiet" in said, "failed" in said) == (True, False, True)
    assert said.count("bad: gone") == 1


def test_a_single_table_needs_no_line_and_a_dry_run_is_told(capsys: Capsys) -> None:
    report = Report(source="shop", dry_run=True, tables=[TableReport(table="orders", added=2)])
    said = printed(capsys, print_report, report)
    assert ("orders" in said, "dry run" in said) == (False, True)


@pytest.mark.parametrize(("quarantined", "told"), [(1, False), (3, True)])
def test_what_could_not_be_read_is_told_and_how_much_was_so_before(
    capsys: Capsys, quarantined: int, told: bool
) -> None:
    report = Report(
        source="s",
        unreadable=[{"document_id": "b.pdf", "reason": "broken"}],
        ignored=[{"document_id": ".env", "reason": "a secret"}],
        quarantined=quarantined,
    )
    said = printed(capsys, print_report, report)
    assert "b.pdf: broken" in said
    assert ".env: a secret" in said
    assert ("2 documents" in said) is told


@pytest.mark.parametrize(("documents", "differs"), [(0, False), (1, True)])
def test_what_differs_is_told_with_how_to_mend_it(capsys: Capsys, documents: int, differs: bool) -> None:
    found = Verified(
        source="shop", documents=5, chunks=7, documents_without_points=documents, documents_of_another_version=0,
        points_without_document=0, ok=not differs, examples=["t/1"] if differs else [],
    )  # fmt: skip
    said = printed(capsys, print_verified, [found])
    assert "5 documents, 7 chunks" in said
    assert ("citewell ingest shop" in said, "t/1" in said) == (differs, differs)


def citation(**fields: Any) -> Citation:
    return Citation(
        **{
            "label": "k7f2", "source": "docs", "document_id": "a", "title": "Stores", "primary_key": None, "page": None,
            "start": 0, "end": 1, "quote": "x", "uri": "file:///a", "version": "", **fields,
        }
    )  # fmt: skip


def test_an_answer_stands_over_its_citations_and_a_page_is_named(capsys: Capsys) -> None:
    said = printed(capsys, print_answer, Answer(text="Yes [k7f2].", language="en", citations=(citation(page=3),)))
    assert said.startswith("Yes [k7f2].\n")
    assert "[k7f2]" in said.splitlines()[-1]
    assert "Stores, page 3" in said
    assert place(citation()) == "Stores"


def test_a_degraded_answer_says_why(capsys: Capsys) -> None:
    answer = Answer(text="Quote.", language="en", degraded=True, degraded_reason="away [x]")
    assert "away [x]" in printed(capsys, print_answer, answer)
    assert printed(capsys, print_answer, Answer(text="Quote.", language="en")) == "Quote.\n"


def test_hits_are_shown_with_their_score(capsys: Capsys) -> None:
    services = services_of()
    hits = services.searcher.retrieve("When does the Edmonton store open?", k=1, scope=Scope())
    assert "docs: 0.md\n  The Edmonton store opens" in printed(capsys, print_hits, hits)
    assert printed(capsys, print_hits, []).strip() == "Nothing found."


def test_the_status_has_a_line_for_each_source(capsys: Capsys) -> None:
    services = services_of()
    found = status(services.settings, services.overview()) | {"points": 2}
    said = printed(capsys, print_status, found)
    assert "docs" in said
    assert "never" in said
    assert "2 chunks in the index" in said


@pytest.mark.parametrize(
    ("fields", "state"), [({}, "valid"), ({"revoked_at": 1.0}, "revoked"), ({"expires_at": 1.0}, "expired")]
)
def test_a_key_is_shown_with_its_state(capsys: Capsys, fields: dict[str, Any], state: str) -> None:
    key = Key(id="k1", name="[shop]", rights=Rights(), created_at=1.0, expires_at=None, revoked_at=None)
    key = replace(key, **fields)
    said = printed(capsys, print_keys, [key]).splitlines()[1]
    assert "[shop]" in said
    assert said.rstrip().endswith(state)
    assert "all" in said


def test_checks_are_marked(capsys: Capsys) -> None:
    checks = [Check(name="index", ok=True, detail="fine"), Check(name="engine", ok=False, detail="away [1]")]
    assert printed(capsys, print_checks, checks) == "ok   index: fine\nfail engine: away [1]\n"


def test_measures_stand_by_leg_with_how_they_moved(capsys: Capsys) -> None:
    found = {"fused": {"nDCG@10": 0.5, "p95_ms": 3.0}, "words": {"nDCG@10": 0.25}}
    said = printed(capsys, print_measures, found, {"fused": {"nDCG@10": 0.4}, "words": {"nDCG@10": 0.25}})
    lines = {line.split()[0]: line.split()[1:] for line in said.splitlines()[1:]}
    assert lines == {"nDCG@10": ["0.5", "(+0.1)", "0.25"], "p95": ["ms", "3", "-"]}


def test_progress_for_programs_is_a_line_of_json_a_second(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    report = Report(source="shop", expected=100)
    with ingest_progress(as_json=True) as progress:
        for tenth in range(21):
            now, report.fetched = 100.0 + tenth / 10, 2 * tenth
            progress(report)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["read"] for line in lines] == [0, 20, 40]
    assert (lines[1]["event"], lines[1]["source"], lines[1]["documents_per_s"], lines[1]["eta_s"]) == (
        "progress", "shop", 20.0, 4,
    )  # fmt: skip
    assert lines[0]["eta_s"] is None


def test_a_re_index_says_nothing_where_nobody_looks(capsys: Capsys) -> None:
    with reindex_progress() as progress:
        progress(Copied(copied=1, total=2))
    assert capsys.readouterr().err == ""

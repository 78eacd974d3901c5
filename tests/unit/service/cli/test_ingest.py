"""`citewell ingest`: several sources, the exit code, and how signals end a run."""

import json
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from rag.boundary.exit_codes import ExitCode
from rag.documents import Document
from rag.errors import SourceError
from rag.events import SourceEvent, Unreadable
from rag.fakes import ListSource
from rag.lazy import Lazy
from rag.ports import Notes, Source
from service.catalogue import Catalogue
from service.cli import ingest as command
from service.cli.ingest import Request, ingest_sources, watch_sources
from service.store.ledger.memory import MemoryLedger
from service.syncing.syncer import Syncer
from service.wiring import Services
from tests.unit.service.conftest import MemoryCollection, binding, document, services_of, settings_of

Item = Document | SourceEvent | Exception
BROKEN = Unreadable(document_id="b.pdf", reason="it is broken", scope="b.pdf")
AWAY = SourceError("the folder is away")


class Listed(Catalogue):
    """A catalogue whose sources are lists."""

    listed: dict[str, Source]

    def connector(self, name: str) -> Any:
        return self.listed[name]


class Signalling(ListSource):
    """Signals this process when it is read."""

    def __init__(self, *numbers: signal.Signals, items: Iterable[Item] = ()) -> None:
        super().__init__(items)
        self._numbers = numbers

    def read(self, notes: Notes | None = None, /) -> Iterator[SourceEvent]:
        for number in self._numbers:
            os.kill(os.getpid(), number)
        yield from super().read(notes)


class Case:
    """A syncer over sources in memory."""

    def __init__(self, **sources: Source | list[Item]) -> None:
        settings = settings_of(sources={name: {"kind": "sql", "url": "sqlite://", "every": 3600} for name in sources})
        self.ledger, self.index = MemoryLedger(), MemoryCollection()
        services = services_of(settings, bound=binding(index=self.index))
        catalogue = Listed(settings, indexed=lambda: ())
        catalogue.listed = {
            n: ListSource(source) if isinstance(source, list) else source for n, source in sources.items()
        }
        syncer = Syncer(Lazy(lambda: self.ledger), services.collection, catalogue, settings, counter=services.counter)
        self.services: Services = replace(services, catalogue=catalogue, syncer=syncer)
        self.names = list(sources)

    def run(self, **request: bool) -> int:
        return ingest_sources(self.services.syncer, self.names, Request(**request))

    def json(self, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, Any]]]:
        code = self.run(as_json=True)
        return code, json.loads(capsys.readouterr().out)["sources"]


def page(name: str = "a.md") -> Document:
    return document(name, "Text.", source="docs", scope=name)


def test_sources_that_are_read_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(docs=[page()], more=[])
    assert case.run() == ExitCode.DONE
    assert "1 added" in capsys.readouterr().out
    assert case.index.count() == 1


@pytest.mark.parametrize(
    ("sources", "code"),
    [
        ({"a": [page()], "b": [page(), BROKEN]}, ExitCode.QUARANTINE),
        ({"a": [page(), BROKEN], "busy": []}, ExitCode.BUSY),
        ({"busy": [], "a": [AWAY]}, ExitCode.FAILED),
        ({"a": [AWAY], "b": [page(), BROKEN], "busy": [], "c": []}, ExitCode.FAILED),
    ],
)
def test_the_worst_of_the_sources_is_the_exit_code(sources: dict[str, list[Item]], code: ExitCode) -> None:
    case = Case(**sources)
    with ExitStack() as held:
        if "busy" in sources:
            held.enter_context(case.ledger.lease("busy"))
        assert case.run() == code


def test_a_source_that_fails_keeps_no_other_from_being_read(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(docs=[AWAY], more=[page()])
    assert case.run() == ExitCode.FAILED
    assert case.index.count() == 1
    assert "Error: the folder is away" in capsys.readouterr().err


def test_with_json_there_is_one_document_with_a_report_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    code, [docs, more] = Case(docs=[page()], more=[AWAY]).json(capsys)
    assert (code, docs["source"], docs["added"]) == (1, "docs", 1)
    assert (more["source"], more["error"]) == ("more", "the folder is away")


def test_what_is_asked_for_reaches_the_run() -> None:
    case = Case(docs=[page()])
    assert case.run(dry_run=True) == ExitCode.DONE
    assert case.index.count() == 0
    case.run()
    case.services.catalogue.listed["docs"].items.clear()  # type: ignore[attr-defined]
    assert case.run() == ExitCode.FAILED
    assert case.index.count() == 1
    assert case.run(allow_mass_delete=True) == ExitCode.DONE
    assert case.index.count() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_after_its_batch_and_no_other_source_is_read(
    capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    case, before = Case(docs=Signalling(number, items=[page()]), more=[page("b.md")]), signal.getsignal(number)
    code, reports = case.json(capsys)
    assert code == 128 + number
    assert [report["source"] for report in reports] == ["docs"]
    assert signal.getsignal(number) == before


def test_two_signals_at_once_are_one_request() -> None:
    case = Case(docs=Signalling(signal.SIGTERM, signal.SIGTERM, items=[page()]))
    assert case.run() == 128 + signal.SIGTERM


def test_a_later_signal_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with command._stop_on_signal("") as stop:
        signal.raise_signal(signal.SIGINT)
        now += 1.0
        signal.raise_signal(signal.SIGINT)
        now += 0.1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert stop.number == signal.SIGINT


def test_a_watch_reads_by_the_schedules_until_a_signal(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(docs=Signalling(signal.SIGTERM, items=[page()]))
    assert watch_sources(case.services, ["docs"]) == ExitCode.DONE
    said = capsys.readouterr()
    assert "docs: every 3600 s" in said.err
    assert case.services.overview().summary("docs")["next_run_at"] is None


def test_a_watch_tells_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case(docs=Signalling(signal.SIGTERM, items=[AWAY]))
    assert watch_sources(case.services, ["docs"]) == ExitCode.DONE

"""Syncs of configured sources, in the collection that is there now."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest

from rag.documents import Document
from rag.errors import ConfigError, MassDeleteRefused, SourceBusy
from rag.fakes import CharacterCounter, ListSource
from rag.lazy import Lazy
from service.catalogue import Catalogue
from service.collection import Binding, Collection
from service.store.ledger.memory import MemoryLedger
from service.syncing.run import Options
from service.syncing.syncer import Syncer
from tests.unit.service.conftest import binding, memory_of, settings_of
from tests.unit.service.syncing.conftest import row


class Listed(Catalogue):
    """A catalogue whose sources are one list."""

    source: ListSource

    def connector(self, name: str) -> Any:
        self.settings(name)
        return self.source


class Case:
    def __init__(self, documents: Iterable[Document] = (), **sections: Any) -> None:
        settings = settings_of(sources={"shop": {"kind": "sql", "url": "sqlite://"}}, **sections)
        self.ledger = MemoryLedger()
        self.old, self.new = binding(()), binding(())
        self.opened: list[Binding] = []
        self.collection = Collection(self._bind, lambda: self.new)
        self.catalogue = Listed(settings, indexed=lambda: ())
        self.catalogue.source = ListSource(documents)
        self.syncer = Syncer(
            Lazy(lambda: self.ledger), self.collection, self.catalogue, settings, counter=Lazy(CharacterCounter)
        )

    def _bind(self) -> Binding:
        self.opened.append(self.old)
        return self.old


def test_a_source_is_brought_in_step_by_its_name() -> None:
    case = Case([row(1), row(2)])
    seen: list[int] = []
    report = case.syncer.sync("shop", progress=lambda report: seen.append(report.added))
    assert (report.source, report.added, seen[-1]) == ("shop", 2, 2)
    assert memory_of(case.old).count() == 2


def test_after_a_re_index_it_goes_on_in_the_new_collection() -> None:
    case = Case([row(1)])
    case.syncer.sync("shop")
    memory_of(case.old).leave()
    case.catalogue.source.items.append(row(2))
    for _ in range(2):
        assert case.syncer.sync("shop").error == ""
    assert sorted(name for page in memory_of(case.new).pages("shop") for name in page.values()) == ["t/1", "t/2"]


def test_a_source_that_is_not_configured_is_told_before_the_collection_is_opened() -> None:
    case = Case()
    with pytest.raises(ConfigError, match="blog"):
        case.syncer.sync("blog")
    assert case.opened == []


def test_a_source_is_held_by_one_run_at_a_time() -> None:
    case = Case([row(1)])
    with case.ledger.lease("shop"), pytest.raises(SourceBusy):
        case.syncer.sync("shop")
    assert case.syncer.sync("shop").added == 1


@pytest.mark.parametrize(("tokens", "chunks"), [(32, 2), (400, 1)])
def test_chunks_are_as_long_as_configured(tokens: int, chunks: int) -> None:
    case = Case(
        [row(1, "One sentence of words here. Another sentence of words.", title="t", key_text="")],
        chunking={"max_tokens": tokens},
    )
    case.syncer.sync("shop")
    assert (memory_of(case.old).count() > 1) is (chunks > 1)


@pytest.mark.parametrize(("share", "kept"), [(0.5, 40), (0.99, 1)])
def test_no_more_is_deleted_than_configured(share: float, kept: int) -> None:
    case = Case([row(number) for number in range(40)], ingest={"mass_delete_share": share})
    case.syncer.sync("shop")
    del case.catalogue.source.items[1:]
    with suppress(MassDeleteRefused):
        case.syncer.sync("shop")
    assert memory_of(case.old).count() == kept


def test_what_is_asked_for_reaches_the_run() -> None:
    case = Case([row(1)])
    assert case.syncer.sync("shop", Options(dry_run=True)).dry_run
    assert memory_of(case.old).count() == 0

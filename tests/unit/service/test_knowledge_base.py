"""The Python face: ask, retrieve and ingest, from any thread."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import service
from rag.answer.answering import Finished, PassagesFound
from rag.errors import ConfigError, QuestionError
from rag.fakes import ScriptedGenerator
from rag.ports import Identity
from rag.types import Sampling
from service.knowledge_base import KnowledgeBase, connect
from tests.unit.service.conftest import STORES, services_of, settings_of

QUESTION = "When does the Edmonton store open?"
SAID = "It opens at eleven."


@pytest.fixture
def generator() -> ScriptedGenerator:
    return ScriptedGenerator(SAID)


@pytest.fixture
def kb(generator: ScriptedGenerator, tmp_path: Path) -> Iterator[KnowledgeBase]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "new.md").write_text("The Banff store is new.")
    sources = {"docs": {"kind": "files", "paths": ["docs/*"]}, "more": {"kind": "files", "paths": ["docs/*"]}}
    settings = settings_of(sources=sources, root=tmp_path, data_dir=tmp_path / "data")
    with KnowledgeBase(settings) as made:
        made.services = services_of(settings, generator=generator)
        yield made


def test_a_question_is_answered_also_where_an_event_loop_runs_already(kb: KnowledgeBase) -> None:
    assert kb.ask(QUESTION).text.startswith(SAID)

    async def inside() -> str:
        return kb.ask(QUESTION).text

    assert asyncio.run(inside()).startswith(SAID)
    assert asyncio.run(kb.aask(QUESTION)).text.startswith(SAID)


def test_all_that_is_run_for_it_has_one_thread(kb: KnowledgeBase) -> None:
    async def here() -> threading.Thread:
        return threading.current_thread()

    assert kb.run(here()) is kb.run(here()) is not threading.current_thread()


def test_an_answers_events_can_be_followed(kb: KnowledgeBase) -> None:
    async def collect() -> list[Any]:
        return [event async for event in kb.stream(QUESTION)]

    events = asyncio.run(collect())
    assert (type(events[0]), type(events[-1])) == (PassagesFound, Finished)


def test_how_a_question_is_asked_reaches_the_model(kb: KnowledgeBase, generator: ScriptedGenerator) -> None:
    kb.ask(QUESTION, sampling=Sampling(max_tokens=33), conversation="c")
    assert generator.asked[0].sampling.max_tokens == 33
    assert len(kb.services.conversations().turns("c", Identity())) == 1
    with pytest.raises(QuestionError, match="huge"):
        kb.ask(QUESTION, profile="huge")


def test_a_search_is_narrowed_by_sources_filter_and_identity(kb: KnowledgeBase) -> None:
    assert [hit.chunk.text for hit in kb.retrieve(QUESTION, k=1)] == [STORES[0]]
    assert kb.retrieve(QUESTION, sources=["more"]) == []
    assert kb.retrieve(QUESTION, scope=kb.scope(identity=Identity(tenant="umbrella"))) == []
    assert kb.retrieve(QUESTION, scope=kb.scope(where={"source": "more"})) == []
    assert kb.ask("Who sells records in Calgary?", sources=["more"]).refused
    assert kb.ask(QUESTION, scope=kb.scope(["more"])).refused
    with pytest.raises(ConfigError, match="blog"):
        kb.retrieve(QUESTION, sources=["blog"])


def test_sources_are_read_in_and_found(kb: KnowledgeBase) -> None:
    seen: list[str] = []
    [report] = kb.ingest("docs", progress=lambda report: seen.append(report.source))
    assert (report.source, report.added, set(seen)) == ("docs", 1, {"docs"})
    assert kb.retrieve("Which Banff store is new?", k=1)[0].chunk.document.id == "docs/new.md"
    assert [report.source for report in kb.ingest(dry_run=True)] == ["docs", "more"]


def test_a_source_that_is_not_there_is_told_before_any_is_read(kb: KnowledgeBase) -> None:
    with pytest.raises(ConfigError, match="blog"):
        kb.ingest("docs", "blog")
    assert kb.services.overview().sources() == []


def test_after_its_end_it_answers_nothing_more(kb: KnowledgeBase) -> None:
    kb.ask(QUESTION)
    kb.close()
    with pytest.raises(RuntimeError):
        asyncio.run(kb.aask(QUESTION))


def test_a_configuration_is_a_file_or_settings(tmp_path: Path) -> None:
    path = tmp_path / "citewell.toml"
    path.write_text('[qdrant]\ncollection = "mine"\n')
    with connect(path) as from_file, connect(settings_of()) as from_settings:
        assert from_file.settings.qdrant.collection == "mine"
        assert from_file.services.reindexer.config == path
        assert from_settings.services.reindexer.config is None
        assert list(from_settings.settings.sources) == ["docs"]


def test_the_package_has_it_and_nothing_else() -> None:
    assert service.KnowledgeBase is KnowledgeBase
    assert service.connect is connect
    with pytest.raises(AttributeError, match="nonsense"):
        service.nonsense  # noqa: B018

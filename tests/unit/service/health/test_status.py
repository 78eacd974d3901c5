"""What a deployment holds."""

import pytest

from indexes.qdrant.filter import any_source
from indexes.summary import COUNTED, Summary
from service.health import status as module
from service.health.status import status
from service.settings.sections import Settings
from service.store.ledger.ports import Changes, StoredDocument
from service.wiring import Services
from tests.unit.service.conftest import services_of, settings_of


@pytest.fixture(autouse=True)
def index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "summary_of", lambda settings: Summary(points=7, embedder="hash"))


def stored(services: Services, source: str) -> None:
    """A document of a source, as a sync notes it."""
    with services.ledger().lease(source) as lease:
        found = StoredDocument(document_id="a.md", scope="a.md", version="v", chunk_ids=("c1", "c2"))
        services.ledger().commit(lease, Changes(changed=[found]))
        services.ledger().finish(lease, status="done", report={})


def test_configured_sources_come_first_and_then_those_that_still_have_documents() -> None:
    services = services_of()
    stored(services, "gone")
    stored(services, "docs")
    found = {each["name"]: each for each in status(services.settings, services.overview())["sources"]}
    assert list(found) == ["docs", "gone"]
    assert (found["docs"]["kind"], found["docs"]["documents"], found["docs"]["chunks"]) == ("files", 1, 2)
    assert found["gone"]["kind"] not in ("files", "sql")
    assert found["docs"]["lag_s"] >= 0


def test_a_source_that_was_never_read_has_nothing() -> None:
    services = services_of()
    [docs] = status(services.settings, services.overview())["sources"]
    assert (docs["documents"], docs["last_run"], docs["lag_s"]) == (0, None, None)


def test_the_embedder_is_the_one_that_built_the_index_or_the_configured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    services = services_of()
    found = status(services.settings, services.overview())
    assert (found["points"], found["embedder"]) == (7, "hash")
    monkeypatch.setattr(module, "summary_of", lambda settings: Summary())
    assert status(services.settings, services.overview())["embedder"] == Settings().embedder.model


def test_the_points_are_those_that_were_committed_where_the_engine_does_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services = services_of()
    stored(services, "docs")
    monkeypatch.setattr(module, "summary_of", lambda settings: Summary(points=None, embedder="hash"))
    assert status(services.settings, services.overview())["points"] == 2


def test_the_index_is_told_without_the_password_of_its_url() -> None:
    overview = services_of().overview()
    found = status(settings_of(qdrant={"url": "http://user:hunter2@qdrant:6333"}), overview)
    assert "qdrant:6333" in found["index"]
    assert "hunter2" not in str(found)
    assert "qdrant" not in status(settings_of(), overview)["index"]


def test_the_marks_are_not_counted_as_in_every_search() -> None:
    assert any_source().model_dump(exclude_none=True) == COUNTED

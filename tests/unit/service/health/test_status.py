"""What a deployment holds."""

from service.collection import Collection
from service.health.status import status
from service.store.ledger.ports import Changes, StoredDocument
from service.wiring import Services
from tests.unit.service.conftest import binding, memory_of, services_of, settings_of


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
    found = {each["name"]: each for each in status(services)["sources"]}
    assert list(found) == ["docs", "gone"]
    assert (found["docs"]["kind"], found["docs"]["documents"], found["docs"]["chunks"]) == ("files", 1, 2)
    assert found["gone"]["kind"] not in ("files", "sql")
    assert found["docs"]["lag_s"] >= 0


def test_a_source_that_was_never_read_has_nothing() -> None:
    [docs] = status(services_of())["sources"]
    assert (docs["documents"], docs["last_run"], docs["lag_s"]) == (0, None, None)


def test_the_index_is_the_one_that_a_re_index_has_put_in_place() -> None:
    old, new = binding(), binding(("One.",))
    collection = Collection(lambda: old, lambda: new)
    collection.current()
    memory_of(old).leave()
    found = status(services_of(collection=collection))
    assert (found["points"], found["embedder"]) == (1, "hash")


def test_the_index_is_told_without_the_password_of_its_url() -> None:
    found = status(services_of(settings_of(qdrant={"url": "http://user:hunter2@qdrant:6333"})))
    assert "qdrant:6333" in found["index"]
    assert "hunter2" not in str(found)
    assert "qdrant" not in status(services_of())["index"]

"""A source's events in batches, and the version of a document."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from rag.documents import Section
from rag.errors import SourceError
from rag.events import Notice, ScopeComplete, SnapshotComplete, SourceEvent, Upsert
from service.syncing.batch import batches
from service.syncing.batch.batches import in_batches, version_of
from tests.unit.service.syncing.conftest import row

NOTICE = Notice(text="x")


def upserts(number: int) -> list[SourceEvent]:
    return [Upsert(document=row(i)) for i in range(number)]


def sizes(events: list[SourceEvent], *, documents: int = 10) -> list[int]:
    return [len(batch) for batch in in_batches(iter(events), documents=documents, max_tokens=40)]


def test_a_batch_has_a_bounded_number_of_documents() -> None:
    assert sizes(upserts(5), documents=2) == [2, 2, 1]
    assert sizes([NOTICE, *upserts(2), NOTICE], documents=2) == [3, 1]


def test_no_batch_is_empty() -> None:
    assert (sizes([]), sizes(upserts(4), documents=2)) == ([], [2, 2])


def test_a_batch_has_a_bounded_number_of_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_BATCH_CHARS", 10)
    assert sizes(upserts(5)) == [2, 2, 1]  # of five characters each


def test_a_batch_has_a_bounded_number_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_BATCH_EVENTS", 3)
    assert sizes([NOTICE] * 7) == [3, 3, 1]


@pytest.mark.parametrize("end", [ScopeComplete(scope="t"), SnapshotComplete(scopes=frozenset())])
def test_no_batch_goes_over_the_end_of_a_table(end: SourceEvent) -> None:
    assert sizes([NOTICE, end, NOTICE, NOTICE]) == [2, 2]


def test_what_was_read_before_an_error_is_still_given() -> None:
    def broken() -> Iterator[SourceEvent]:
        yield from upserts(3)
        raise SourceError("gone")

    given = in_batches(broken(), documents=2, max_tokens=40)
    assert [len(next(given)), len(next(given))] == [2, 1]
    with pytest.raises(SourceError, match="gone"):
        next(given)


def test_documents_get_the_version_of_their_content() -> None:
    ((event,),) = in_batches(iter(upserts(1)), documents=1, max_tokens=40)
    assert isinstance(event, Upsert)
    assert event.document.version == version_of(row(0), 40)


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "x"}, {"text": "x"}, {"uri": "x"}, {"scope": "x"}, {"kind": "file"}, {"key_text": "x"}, {"primary_key": None},
        {"tenant": "x"}, {"acl": ("x",)}, {"tags": ("x",)}, {"metadata": {"x": 1}}, {"sections": (Section(start=0, page=1),)},
    ],
)  # fmt: skip
def test_a_version_changes_with_whatever_is_stored_of_a_document(fields: dict[str, Any]) -> None:
    assert version_of(replace(row(0), **fields), 40) != version_of(row(0), 40)


def test_a_version_changes_with_the_size_of_chunks_and_not_with_what_is_not_stored() -> None:
    assert version_of(row(0), 41) != version_of(row(0), 40)
    assert version_of(replace(row(0), version="v", updated_at=7), 40) == version_of(row(0), 40)

from dataclasses import replace
from typing import Any

import pytest

from indexes.qdrant.payload import as_batch, chunk_of, mark_id, payload_of
from rag.documents import Chunk, Document, Point, SparseVector

DOCUMENT = Document(
    id="7", source="shop", title="Invoice 7", text="Total: 5", uri="sql://7", scope="invoices", kind="row",
    primary_key={"id": 7, "name": "唱片", "none": None}, updated_at=12, tenant="a", acl=("hr",), tags=("vip",),
    metadata={"total": 5.0, "paid": True, "open": False, "n": 1, "name": "x"}, version="v1",
)  # fmt: skip
CHUNK = Chunk(
    id="c", document=DOCUMENT, ordinal=2, text="Total: 5", start=3, end=11, page=4, context="Invoices", tokens=6
)


def held(chunk: Chunk) -> Chunk:
    return chunk_of(chunk.id, payload_of(chunk))


def test_a_chunk_comes_back_as_it_was_but_for_its_document_s_text() -> None:
    assert held(CHUNK) == replace(CHUNK, document=replace(DOCUMENT, text=""))
    assert [type(value) for value in held(CHUNK).document.metadata.values()] == [float, bool, bool, int, str]


def test_what_a_chunk_has_not_comes_back_as_nothing() -> None:
    bare = Chunk(
        id="c", document=Document(id="1", source="s", title="T", text="", uri="u"), ordinal=0, text="x", start=0, end=1
    )
    assert held(bare) == bare


@pytest.mark.parametrize("field", ["updated_at", "tags", "metadata", "page", "context", "tokens", "primary_key"])
def test_a_payload_from_before_a_field_was_stored_is_read(field: str) -> None:
    payload = {name: value for name, value in payload_of(CHUNK).items() if name != field}
    assert chunk_of("c", payload).text == CHUNK.text


def test_a_document_that_all_may_see_says_so() -> None:
    assert payload_of(replace(CHUNK, document=replace(DOCUMENT, acl=())))["access"] == ['["a", "*"]']
    assert payload_of(CHUNK)["access"] == ['["a", "hr"]']


def test_points_are_written_by_columns_in_their_order() -> None:
    points = [
        Point(chunk=replace(CHUNK, id=name), dense=[value], sparse=SparseVector(indices=(value,), values=(0.5,)))
        for name, value in (("a", 1), ("b", 2))
    ]
    batch = as_batch(points)
    vectors: Any = batch.vectors
    assert batch.ids == ["a", "b"]
    assert vectors["dense"] == [[1], [2]]
    assert [vector.indices for vector in vectors["bm25"]] == [[1], [2]]
    assert [payload["ordinal"] for payload in batch.payloads or []] == [2, 2]


def test_each_source_has_a_mark_of_its_own() -> None:
    assert mark_id("shop") == mark_id("shop") != mark_id("docs")

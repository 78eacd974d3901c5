"""How much may go without a word."""

import pytest

from service.store.ledger.ports import StoredDocument
from service.syncing.deletions import Unit, refusal


def gone(number: int) -> dict[str, StoredDocument]:
    return {f"t/{i}": StoredDocument(document_id=f"t/{i}", scope="t", version="v", chunk_ids=()) for i in range(number)}


@pytest.mark.parametrize(
    ("lost", "before", "refused"),
    [(1, 3, False), (20, 21, False), (21, 60, True), (21, 105, False), (21, 104, True), (3, 3, True), (0, 0, False)],
)
def test_a_share_and_a_few_or_all(lost: int, before: int, refused: bool) -> None:
    assert bool(refusal(gone(lost), Unit(), before=before, share=0.2)) is refused


def test_what_moved_is_no_loss() -> None:
    unit = Unit(moved={f"t/{i}" for i in range(50)})
    assert refusal(gone(50), unit, before=50, share=0.2) == ""
    assert "30 of its 100" in refusal(gone(80), unit, before=100, share=0.2)


def test_where_ids_are_made_of_content_a_change_is_no_loss() -> None:
    assert refusal(gone(50), Unit(by_content=True, added=50), before=100, share=0.2) == ""
    assert "40 of its 100" in refusal(gone(50), Unit(by_content=True, added=10), before=100, share=0.2)
    assert refusal(gone(50), Unit(by_content=True, added=20, withdrawn=30), before=100, share=0.2) == ""

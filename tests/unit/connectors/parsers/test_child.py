"""What goes between us and the process that parses: the parsers' items, and how a file ended."""

import json
from dataclasses import asdict

import pytest

from connectors.parsers import child
from connectors.parsers.errors import CannotParse, Ignored
from connectors.parsers.parsed import Hidden, Item, Parsed, Record
from rag.documents import Section


@pytest.mark.parametrize(
    "item",
    [
        Parsed(text="a", title="t", sections=(Section(start=0, page=2, heading="h"), Section(start=1))),
        Record(text="a", title="t", key={"sheet": "s", "row": 3}, share=0.5),
        Hidden(what="1 hidden sheet is"),
    ],
)
def test_an_item_comes_as_it_went(item: Item) -> None:
    assert child._item(json.loads(json.dumps(asdict(item)))) == item


def test_a_file_that_ended_well_is_no_error() -> None:
    child._raise({"end": "done"})


@pytest.mark.parametrize(("end", "error"), [("ignored", Ignored), ("failed", CannotParse)])
def test_a_file_that_ended_otherwise_says_why(end: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="no text"):
        child._raise({"end": end, "reason": "no text"})

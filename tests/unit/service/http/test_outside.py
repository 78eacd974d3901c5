"""What callers without rights of an operator see."""

import pytest

from rag.answer.answering import Event, Finished, PassagesFound, Restarted, TextDelta
from rag.documents import Chunk, Hit, Passage
from rag.errors import IndexUnavailable, QuestionError
from rag.types import Answer, Citation, Turn
from service.http.outside import event_for, hit_for, text_for
from service.store.keys import Caller, Rights
from tests.unit.service.conftest import document

ASKER, OPERATOR = (Caller(name=scope, rights=Rights(scopes=(scope,))) for scope in ("ask", "admin"))
DOCUMENT = document("my file.md", "Text.", source="a/b")
PUBLIC = "citewell:a%2Fb/my%20file.md"
PASSAGE = Passage(
    label="k7f2", document=DOCUMENT, text="Text.", start=0, end=5, page=None, context="", score=1, scores={}
)
CITATION = Citation(
    label="k7f2", source="a/b", document_id="my file.md", title="t", primary_key=None, page=None, start=0, end=5,
    quote="Text.", uri=DOCUMENT.uri, version="",
)  # fmt: skip
ANSWER = Answer(
    text="Text.", language="en", citations=(CITATION,), passages=(PASSAGE,), degraded=True,
    degraded_reason="http://10.0.0.7 refused", degraded_public="The model is away.",
)  # fmt: skip
TURN = Turn(question="", asked="", answer="")
EVENTS: list[Event] = [
    PassagesFound(passages=(PASSAGE,)),
    TextDelta(text="Text."),
    Restarted(reason="http://10.0.0.7 refused", public="The model is away."),
    Finished(answer=ANSWER, turn=TURN),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_operator_sees_everything(event: Event) -> None:
    assert event_for(OPERATOR, event) is event


def test_passages_and_citations_are_named_and_their_place_is_not_told() -> None:
    found = event_for(ASKER, EVENTS[0])
    assert isinstance(found, PassagesFound)
    assert found.passages[0].document.uri == PUBLIC
    finished = event_for(ASKER, EVENTS[3])
    assert isinstance(finished, Finished)
    assert [each.uri for each in finished.answer.citations] == [PUBLIC]
    assert [each.document.uri for each in finished.answer.passages] == [PUBLIC]


def test_why_a_model_failed_is_told_in_public_words() -> None:
    restarted, finished = event_for(ASKER, EVENTS[2]), event_for(ASKER, EVENTS[3])
    assert isinstance(restarted, Restarted)
    assert isinstance(finished, Finished)
    assert restarted.reason == finished.answer.degraded_reason == "The model is away."


def test_text_is_everybodys() -> None:
    assert event_for(ASKER, EVENTS[1]) is EVENTS[1]


def test_a_hit_is_named_too() -> None:
    hit = Hit(chunk=Chunk(id="1", document=DOCUMENT, ordinal=0, text="Text.", start=0, end=5), score=1)
    assert hit_for(ASKER, hit).chunk.document.uri == PUBLIC
    assert hit_for(OPERATOR, hit) is hit


def test_an_error_is_told_whole_to_operators_and_where_it_is_about_the_request() -> None:
    err = IndexUnavailable("http://10.0.0.7")
    assert text_for(OPERATOR, err) == "http://10.0.0.7"
    assert text_for(ASKER, err) == text_for(None, err) == IndexUnavailable.public
    assert text_for(ASKER, QuestionError("It is empty.")) == "It is empty."

from dataclasses import replace

import pytest

from rag.documents import Document, Passage
from rag.question.evidence import admissible, evidence, supported
from rag.question.question import understand
from rag.retrieval.likeness import NO_SCALE, Scale


def row(text: str, *, title: str = "", dense: float = 0.0, key: str = "PlaylistId") -> Passage:
    document = Document(
        id="x/1",
        source="s",
        title=title,
        text=text,
        uri="u",
        scope=text.split("\n")[0],
        kind="row",
        primary_key={key: 1},
    )
    return Passage(
        label="a1b2",
        document=document,
        text=text,
        start=0,
        end=len(text),
        page=None,
        context="",
        score=1,
        scores={"dense": dense},
    )


def page(text: str) -> Passage:
    document = Document(id="h.md", source="s", title="Handbook", text=text, uri="u", scope="h.md")
    return Passage(label="a1b2", document=document, text=text, start=0, end=len(text), page=None, context="", score=1)


SCALE = Scale(floor=0.2, top=0.7)
PLAYLIST = row("Playlist\nPlaylist id: 1\nName: Music")
TRACK = row("Track\nTrack id: 2\nName: The Longest Day\nMilliseconds: 342562\nUnit price: 0.99", key="TrackId")


@pytest.mark.parametrize(
    "question",
    [
        "Which playlist holds the fewest tracks?",
        "How many playlists are there?",
        "What is the longest track?",
        "What is the average unit price of all tracks?",
        "一共有多少个播放列表？",
        "哪个播放列表的曲目最少？",
    ],
)
def test_a_figure_over_many_rows_is_never_taken_from_one_row(question: str) -> None:
    assert admissible(understand(question), [PLAYLIST, TRACK]) == []


@pytest.mark.parametrize("question", ["How many milliseconds is The Longest Day?", "Who recorded The Longest Day?"])
def test_a_field_or_a_name_with_such_a_word_is_answered(question: str) -> None:
    assert admissible(understand(question), [TRACK]) == [TRACK]


def test_a_document_that_states_the_figure_may_answer() -> None:
    stated = page("Every employee has 12 days of leave.")
    assert admissible(understand("How many days of leave are there?"), [stated]) == [stated]
    assert admissible(understand("How many days of leave are there?"), [page("Leave is granted.")]) == []


@pytest.mark.parametrize(
    ("question", "stated", "not_stated"),
    [
        ("How many days of leave are there?", "Everybody has twelve, or ten at first.", "Days of leave are granted."),
        ("员工有多少年假？", "员工每年有十二天。", "员工每年有年假。"),
        ("Which is the longest river?", "The longest of them is the Nile.", "The Nile is a river of 6,650 km."),
        ("What is the average distance?", "They walked, averaging a mile.", "They walked 5 miles."),
        ("最长的河是哪条？", "尼罗河最长。", "尼罗河全长 6650 公里。"),
    ],
)
def test_a_page_states_a_count_by_a_number_and_other_figures_by_the_word(
    question: str, stated: str, not_stated: str
) -> None:
    assert admissible(understand(question), [page(not_stated), page(stated)]) == [page(stated)]


@pytest.mark.parametrize(
    ("text", "key", "is_one"),
    [
        ("Invoice\nTotal: 13.86", "InvoiceId", True),
        ("Invoice\nTotal: 13.86", "Total", False),
        ("Invoice\nTotal id: 13", "InvoiceId", False),
        ("Invoice\nTotal: unknown", "InvoiceId", False),
        ("Invoice\nNumber: 13", "InvoiceId", False),
    ],
)
def test_a_row_states_a_figure_in_a_field_that_is_called_so_and_is_no_key(text: str, key: str, is_one: bool) -> None:
    assert bool(admissible(understand("What is the total?"), [row(text, key=key)])) == is_one


def test_a_row_without_a_key_may_state_a_figure() -> None:
    keyless = row("Invoice\nTotal: 13.86")
    keyless = replace(keyless, document=replace(keyless.document, primary_key=None))
    assert admissible(understand("What is the total?"), [keyless]) == [keyless]


def test_a_question_for_no_figure_admits_every_passage() -> None:
    assert admissible(understand("Who is Ann?"), [PLAYLIST, TRACK]) == [PLAYLIST, TRACK]


def test_a_name_answers_only_where_the_row_holds_other_words_of_the_question() -> None:
    album = row("Album\nTitle: The Best\nArtist: Buddy Guy")
    assert admissible(understand("Who recorded The Best by Buddy Guy?"), [album]) == [album]
    assert admissible(understand("What is the best?"), [album]) == []
    assert admissible(understand("Which is the best album of the sixties in Chicago?"), [album]) == []


def test_what_is_supported_keeps_its_order_and_its_evidence() -> None:
    question, held = understand("When was The Longest Day recorded?"), page("The Longest Day was recorded in May.")
    passages = [held, page("The moon is green."), held]
    found = supported(question, passages, scale=NO_SCALE, threshold=0.5)
    assert [passage for _, passage in found] == [held, held]
    assert found[0][0] == evidence(question, held, scale=NO_SCALE)


def test_evidence_at_the_threshold_is_enough() -> None:
    question, held = understand("When was The Longest Day recorded?"), page("The Longest Day was recorded in May.")
    assert supported(question, [held], scale=NO_SCALE, threshold=evidence(question, held, scale=NO_SCALE)) != []


def test_evidence_joins_words_and_likeness() -> None:
    question = understand("Who recorded The Longest Day?")
    assert evidence(question, TRACK, scale=SCALE) < evidence(question, row(TRACK.text, dense=0.7), scale=SCALE)
    assert evidence(understand("What is the capital of Mongolia?"), TRACK, scale=SCALE) == 0


def test_words_alone_count_where_the_embedder_does_not_know_the_language() -> None:
    alike = row("Album\nTitle: X", dense=0.9)
    assert evidence(understand("专辑在哪里？"), alike, scale=NO_SCALE) == 0


def test_across_scripts_only_words_count() -> None:
    album = row("Album\nTitle: Let There Be Rock\nArtist: AC/DC", dense=0.9)
    question = understand("AC/DC 发行了哪些专辑？", {"专辑": ["album"]})
    assert evidence(question, album, scale=SCALE) == evidence(question, album, scale=NO_SCALE) > 0.45

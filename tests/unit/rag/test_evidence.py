import pytest

from rag.documents import Document, Passage
from rag.language.languages import languages
from rag.question.evidence import admissible, evidence
from rag.question.question import understand
from rag.question.refusals import refusal
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
def test_a_figure_over_many_rows_is_never_taken_from_one_row(question: str):
    assert admissible(understand(question), [PLAYLIST, TRACK]) == []


@pytest.mark.parametrize("question", ["故宫的门票是多少？", "门票多少钱？", "几点开门？", "员工买唱片打几折？"])
def test_a_chinese_question_for_a_value_is_no_count(question: str):
    assert understand(question).aggregate == ""


@pytest.mark.parametrize("question", ["How many milliseconds is The Longest Day?", "Who recorded The Longest Day?"])
def test_a_field_or_a_name_with_such_a_word_is_answered(question: str):
    assert admissible(understand(question), [TRACK]) == [TRACK]


def test_a_document_that_states_the_figure_may_answer():
    stated = page("Every employee has 12 days of leave.")
    assert admissible(understand("How many days of leave are there?"), [stated]) == [stated]
    assert admissible(understand("How many days of leave are there?"), [page("Leave is granted.")]) == []


def test_evidence_joins_words_and_likeness():
    question = understand("Who recorded The Longest Day?")
    assert evidence(question, TRACK, scale=SCALE) < evidence(question, row(TRACK.text, dense=0.7), scale=SCALE)
    assert evidence(understand("What is the capital of Mongolia?"), TRACK, scale=SCALE) == 0


def test_words_alone_count_where_the_embedder_does_not_know_the_language():
    alike = row("Album\nTitle: X", dense=0.9)
    assert evidence(understand("专辑在哪里？"), alike, scale=NO_SCALE) == 0


@pytest.mark.parametrize(
    ("question", "language"), [("Wer ist der Chef von allem hier?", "de"), ("谁是老板？", "zh"), ("Who?", "en")]
)
def test_a_refusal_speaks_the_question_s_language(question: str, language: str):
    assert refusal(understand(question)) == languages()[language].nothing_found


def test_a_refused_figure_is_explained():
    assert refusal(understand("How many tracks?")) == languages()["en"].no_figure


def test_across_scripts_only_words_count():
    album = row("Album\nTitle: Let There Be Rock\nArtist: AC/DC", dense=0.9)
    question = understand("AC/DC 发行了哪些专辑？", {"专辑": ["album"]})
    assert evidence(question, album, scale=SCALE) == evidence(question, album, scale=NO_SCALE) > 0.45

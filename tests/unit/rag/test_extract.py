from rag.answer.extract import extract
from rag.documents import Document, Passage
from rag.question.question import understand


def row(number: int, title: str, artist: str, *, scope: str = "Album") -> Passage:
    text = f"{scope}\n{scope} id: {number}\nTitle: {title}\nArtist: {artist} (Artist id 1)"
    document = Document(
        id=f"{scope}/{number}", source="s", title=f"{scope} {number}: {title}", text=text, uri="u", scope=scope, kind="row",
        primary_key={f"{scope}Id": number},
    )  # fmt: skip
    label = f"a{number % 10}b{number // 10}"
    return Passage(label=label, document=document, text=text, start=0, end=len(text), page=None, context="", score=1)


def page(text: str) -> Passage:
    document = Document(id="h.md", source="s", title="Returns", text=text, uri="u", scope="h.md")
    return Passage(
        label="z1z1", document=document, text=text, start=0, end=len(text), page=2, context="Returns > Opened", score=1
    )


def quote(question: str, *passages: Passage) -> list[tuple[str, str]]:
    supported = [(0.8, passage) for passage in passages]
    return [(text, citation.quote if citation else "") for text, citation in extract(understand(question), supported)]


def test_a_row_reads_as_its_title_and_the_fields_that_the_title_lacks():
    assert quote("Who made Let There Be Rock?", row(4, "Let There Be Rock", "AC/DC")) == [
        (
            "Album 4: Let There Be Rock; Artist: AC/DC (Artist id 1) [a4b0]",
            "Album\nAlbum id: 4\nTitle: Let There Be Rock\nArtist: AC/DC (Artist id 1)",
        )
    ]


def test_rows_that_tie_are_all_quoted_and_more_than_eight_are_told():
    many = quote("Which albums are there?", *(row(i, f"Title {i}", "X") for i in range(12)))
    assert len(many) == 9
    assert many[-1] == ("More rows match; these are the first 8.", "")


def test_the_row_that_bears_the_name_goes_before_those_that_refer_to_it():
    own, other = row(1, "AC/DC", "nobody"), row(2, "Something", "AC/DC")
    assert [text[:8] for text, _ in quote("Who is AC/DC?", other, own)] == ["Album 1:"]


def test_of_a_document_the_best_whole_sentence_is_quoted_and_no_heading():
    text = "# Returns\n\nUnopened records are refunded. We do not refund\nopened records in money. Tea is free.\n"
    assert quote("Are opened records refunded in money?", page(text)) == [
        ("We do not refund opened records in money. [z1z1]", "We do not refund\nopened records in money.")
    ]


def test_a_record_without_column_names_is_quoted_whole():
    document = Document(
        id="a.csv#row=2",
        source="s",
        title="a.csv (row=2)",
        text="LP\nPrice: 20",
        uri="u",
        scope="a.csv",
        kind="row",
        primary_key={"row": 2},
    )
    passage = Passage(
        label="c1d2", document=document, text=document.text, start=0, end=13, page=None, context="", score=1
    )
    assert quote("What is the price of the LP?", passage)[0][0] == "a.csv (row=2); LP; Price: 20 [c1d2]"


def test_rows_that_hold_as_much_of_the_question_tie_however_alike_they_are():
    rows = [(0.9, row(1, "For Those About To Rock", "AC/DC")), (0.7, row(4, "Let There Be Rock", "AC/DC"))]
    assert len(list(extract(understand("Which albums did AC/DC release?"), rows))) == 2

import pytest

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


def test_a_row_reads_as_its_title_and_the_fields_that_the_title_lacks() -> None:
    assert quote("Who made Let There Be Rock?", row(4, "Let There Be Rock", "AC/DC")) == [
        (
            "Album 4: Let There Be Rock; Artist: AC/DC (Artist id 1) [a4b0]",
            "Album\nAlbum id: 4\nTitle: Let There Be Rock\nArtist: AC/DC (Artist id 1)",
        )
    ]


def test_rows_that_tie_are_all_quoted_and_more_than_eight_are_told() -> None:
    many = quote("Which albums are there?", *(row(i, f"Title {i}", "X") for i in range(12)))
    assert len(many) == 9
    assert many[-1] == ("More rows match; these are the first 8.", "")
    assert len(quote("Which albums are there?", *(row(i, f"Title {i}", "X") for i in range(8)))) == 8


def test_the_row_that_bears_the_name_goes_before_those_that_refer_to_it() -> None:
    own, other = row(1, "AC/DC", "nobody"), row(2, "Something", "AC/DC")
    assert [text[:8] for text, _ in quote("Who is AC/DC?", other, own)] == ["Album 1:"]


def test_of_a_document_the_best_whole_sentence_is_quoted_and_no_heading() -> None:
    text = "# Returns\n\nUnopened records are refunded. We do not refund\nopened records in money. Tea is free.\n"
    assert quote("Are opened records refunded in money?", page(text)) == [
        ("We do not refund opened records in money. [z1z1]", "We do not refund\nopened records in money.")
    ]


def test_a_record_without_column_names_is_quoted_whole() -> None:
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


def test_rows_that_hold_as_much_of_the_question_tie_however_alike_they_are() -> None:
    rows = [(0.9, row(1, "For Those About To Rock", "AC/DC")), (0.7, row(4, "Let There Be Rock", "AC/DC"))]
    assert len(list(extract(understand("Which albums did AC/DC release?"), rows))) == 2


def quoted(question: str, *supported: tuple[float, Passage]) -> list[str]:
    return [text for text, _ in extract(understand(question), supported)]


def test_a_row_with_less_evidence_is_not_quoted_with_the_best_one() -> None:
    best, other = row(1, "Powerage", "AC/DC"), row(2, "Thriller", "Michael Jackson")
    question = "Which albums did AC/DC release?"
    assert [text[:8] for text in quoted(question, (0.9, best), (0.8, other))] == ["Album 1:"]
    assert len(quoted(question, (0.9, best), (0.83, other))) == 2


def test_rows_of_another_table_are_not_quoted_with_the_best_one() -> None:
    album, track = row(1, "Powerage", "AC/DC"), row(2, "Powerage", "AC/DC", scope="Track")
    assert [text[:6] for text in quoted("Which album is Powerage?", (0.9, album), (0.9, track))] == ["Album "]


def test_rows_and_pages_are_not_quoted_together() -> None:
    album, text = row(1, "Powerage", "AC/DC"), page("Powerage was recorded in Sydney.")
    assert quoted("Where was Powerage recorded?", (0.95, text), (0.72, album)) == [f"{text.text} [z1z1]"]
    assert [each[:5] for each in quoted("Powerage", (0.9, album), (0.85, text))] == ["Album"]


def test_rows_of_the_table_that_is_asked_for_go_first() -> None:
    album, track = row(1, "Powerage", "AC/DC"), row(2, "Powerage", "AC/DC", scope="Track")
    assert [text[:6] for text in quoted("Which track is Powerage?", (0.9, album), (0.85, track))] == ["Track "]


def test_a_reference_that_the_question_names_counts_as_a_name() -> None:
    boss = row(1, "Andrew Adams", "nobody", scope="Employee")
    reports = row(2, "Nancy", "Andrew Adams", scope="Employee")
    assert [text[:11] for text in quoted("When was Andrew Adams hired?", (0.8, reports), (0.8, boss))] == [
        "Employee 1:"
    ]
    assert "Employee 2:" in {text[:11] for text in quoted("Whose artist is Andrew Adams?", (0.8, boss), (0.8, reports))}


def test_of_a_long_row_the_lines_around_the_best_one_are_quoted() -> None:
    fields = [f"Field {i}: {'value ' * 12}{i}" for i in range(30)]
    fields[20] = "Warranty: five years"
    text = "\n".join(["Product", *fields])
    document = Document(id="p", source="s", title="Product 1", text=text, uri="u", scope="Product", kind="row")
    long = Passage(
        label="c1d2", document=document, text=text, start=7, end=7 + len(text), page=None, context="", score=1
    )
    ((_, citation),) = extract(understand("How long is the warranty?"), [(0.9, long)])
    assert citation is not None
    assert "Warranty: five years" in citation.quote
    assert 600 < len(citation.quote) < 1_000
    assert citation.start > 7
    assert text[citation.start - 7 : citation.end - 7] == citation.quote


@pytest.mark.parametrize("best", ["first", "last"])
def test_the_best_line_may_be_the_first_or_the_last_one(best: str) -> None:
    fields = [f"Field {i}: {'value ' * 12}{i}" for i in range(30)]
    lines = ["Warranty: five years", *fields] if best == "first" else [*fields, "Warranty: five years"]
    text = "\n".join(lines)
    document = Document(id="p", source="s", title="Product 1", text=text, uri="u", scope="Product", kind="row")
    long = Passage(label="c1d2", document=document, text=text, start=0, end=len(text), page=None, context="", score=1)
    ((_, citation),) = extract(understand("How long is the warranty?"), [(0.9, long)])
    assert citation is not None
    assert "Warranty" in citation.quote


def test_a_row_says_nothing_twice_that_its_title_says() -> None:
    text = "Album\nNumber: 4\nTitle: Powerage\nRating: 4\nOk: no"
    document = Document(
        id="a", source="s", title="Album 4: Powerage no", text=text, uri="u", scope="Album", kind="row",
        primary_key={"Number": 4},
    )  # fmt: skip
    album = Passage(label="c1d2", document=document, text=text, start=0, end=len(text), page=None, context="", score=1)
    assert quoted("Powerage", (0.9, album)) == ["Album 4: Powerage no; Rating: 4; Ok: no [c1d2]"]


def test_at_most_three_sentences_are_quoted_in_the_order_in_which_they_are_read() -> None:
    text = "Tea is green. Cups are white. Tea is black. Tea is white. Tea is red."
    assert quoted("Tea?", (0.9, page(text))) == [
        "Tea is green. [z1z1]", "Tea is black. [z1z1]", "Tea is white. [z1z1]",
    ]  # fmt: skip


def test_sentences_of_a_better_passage_come_first() -> None:
    one, two = page("Tea is green."), page("Tea is black.")
    assert quoted("Tea?", (0.9, two), (0.88, one)) == ["Tea is black. [z1z1]", "Tea is green. [z1z1]"]


def test_a_page_of_headings_only_is_quoted_as_it_is() -> None:
    assert quoted("Returns?", (0.9, page("# Returns\n\nOpened"))) == ["Returns Opened [z1z1]"]


def test_a_quote_that_looks_like_a_label_is_none() -> None:
    assert quoted("Tea?", (0.9, page("Tea is green [z1z1]."))) == ["Tea is green . [z1z1]"]

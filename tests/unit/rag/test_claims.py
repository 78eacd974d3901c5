"""Whether a passage holds what a sentence claims, and where."""

from typing import Literal

import pytest

from rag.answer.claims import attributed, json_citations, json_leaves, locate, says_something, supporting
from rag.documents import Document, Passage


def passage(text: str, *, title: str = "T", kind: Literal["row", "file"] = "file", start: int = 0) -> Passage:
    document = Document(id=text[:8], source="s", title=title, text="", uri="u", kind=kind)
    end = start + len(text)
    return Passage(label="a1b2", document=document, text=text, start=start, end=end, page=None, context="", score=1)


RETURNS = passage("Unopened records can be returned within 30 days.")
STORES = passage("The Edmonton store opens at 11:00 and closes at 20:00.")
LEAVE = passage("员工每年有十二天带薪年假。")


def supports(claim: str, *named: Passage, others: tuple[Passage, ...] = ()) -> bool:
    return supporting(claim, named, [*named, *others]) == list(named)


def test_a_passage_supports_a_claim_in_other_words() -> None:
    assert supports("You can return unopened records within 30 days", RETURNS)
    assert not supports("The manager is called Harper Quill", RETURNS)
    assert supporting("Anything at all", [], [RETURNS]) == []


def test_exactly_half_of_a_claim_is_enough() -> None:
    assert supports("red apples taste sweet", passage("red apples"))
    assert not supports("red apples taste sweet today", passage("red apples"))


@pytest.mark.parametrize(
    ("claimed", "held", "holds"),
    [
        ("1,250.50", "1250.5", True),
        ("1,25", "125", False),
        ("12.0", "12", True),
        ("12.50", "12.5", True),
        ("120", "12", False),
        ("10", "1", False),
        ("1.2.30", "1.2.3", False),
        ("08:05", "8:05", True),
        ("8:15", "8:05", False),
        ("00", "0", True),
        ("A4", "paper", True),
    ],
)
def test_every_figure_of_a_claim_has_to_stand_in_the_passage(claimed: str, held: str, holds: bool) -> None:
    text = "was what customers from berlin paid late as the whole invoice total in euros on monday morning"
    assert supports(f"Of {claimed}: {text}", passage(f"Of {held}: {text}")) == holds


def test_the_number_of_a_list_is_no_figure() -> None:
    assert supports("1. Customers pay 30 euros", passage("2) Customers pay 30 euros"))


def test_a_decimal_at_the_beginning_is_no_number_of_a_list() -> None:
    assert supports("12.5 km of coast", passage("The park has 12.5 km of coast."))
    assert not supports("12.5 km of coast", passage("The park has 5 km of coast."))


def test_a_figure_may_stand_in_one_passage_and_the_words_in_another() -> None:
    words, figure = passage("customers from berlin returned old records"), passage("It took 30")
    claim = "customers from berlin returned old records in 30"
    assert supporting(claim, [words], [words, figure]) == []
    assert supporting(claim, [words, figure], [words, figure]) == [words]


def test_two_passages_that_hold_too_little_alone_support_a_claim_together() -> None:
    weak = passage("customers pay postage always"), passage("returned records arrive")
    claim = "customers pay postage always; returned records arrive damaged sometimes"
    assert supporting(claim, weak, weak) == list(weak)
    assert supporting(claim, weak[:1], weak) == []
    assert supporting(claim, [*weak, passage("damaged")], weak) == list(weak)


def test_passages_that_hold_too_little_together_support_nothing() -> None:
    weak = passage("returned records"), passage("customers")
    assert supporting("Customers always pay postage for returned records and gramophones from Norway", weak, weak) == []


def test_a_passage_that_holds_hardly_anything_is_not_taken_with_another() -> None:
    half, little = passage("customers pay postage"), passage("always")
    claim = "customers always pay postage: returned gramophones, norway"
    assert supporting(claim, [half, little], [half, little]) == [half]


def test_a_passage_is_the_wrong_one_where_another_holds_far_more() -> None:
    claim = "customers return unopened records promptly: post, receipts enclosed"
    half = passage("customers return unopened records")
    assert supports(claim, half)
    assert not supports(claim, half, others=(passage(claim),))


def test_across_scripts_only_names_codes_and_figures_are_compared() -> None:
    track = passage("Name: Thunderstruck\nComposer: AC/DC")
    assert supports("AC/DC 创作了这首歌", track)
    assert not supports("作曲家是齐柏林飞艇乐队", track)
    assert supports("AC/DC wrote a famous song about thunder for everybody else", passage("作曲：AC/DC。歌很有名。"))
    assert supports("AC/DC wrote the song", passage("作曲：AC/DC。这首歌很有名。"))
    assert not supports("Led Zeppelin wrote the song", passage("作曲：AC/DC。这首歌很有名。"))


def test_a_title_and_a_heading_are_part_of_what_a_passage_holds() -> None:
    assert supports("Album 5 is called Big Ones", passage("Title: Big Ones", title="Album 5"))


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        ("Unopened records can be returned within 30 days", RETURNS),
        ("- The Edmonton store opens at 11:00", STORES),
        ("Unopened records can be returned within 45 days", None),
        ("The moon is made of cheese", None),
        ("员工有十二天带薪年假", LEAVE),
    ],
)
def test_a_claim_without_a_label_belongs_to_the_passage_that_holds_most_of_it(
    claim: str, found: Passage | None
) -> None:
    assert attributed(claim, [STORES, RETURNS, LEAVE]) == found


def test_of_two_passages_that_hold_as_much_the_better_one_is_taken() -> None:
    copy = passage(RETURNS.text, start=500)
    assert attributed(RETURNS.text, [copy, RETURNS]) == copy
    assert attributed(RETURNS.text, []) is None


def test_less_than_three_words_of_its_own_say_nothing() -> None:
    assert not says_something("1) It is red paint.")
    assert says_something("It is dark red paint.")


def test_the_sentence_that_holds_most_is_located_in_the_document() -> None:
    text = "Tea is free. Unopened records can be returned. Parking is free too."
    found = locate("Return unopened records", passage(text, start=100))
    assert (found.quote, found.start, found.end) == ("Unopened records can be returned.", 113, 146)


def test_a_claim_over_two_sentences_has_both_and_never_more_than_three() -> None:
    text = "Records are returned unopened. The store pays postage. Vouchers last forever. Gramophones are repaired quickly. Tea is free."
    two = locate("Unopened records are returned, and the store pays postage", passage(text))
    assert two.quote == "Records are returned unopened. The store pays postage."
    claim = (
        "Unopened records are returned, the store pays postage, vouchers last forever, gramophones are repaired quickly"
    )
    assert locate(claim, passage(text)).quote.count(".") == 3
    both = "Records are returned unopened. The store pays postage."
    assert locate("Unopened records are returned, and the store pays postage", passage(both)).quote == both


def test_a_sentence_that_adds_nothing_is_not_quoted() -> None:
    text = "Records are returned unopened. Tea is free."
    assert locate("Records are returned unopened", passage(text)).quote == "Records are returned unopened."


def test_a_row_is_quoted_whole() -> None:
    row = passage("Album\nTitle: Big Ones\nArtist: Aerosmith\n", kind="row")
    assert locate("Big Ones", row).quote == "Album\nTitle: Big Ones\nArtist: Aerosmith"


def test_the_leaves_of_a_json_value_are_its_texts_and_numbers_with_their_pointers() -> None:
    value = {"a/b": ["x", 0, None, True, " "], "c~d": {"": 2.5}, "e": {}}
    assert json_leaves(value) == [("/a~1b/0", "x"), ("/a~1b/1", 0), ("/c~0d/", 2.5)]
    assert json_leaves("x") == [("", "x")]


def cited(value: object, *passages: Passage) -> list[tuple[str, str]]:
    return [(citation.pointer, citation.quote) for citation in json_citations(value, passages)]


def test_a_value_that_stands_word_for_word_is_cited_by_its_sentence_or_its_row() -> None:
    row = passage("Album\nTitle: Big Ones\nYear: 1994", kind="row")
    pages = passage("Tea is free. It opens at 11:00. Cups are white.")
    assert cited({"opens": "11:00", "year": 1994}, pages, row) == [
        ("/opens", "It opens at 11:00."),
        ("/year", row.text),
    ]


@pytest.mark.parametrize(("value", "text"), [(11, "It has 110 rows."), ("art", "The article."), ("tea", "steam")])
def test_a_value_inside_a_longer_word_is_not_cited(value: object, text: str) -> None:
    assert cited([value], passage(text)) == []


def test_chinese_has_no_marks_between_words() -> None:
    assert cited(["年假"], LEAVE) == [("/0", LEAVE.text)]


def test_a_value_in_other_words_is_cited_where_a_passage_holds_it() -> None:
    assert cited({"rule": "Unopened records: returned within 30 days"}, STORES, RETURNS) == [("/rule", RETURNS.text)]
    assert cited({"rule": "Opened gramophones: exchanged at Christmas"}, STORES, RETURNS) == []

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.language.text import fold, humanize, language_of, line_spans, sentence_spans, words


def sentences(text: str) -> list[str]:
    return [text[start:end].strip() for start, end in sentence_spans(text)]


def test_sentences_end_at_full_stops_of_both_scripts() -> None:
    assert sentences("It opens at ten. It closes at seven! 周日休息。欢迎光临！") == [
        "It opens at ten.",
        "It closes at seven!",
        "周日休息。",
        "欢迎光临！",
    ]


def test_abbreviations_initials_and_decimals_do_not_end_a_sentence() -> None:
    assert sentences("Dr. A. Smith pays $3.50, e.g. for coffee. Then he leaves.") == [
        "Dr. A. Smith pays $3.50, e.g. for coffee.",
        "Then he leaves.",
    ]


def test_a_line_wrapped_inside_a_sentence_is_no_boundary() -> None:
    wrapped = (
        "An opened record is exchanged within 14 days. We do not refund\nopened records in money.\n\n- a list item"
    )
    assert sentences(wrapped)[1] == "We do not refund\nopened records in money."


def test_headings_and_list_items_are_lines_of_their_own() -> None:
    assert sentences("# Returns\nAll sales\n- one\n- two\n3. three") == [
        "# Returns",
        "All sales",
        "- one",
        "- two",
        "3. three",
    ]


@given(st.text(alphabet="aB.。!？ \n\t-# 中文1", max_size=80))
def test_spans_touch_and_cover_any_text(text: str) -> None:
    for spans in (sentence_spans(text), line_spans(text)):
        assert "".join(text[start:end] for start, end in spans) == text


@pytest.mark.parametrize(
    ("identifier", "readable"),
    [
        ("SupportRepId", "Support rep id"),
        ("support_rep_id", "Support rep id"),
        ("HTTPServer", "Http server"),
        ("客户_名称", "客户 名称"),
    ],
)
def test_identifiers_become_readable(identifier: str, readable: str) -> None:
    assert humanize(identifier) == readable


def test_codes_and_addresses_stay_one_word() -> None:
    assert words("AC/DC sold INV-2024-0042 to a.b@c.org for 3.5") == [
        "AC/DC", "sold", "INV-2024-0042", "to", "a.b@c.org", "for", "3.5",
    ]  # fmt: skip


def test_folding_meets_width_case_and_accents() -> None:
    assert fold("Ｌｕíｓ KÖLN") == "luis koln"


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("Which albums did AC/DC release?", "en"),
        ("AC/DC 发行了哪些专辑？", "zh"),
        ("アルバムはどれですか", "ja"),
        ("Welche Alben hat AC/DC veröffentlicht?", "de"),
        ("Когда вышел альбом?", "ru"),
        ("???", "en"),
        ("42", "en"),
    ],
)
def test_the_language_of_a_question_is_found(question: str, language: str) -> None:
    assert language_of(question) == language


LINE = "A line of a page that was cut where the page ends, with more than seventy characters"


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("We do not refund", "opened records", True),
        ("We do not refund", "Opened records", False),
        ("Opened records,", "Unopened ones", True),
        (LINE, "Opened records", True),
        (LINE + ".", "Opened records", False),
        (LINE + ":", "Opened records", False),
        (LINE, "- opened records", False),
        (LINE, "12. opened records", False),
        ("## " + LINE, "opened records", False),
        (LINE + "\n", "opened records", False),
        ("员工每年有十二天带薪年假并且可以分几次使", "用年假", True),
        ("员工手册", "年假十二天", False),
    ],
)
def test_a_line_s_end_is_no_boundary_where_the_line_was_only_wrapped(first: str, second: str, is_one: bool) -> None:
    assert (len(sentences(f"{first}\n{second}")) == 1) == is_one


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("See p. 5. Then go.", 2),
        ("Nr. 5 is open. Go.", 2),
        ("It costs 5 approx. as before.", 1),
        ("the end. of it", 1),
        ("He left? or not", 2),
        ("Mr. Smith. Ms. Jones", 2),
        ("plan B. Then go.", 1),
    ],
)
def test_a_full_stop_ends_a_sentence_unless_it_is_an_abbreviation_s_or_a_small_letter_follows(
    text: str, number: int
) -> None:
    assert len(sentences(text)) == number


def test_each_line_of_a_row_is_a_span_with_the_blank_ones_behind_it() -> None:
    text = "Album\nTitle: X\n\nYear: 1"
    assert [text[start:end] for start, end in line_spans(text)] == ["Album\n", "Title: X\n\n", "Year: 1"]
    assert line_spans("Album\n") == [(0, 6)]
    assert line_spans("") == []


def test_blank_space_alone_belongs_to_the_sentence_before_it() -> None:
    assert sentence_spans("One.   \n\n ") == [(0, 10)]
    assert sentence_spans("   ") == [(0, 3)]


def test_a_language_has_a_quarter_of_the_characters_in_its_script() -> None:
    assert language_of("abc中") == "zh"
    assert language_of("abcd中") == "en"
    assert language_of("中!!!") == "zh"


def test_a_short_text_whose_language_is_not_sure_is_english() -> None:
    assert language_of("Jazz") == "en"

"""No label leaves that the checker did not write, in whatever form a model wrote it."""

import time

import pytest
from hypothesis import given, settings

from rag.answer.label_forms import LabelReader, quoted, unlabelled
from tests.security.labels import answers, leaks, write

LABELS = ("k7f2", "m1n2")


@settings(max_examples=60)  # make test-security has 5,000
@given(answers())
def test_no_form_of_a_label_leaves_unchecked_streamed_or_whole(answer: tuple[str, list[int]]) -> None:
    text, cuts = answer
    whole = write(text, [])
    assert leaks(whole) == []
    assert write(text, cuts) == whole


FORMS = (
    "【{}†source】", "［{}］", "〔{}〕", "{{{}}}", "<{}>", "(source: {})", "[Source {}]", "[Source: {}]", "[Quelle: {}]", "[出典：{}]", "[id={}]",
    "[ID:{}]", "[pump.md, {}]", "[{}](#{})", "<sup>{}</sup>", "`{}`", "[^{}]", "[[{}]]", "**[{}]**", "**{}**", "[**{}**]", "({})", "【{}】",
    "[Passages {}; {}]", "[{} and {}]", "[{}-{}]", "[{}|{}]", "[{}/{}]", "[see {}, page 4]", "[{}[9]]]", "see {}", "source: {}", "[{}",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_true_label_in_any_form_is_a_citation_and_a_false_one_is_none(form: str) -> None:
    true = write(
        f"Records can be returned within 30 days {form.replace('{}', 'k7f2').replace('{{', '{').replace('}}', '}')}.",
        [],
    )
    assert "[k7f2]" in true.text
    assert true.text.count("k7f2") == len(true.marks) == 1
    unfounded = (
        f"Turntables have five years of warranty {form.replace('{}', 'k7f2').replace('{{', '{').replace('}}', '}')}."
    )
    emphasis = "**{}**"  # no bracket: what only looks like a label is a word there
    for text in (unfounded, *([unfounded.replace("k7f2", "z9z8")] if form != emphasis else [])):
        false = write(text, [])
        assert false.marks == ()
        assert false.dropped >= 1
        assert false.text.startswith("Turntables have five years of warranty")
        assert "k7f2" not in false.text
        assert "z9z8" not in false.text


@pytest.mark.parametrize("words", ["reference", "references", "Refs.", "en", "citations and labels"])
def test_words_that_say_nothing_beside_a_label_go_with_their_bracket(words: str) -> None:
    assert write(f"Records can be returned within 30 days ({words} k7f2).", []).text == (
        "Records can be returned within 30 days [k7f2]."
    )


def test_words_that_say_something_stay_in_their_bracket() -> None:
    assert write("Records can be returned within 30 days (says k7f2).", []).text == (
        "Records can be returned within 30 days (says [k7f2])."
    )


@pytest.mark.parametrize(
    "text",
    [
        "Hydrogen peroxide is h2o2, and A4B5 is a kind of paper.", "See [the appendix] (and [so on]).", "x < 5 and y > 3 (or not)",
        "| a | b |\n|---|---|\n| h2o2 | 3 |", "**bold** _it_ ~~gone~~ `code(x)` [link](http://h/a?b=c#d)", "a1 b2c3d", "&amp; &#39; &#8364;",
        "```\nfor i in range(3):\n    print(i)\n```", "C2H5OH and a1b2c3d4e are not labels", "「引用」と（注）", "",
    ],
)  # fmt: skip
def test_a_text_without_labels_stays_as_it_is(text: str) -> None:
    for cuts in ([len(text)], range(1, len(text) + 1)):
        reader, at, out = LabelReader(LABELS), 0, ""
        for cut in cuts:
            out, at = out + reader.feed(text[at:cut]), cut
        assert out + reader.finish() == text


@pytest.mark.parametrize(
    "unit", [" ", "\t", ".", "[", "(", "`", "*", "<", "a1", "k7f2 ", "[a1b2 ", "[k7f2]", "&#", "a\u200b", "_a1", "\\"]
)
def test_no_text_takes_long(unit: str) -> None:
    text = (unit * 2000)[:2000]
    started = time.process_time()
    write(text, [])
    write(text, list(range(1, len(text))))
    assert time.process_time() - started < 10  # 0.1 s; a quadratic search takes a minute


def test_a_quote_keeps_its_words_and_nothing_that_looks_like_a_label() -> None:
    assert quoted("The valve (h2o2) is k7f2 [z9z8], see [x].", LABELS) == "The valve (h2o2) is  (z9z8), see [x]."


def test_a_text_in_json_loses_its_labels() -> None:
    assert unlabelled("within 30 days [k7f2], says m1n2 [z9z8]", LABELS) == "within 30 days, says"

"""The tables of languages: a new one edits no logic, so what is wrong in one has to show here."""

import re
import subprocess
import sys

import pytest
import Stemmer

from rag.language.languages import Language, alternatives, known_pairs, languages

PATTERNS = (
    "script",
    "how_many",
    "figure",
    "over_all",
    "number",
    "refers_back",
    "label_names",
    "label_hints",
    "label_joins",
)


@pytest.mark.parametrize("code", languages())
def test_a_table_has_a_stemmer_and_patterns_that_exist(code: str) -> None:
    language = languages()[code]
    assert re.fullmatch("[a-z]{2}", language.code)
    assert language.stemmer in ("", *Stemmer.algorithms())
    assert all(re.compile(getattr(language, name)) for name in PATTERNS)


@pytest.mark.parametrize("code", languages())
def test_a_language_has_a_script_or_words_that_tell_it(code: str) -> None:
    language = languages()[code]
    assert language.script or language.telling_words or language.stop_words


def test_english_has_every_text_that_others_may_lack() -> None:
    english = languages()["en"]
    assert english.nothing_found
    assert english.no_figure
    assert "{shown}" in english.more_rows


def test_no_telling_word_of_a_language_is_a_stop_word_of_english_alone() -> None:
    stop_words = languages()["en"].stop_words
    assert all(len(each.telling_words - stop_words) > 10 for each in languages().values() if each.telling_words)


def test_a_pattern_over_several_lines_holds_no_line_break() -> None:
    assert all("\n" not in getattr(each, name) for each in languages().values() for name in PATTERNS)


def test_an_unknown_name_in_a_table_is_an_error() -> None:
    with pytest.raises(TypeError, match="stopwords"):
        Language(code="xx", stopwords="a")  # type: ignore[call-arg]


def test_alternatives_join_what_languages_have_and_repeat_nothing() -> None:
    assert alternatives("label_joins") == "and|or|und|et|和|与|及"
    assert alternatives("label_fillers").split("|").count("e") == 1


def test_each_language_with_known_pairs_has_enough_to_measure() -> None:
    assert all(len(pairs) >= 6 and len(set(pairs)) == len(pairs) for pairs in known_pairs().values())
    assert "" in known_pairs()


def test_the_command_s_help_reads_no_table() -> None:
    program = "import service.cli.main, rag.language.languages as l; print(l.languages.cache_info().currsize)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "0"

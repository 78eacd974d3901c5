import pytest

from rag.language.terms import content_weights, coverage, function_words, stemming_language, terms


def test_a_compound_gives_its_whole_and_its_parts() -> None:
    assert terms("AC/DC") == ["ac/dc", "ac", "dc"]
    assert "inv-2024-0042" in terms("see INV-2024-0042")
    assert terms("InvoiceLine")[1:] == ["invoic", "line"]


def test_chinese_is_cut_into_words() -> None:
    assert {"黑胶", "唱片"} <= set(terms("黑胶唱片必须竖直存放"))


def test_a_long_chinese_word_is_found_by_its_parts_and_asked_for_as_one() -> None:
    assert {"中华", "共和国", "中华人民共和国"} <= set(terms("中华人民共和国"))
    assert set(content_weights("中华人民共和国")) == {"中华人民共和国"}


def test_latin_words_in_chinese_are_words_of_their_own() -> None:
    assert {"ac/dc", "album", "发行"} <= set(terms("AC/DC 发行了 albums"))


def test_a_number_after_a_word_is_a_thing_of_its_own() -> None:
    assert "invoic 5" in terms("the total of invoice 5")
    assert "invoic 5" in terms("Invoice 5")
    assert "5" not in terms("Total: 5.94")


def test_stems_accents_and_possessives_meet() -> None:
    assert terms("customers' Gonçalves’s") == terms("customer Goncalves")


def test_names_weigh_more_than_words_and_function_words_nothing() -> None:
    weights = content_weights("Who is the support agent of Luís Gonçalves?")
    assert weights[terms("Luís")[0]] == weights["goncalv"] == 3
    assert weights["agent"] == 1
    assert "who" not in weights


@pytest.mark.parametrize(("text", "share"), [("mongolia capital", 1.0), ("capital", 0.25), ("", 0.0)])
def test_coverage_is_the_share_of_weight(text: str, share: float) -> None:
    assert coverage(content_weights("What is the capital of Mongolia?"), set(terms(text))) == share


def test_a_synonym_counts_for_its_word() -> None:
    assert coverage({"专辑": 1.0}, {"album"}, {"专辑": frozenset({"album"})}) == 1.0


def test_traditional_and_simplified_characters_meet() -> None:
    assert terms("臺灣的軟體公司") == terms("台湾的软体公司")
    assert content_weights("唱片應該怎樣存放") == content_weights("唱片应该怎样存放")


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        ("Wie lange habe ich Garantien?", "Für die Geräte ist eine Garantie von zwei Jahren"),
        ("Quelles sont les chansons ?", "C'est une chanson pour les enfants"),
        ("¿Cuáles son las canciones de los niños?", "La canción es para los niños"),
    ],
)
def test_words_meet_by_the_stems_of_their_own_language(asked: str, held: str) -> None:
    shared = set(terms(asked)) & set(terms(held))
    assert shared & {"garanti", "chanson", "cancion"}


def test_a_word_is_found_whatever_language_the_question_seems_to_be_in() -> None:
    assert set(terms("Garantie")) <= set(terms("Für die Geräte ist eine Garantie von zwei Jahren"))


def test_rows_and_english_have_english_stems_only() -> None:
    assert terms("Die Hard") == ["die", "hard"]
    assert terms("The customers of the store") == ["the", "custom", "of", "the", "store"]


@pytest.mark.parametrize(
    ("words", "language"),
    [
        ("Wie lange habe ich Garantie", "german"),
        ("die Hard", "english"),
        ("der customers and the orders of the store", "english"),
        ("les chansons sont", "french"),
        ("Wikipedia", "english"),
        ("Het boek is niet van mij", "dutch"),
    ],
)
def test_a_text_is_stemmed_in_the_language_that_two_of_its_words_tell(words: str, language: str) -> None:
    assert stemming_language(words.split()) == language


def test_function_words_are_stems_and_chinese_words() -> None:
    assert {"the", "doe", "什么"} <= function_words()
    assert "album" not in function_words()


@pytest.mark.parametrize(
    ("question", "term", "weight"),
    [
        ("which album is it", "album", 1),
        ("Album or single", "album", 1),
        ("which Album is it", "album", 3),
        ("is KLM late", "klm", 3),
        ("KLM is late", "klm", 3),
        ("IT costs", "it", 3),
        ("is it late", "it", 0),
        ("A plan", "a", 0),
        ("B is late", "b", 1),
        ("is a-b late", "a-b", 3),
        ("a café", "cafe", 3),
        ("what is 5", "5", 3),
        ("invoice 5", "invoic 5", 3),
        ("invoice 5", "5", 1),
        ("the 5", "the 5", 0),
        ("invoice A5 5", "a5 5", 0),
        ("发票 invoice", "invoic", 3),
        ("发票在哪里", "发票", 1),
        ("发票在哪里", "哪里", 0),
        ("album and Album", "album", 3),
        ("Album and album", "album", 1),
        ("which Album is my album", "album", 3),
    ],
)
def test_what_a_word_weighs_in_a_question(question: str, term: str, weight: float) -> None:
    assert content_weights(question).get(term, 0) == weight


def test_a_word_of_another_language_has_both_stems_only_where_they_differ() -> None:
    assert terms("Wie lange habe ich Garantien?")[-2:] == ["garantien", "garanti"]
    assert terms("wie ist das Haus").count("haus") == 1


def test_a_compound_in_a_sentence_of_another_language_has_its_english_stems() -> None:
    assert terms("Wie ist die XY-4711")[-3:] == ["xy-4711", "xy", "4711"]


def test_a_number_makes_no_pair_with_chinese_or_a_number_before_it() -> None:
    assert " ".join(terms("发票 5 7")).count("5 7") == 1
    assert "5 7" not in terms("5 7")
    assert "发票 5" not in terms("发票 5")


def test_what_has_no_content_words_holds_nothing() -> None:
    assert coverage({}, {"a"}) == 0.0
    assert coverage({"a": 1.0, "b": 3.0}, {"b"}, {"a": frozenset({"c"})}) == 0.75

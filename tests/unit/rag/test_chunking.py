from dataclasses import replace
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from rag.chunking import chunk_id, dense_text, lexical_text, section_at, split
from rag.documents import Chunk, Document, Section
from rag.fakes import CharacterCounter
from rag.language.tokens import QwenTokenCounter

COUNTER = QwenTokenCounter()
FILE = Document(id="a.md", source="docs", title="A", text="", uri="file:///a.md", scope="a.md")


@settings(max_examples=30)
@given(
    st.text(alphabet="ab .\n中文。#-", max_size=600),
    st.lists(st.tuples(st.integers(0, 600), st.integers(1, 4)), max_size=4),
)
def test_chunks_touch_cover_and_fit_whatever_the_text(text: str, marks: list[tuple[int, int]]) -> None:
    sections = tuple(Section(start=start, page=page) for start, page in sorted(marks))
    chunks = split(replace(FILE, text=text, sections=sections), COUNTER, max_tokens=40)
    if not text.strip():
        assert chunks == []
        return
    assert "".join(chunk.text for chunk in chunks) == text
    assert all(chunk.text == text[chunk.start : chunk.end] for chunk in chunks)
    assert all(COUNTER.count_text(chunk.text) <= 40 for chunk in chunks if chunk.text.strip())


def test_no_chunk_crosses_a_page() -> None:
    text = "First page, short.\nSecond page, short.\n"
    document = replace(FILE, text=text, sections=(Section(start=0, page=1), Section(start=19, page=2)))
    assert [(chunk.page, chunk.text) for chunk in split(document, COUNTER)] == [
        (1, "First page, short.\n"),
        (2, "Second page, short.\n"),
    ]


def test_a_bare_heading_joins_its_section_and_the_context_names_it() -> None:
    text = "# Handbook\n\n## Returns\n\n" + "Records can be returned within thirty days of the invoice. " * 3
    headings = (Section(start=0, heading="Handbook"), Section(start=12, heading="Handbook > Returns"))
    chunks = split(replace(FILE, text=text, sections=headings), COUNTER)
    assert len(chunks) == 1
    assert chunks[0].text.startswith("# Handbook")


def test_ids_depend_on_place_and_content_only() -> None:
    document = replace(FILE, text="One sentence. " * 100)
    first, again = split(document, COUNTER, max_tokens=50), split(document, COUNTER, max_tokens=50)
    changed = split(replace(document, text=document.text.replace("One", "Two", 1)), COUNTER, max_tokens=50)
    assert [c.id for c in first] == [c.id for c in again]
    assert first[0].id != changed[0].id
    assert [c.id for c in first[1:]] == [c.id for c in changed[1:]]


def test_a_small_row_stays_whole_and_a_large_one_repeats_its_key() -> None:
    row = replace(FILE, kind="row", key_text="Album; Album id: 4", text="Album\nAlbum id: 4\nTitle: X")
    assert [chunk.context for chunk in split(row, COUNTER)] == [""]
    large = replace(row, text=row.text + "\nNotes: " + "many words about it. " * 60)
    assert {chunk.context for chunk in split(large, COUNTER, max_tokens=64)} == {"Album; Album id: 4"}


def cut(text: str, *, max_tokens: int, **of_document: Any) -> list[Chunk]:
    """Chunks whose tokens are characters."""
    return split(replace(FILE, text=text, **of_document), CharacterCounter(), max_tokens=max_tokens)


def texts(text: str, *, max_tokens: int, **of_document: Any) -> list[str]:
    return [chunk.text for chunk in cut(text, max_tokens=max_tokens, **of_document)]


def chunk(kind: Literal["row", "file"], *, context: str = "") -> Chunk:
    document = replace(FILE, kind=kind, title="Invoice 5")
    return Chunk(id="c", document=document, ordinal=0, text="Total: 13.86\n", start=0, end=13, context=context)


def test_a_chunk_is_embedded_by_its_text_after_its_context() -> None:
    assert dense_text(chunk("file", context="Handbook > Returns")) == "Handbook > Returns\nTotal: 13.86"
    assert dense_text(chunk("row")) == "Total: 13.86"


def test_a_row_is_found_by_its_title_and_a_page_by_its_context() -> None:
    assert lexical_text(chunk("row", context="Invoice; Customer: Ann")) == (
        "Invoice 5\nInvoice; Customer: Ann\nTotal: 13.86"
    )
    assert lexical_text(chunk("file", context="Handbook")).strip() == "Handbook\nTotal: 13.86"


def test_chunks_are_filled_with_whole_sentences() -> None:
    assert texts("One two. Three four. Five six. ", max_tokens=21) == ["One two. Three four. ", "Five six. "]
    assert texts("One two. Three four. Five six. ", max_tokens=20) == ["One two. ", "Three four. ", "Five six. "]


def test_a_text_that_fits_to_the_token_is_one_chunk() -> None:
    assert texts("One two. Three.", max_tokens=15) == ["One two. Three."]


def test_an_overflow_is_cut_at_the_last_paragraph_of_the_second_half() -> None:
    text = "Aa aa.\n\nBb bb. Cc cc.\n\nDd dd. Ee ee. "
    assert texts(text, max_tokens=30) == ["Aa aa.\n\nBb bb. Cc cc.\n\n", "Dd dd. Ee ee. "]
    early = "Aa aa.\n\nBb bb. Cc cc. Dd dd. Ee ee. Ff ff. "
    assert texts(early, max_tokens=37) == ["Aa aa.\n\nBb bb. Cc cc. Dd dd. Ee ee. ", "Ff ff. "]


def test_a_sentence_that_is_too_long_is_cut_between_words_and_a_word_between_characters() -> None:
    assert texts("aaaa bbbb cccc dddd", max_tokens=12) == ["aaaa bbbb ", "cccc dddd"]
    assert texts("a" * 25, max_tokens=10) == ["a" * 10, "a" * 10, "a" * 5]
    assert texts("aa " + "b" * 20, max_tokens=10) == ["aa " + "b" * 7, "b" * 10, "bbb"]


def test_a_section_of_a_page_joins_a_tiny_one_before_it_and_no_other() -> None:
    long, tiny = "A sentence that is long enough to stand. ", "Title\n"
    marks = (Section(start=0), Section(start=len(tiny), heading="H"))
    assert len(cut(tiny + long, max_tokens=100, sections=marks)) == 1
    marks = (Section(start=0), Section(start=len(long), heading="H"))
    assert len(cut(long + tiny, max_tokens=100, sections=marks)) == 2
    paged = (Section(start=0, page=1), Section(start=len(tiny), page=2))
    assert len(cut(tiny + long, max_tokens=100, sections=paged)) == 2


def test_blank_space_before_a_page_belongs_to_it() -> None:
    marks = (Section(start=0, page=1), Section(start=3, page=2))
    (only,) = cut("\n\n\nA sentence of page two.", max_tokens=100, sections=marks)
    assert only.page == 2


def test_the_section_that_holds_an_offset_is_the_last_one_before_it() -> None:
    marks = (Section(start=5, page=1), Section(start=9, page=2))
    assert [section_at(marks, offset).page for offset in (4, 5, 8, 9, 99)] == [None, 1, 1, 2, 2]


def test_a_section_s_heading_stands_after_the_title_in_the_context() -> None:
    marks = (Section(start=0, heading="Returns"),)
    assert [each.context for each in cut("Text.", max_tokens=50, sections=marks)] == ["A > Returns"]
    assert [each.context for each in cut("Text.", max_tokens=50)] == ["A"]


def test_an_id_is_of_source_document_ordinal_context_and_text() -> None:
    base = chunk("file")
    others = [replace(base, ordinal=1), replace(base, text="x"), replace(base, context="x")]
    ids = [chunk_id("s", "d", each) for each in (base, *others)] + [chunk_id("t", "d", base), chunk_id("s", "e", base)]
    assert len(set(ids)) == 6
    assert chunk_id("s", "d", replace(base, page=9, id="other")) == ids[0]

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from rag.chunking import split
from rag.documents import Document, Section
from rag.language.tokens import QwenTokenCounter

COUNTER = QwenTokenCounter()
FILE = Document(id="a.md", source="docs", title="A", text="", uri="file:///a.md", scope="a.md")


@settings(max_examples=60)
@given(
    st.text(alphabet="ab .\n中文。#-", max_size=600),
    st.lists(st.tuples(st.integers(0, 600), st.integers(1, 4)), max_size=4),
)
def test_chunks_touch_cover_and_fit_whatever_the_text(text: str, marks: list[tuple[int, int]]):
    sections = tuple(Section(start=start, page=page) for start, page in sorted(marks))
    chunks = split(replace(FILE, text=text, sections=sections), COUNTER, max_tokens=40)
    if not text.strip():
        assert chunks == []
        return
    assert "".join(chunk.text for chunk in chunks) == text
    assert all(chunk.text == text[chunk.start : chunk.end] for chunk in chunks)
    assert all(COUNTER.count_text(chunk.text) <= 40 for chunk in chunks if chunk.text.strip())


def test_no_chunk_crosses_a_page():
    text = "First page, short.\nSecond page, short.\n"
    document = replace(FILE, text=text, sections=(Section(start=0, page=1), Section(start=19, page=2)))
    assert [(chunk.page, chunk.text) for chunk in split(document, COUNTER)] == [
        (1, "First page, short.\n"),
        (2, "Second page, short.\n"),
    ]


def test_a_bare_heading_joins_its_section_and_the_context_names_it():
    text = "# Handbook\n\n## Returns\n\n" + "Records can be returned within thirty days of the invoice. " * 3
    headings = (Section(start=0, heading="Handbook"), Section(start=12, heading="Handbook > Returns"))
    chunks = split(replace(FILE, text=text, sections=headings), COUNTER)
    assert len(chunks) == 1
    assert chunks[0].text.startswith("# Handbook")


def test_ids_depend_on_place_and_content_only():
    document = replace(FILE, text="One sentence. " * 100)
    first, again = split(document, COUNTER, max_tokens=50), split(document, COUNTER, max_tokens=50)
    changed = split(replace(document, text=document.text.replace("One", "Two", 1)), COUNTER, max_tokens=50)
    assert [c.id for c in first] == [c.id for c in again]
    assert first[0].id != changed[0].id
    assert [c.id for c in first[1:]] == [c.id for c in changed[1:]]


def test_a_small_row_stays_whole_and_a_large_one_repeats_its_key():
    row = replace(FILE, kind="row", key_text="Album; Album id: 4", text="Album\nAlbum id: 4\nTitle: X")
    assert [chunk.context for chunk in split(row, COUNTER)] == [""]
    large = replace(row, text=row.text + "\nNotes: " + "many words about it. " * 60)
    assert {chunk.context for chunk in split(large, COUNTER, max_tokens=64)} == {"Album; Album id: 4"}

"""Split documents into chunks with exact offsets, at headings, paragraphs and sentences."""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from rag.documents import Chunk, Document, Section
from rag.language.text import sentence_spans
from rag.language.tokens import block_text
from rag.ports import TokenCounter

NAMESPACE = uuid.UUID("7b0e6a52-41ad-5a4e-9d55-6f1c1a0c8f3e")
_TINY_TOKENS = 24  # a section shorter than this (a bare heading) joins the next one on its page

Span = tuple[int, int]


def split(document: Document, counter: TokenCounter, *, max_tokens: int = 256) -> list[Chunk]:
    """Split a document into chunks of at most `max_tokens` Qwen2.5 tokens.

    The chunks touch and cover the text: joined, they are the document's text. None crosses a page. Ids are
    UUIDv5 of source, document id, ordinal and content, so that the same text always gives the same points.
    """
    if not document.text.strip():
        return []
    spans = [
        span for section in _sections(document, counter) for span in _pack(document.text, section, counter, max_tokens)
    ]
    whole = len(spans) == 1
    return [_chunk(document, ordinal, span, whole, counter) for ordinal, span in enumerate(spans)]


def dense_text(chunk: Chunk) -> str:
    """What a chunk is embedded by: its text, after its context."""
    return f"{chunk.context}\n{chunk.text}".strip()


def lexical_text(chunk: Chunk) -> str:
    """What a chunk is found by, word by word.

    A row's title holds its table and key ('Invoice 5'), which people ask for by name; a file's is in its context.
    """
    title = chunk.document.title if chunk.document.kind == "row" else ""
    return f"{title}\n{dense_text(chunk)}"


def chunk_id(source: str, document_id: str, chunk: Chunk) -> str:
    """The id that a chunk has, or had, in a document."""
    content = hashlib.sha256(f"{chunk.context}\0{chunk.text}".encode("utf-8", "surrogatepass")).hexdigest()
    return str(uuid.uuid5(NAMESPACE, f"{source}\0{document_id}\0{chunk.ordinal}\0{content}"))


def _chunk(document: Document, ordinal: int, span: Span, whole: bool, counter: TokenCounter) -> Chunk:
    start, end = span
    section = section_at(document.sections, start + _leading_space(document.text, span))
    text = document.text[start:end]
    context = _context(document, section, whole)
    chunk = Chunk(
        id="",
        document=document,
        ordinal=ordinal,
        text=text,
        start=start,
        end=end,
        page=section.page,
        context=context,
        tokens=counter.count_text(block_text(text)),
    )
    return replace(chunk, id=chunk_id(document.source, document.id, chunk))


def _context(document: Document, section: Section, whole: bool) -> str:
    if document.kind == "row":
        return "" if whole else document.key_text
    return " > ".join(part for part in (document.title, section.heading) if part)


def _leading_space(text: str, span: Span) -> int:
    piece = text[span[0] : span[1]]
    return len(piece) - len(piece.lstrip())


def section_at(sections: tuple[Section, ...], offset: int) -> Section:
    """The section that holds an offset; an empty one before the first."""
    found = Section(start=0)
    for section in sections:
        if section.start > offset:
            break
        found = section
    return found


def _sections(document: Document, counter: TokenCounter) -> list[Span]:
    """Spans between headings and pages, a tiny one joined to the next one of its page."""
    starts = sorted({0, *(s.start for s in document.sections if 0 < s.start < len(document.text))})
    bounds = [*starts, len(document.text)]
    spans: list[Span] = []
    for start, end in pairwise(bounds):
        page = section_at(document.sections, start).page
        if spans and _joins(document, spans[-1], page, counter):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _joins(document: Document, previous: Span, page: int | None, counter: TokenCounter) -> bool:
    text = document.text[previous[0] : previous[1]]
    if not text.strip():
        return True
    if section_at(document.sections, previous[0]).page != page:
        return False
    return len(text) < 8 * _TINY_TOKENS and counter.count_text(text) < _TINY_TOKENS


def _pack(text: str, section: Span, counter: TokenCounter, max_tokens: int) -> Iterator[Span]:
    """Fill chunks with whole sentences; on overflow prefer the last paragraph break of the second half."""
    start, end = section
    if _fits(text[start:end], counter, max_tokens):
        yield section
        return
    units = list(_units(text, section, counter, max_tokens))
    first, used = 0, 0
    index = 0
    while index < len(units):
        size = units[index][2]
        if index > first and used + size > max_tokens:
            cut = _paragraph_cut(text, units, first, index)
            yield units[first][0], units[cut][0]
            first, index, used = cut, cut, 0
            continue
        used += size
        index += 1
    yield units[first][0], end


def _paragraph_cut(text: str, units: list[tuple[int, int, int]], first: int, last: int) -> int:
    for index in range(last, first + (last - first) // 2, -1):
        if index > first and "\n\n" in text[units[index - 1][0] : units[index][0]]:
            return index
    return last


def _units(text: str, section: Span, counter: TokenCounter, max_tokens: int) -> Iterator[tuple[int, int, int]]:
    """Sentences as (start, end, tokens); one longer than a chunk is cut between words, or characters."""
    offset, stop = section
    for start, end in sentence_spans(text[offset:stop]):
        start, end = start + offset, end + offset
        while not _fits(text[start:end], counter, max_tokens):
            cut = _longest_prefix(text, start, end, counter, max_tokens)
            yield start, cut, counter.count_text(text[start:cut])
            start = cut
        if start < end:
            yield start, end, counter.count_text(text[start:end])


def _fits(text: str, counter: TokenCounter, max_tokens: int) -> bool:
    """Whether text has at most max_tokens; a token is at least a byte and rarely over 32 characters."""
    if len(text.encode("utf-8", "surrogatepass")) <= max_tokens:
        return True
    return len(text) <= max_tokens * 32 and counter.count_text(text) <= max_tokens


def _longest_prefix(text: str, start: int, end: int, counter: TokenCounter, max_tokens: int) -> int:
    low, high = start + 1, min(end, start + max_tokens * 32)
    while low < high:
        middle = (low + high + 1) // 2
        if counter.count_text(text[start:middle]) <= max_tokens:
            low = middle
        else:
            high = middle - 1
    space = max(text.rfind(" ", start + 1, low), text.rfind("\t", start + 1, low))
    return space + 1 if low < end and space > start + (low - start) // 2 else low

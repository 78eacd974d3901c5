"""What the shipped fakes do beyond their ports' contracts (tests/contract)."""

import asyncio
from collections.abc import Sequence

import pytest

from rag.documents import Chunk, Document, Hit, Point
from rag.errors import GeneratorUnavailable, IndexUnavailable, SourceError
from rag.events import Checkpoint, SnapshotComplete, Upsert
from rag.fakes import (
    CharacterCounter,
    HashEmbedder,
    ListSource,
    MemoryIndex,
    MemoryNotes,
    OverlapReranker,
    ScriptedGenerator,
    TermEncoder,
)
from rag.ports import Scope
from rag.types import Delta, Message, Route, Sampling, Usage


def document(name: str) -> Document:
    return Document(id=name, source="s", title=name, text=name, uri="u", scope=f"{name}s")


def hit(text: str) -> Hit:
    chunk = Chunk(id=text, document=document("d"), ordinal=0, text=text, start=0, end=len(text))
    return Hit(chunk=chunk, score=0.5, scores={"dense": 0.5})


def point(text: str) -> Point:
    dense = HashEmbedder().embed([text])[0].tolist()
    return Point(chunk=hit(text).chunk, dense=dense, sparse=TermEncoder().encode([text])[0])


def test_an_index_tells_each_request_and_fails_as_it_is_told_to() -> None:
    asked: list[str] = []
    index = MemoryIndex(before=asked.append)
    index.upsert([point("tea")])
    assert (index.count(), asked) == (1, ["upsert", "count"])

    def down(request: str) -> None:
        raise IndexUnavailable(f"no {request}")

    with pytest.raises(IndexUnavailable, match="no query"):
        MemoryIndex(before=down).query([1.0], TermEncoder().encode([""])[0], scope=Scope(), limit=1)


def test_a_write_that_fails_changes_nothing() -> None:
    failing = iter([None, IndexUnavailable("down")])

    def before(request: str) -> None:
        if (error := next(failing, None)) is not None:
            raise error

    index = MemoryIndex(before=before)
    index.upsert([point("tea")])
    with pytest.raises(IndexUnavailable):
        index.delete(["tea"])
    assert index.count() == 1


def test_a_list_of_documents_is_a_whole_read() -> None:
    source, notes = ListSource([document("a"), document("b")]), MemoryNotes()
    assert list(source.read(notes)) == [
        Upsert(document=document("a")),
        Upsert(document=document("b")),
        SnapshotComplete(scopes=frozenset({"as", "bs"})),
    ]
    assert source.notes is notes


def test_a_list_of_events_is_read_as_it_is_up_to_its_exception() -> None:
    end = SnapshotComplete(scopes=frozenset())
    assert list(ListSource([end]).read()) == [end]
    events = ListSource([document("a"), SourceError("gone"), document("b")]).read()
    assert next(events) == Upsert(document=document("a"))
    with pytest.raises(SourceError, match="gone"):
        next(events)


def test_notes_come_back_as_json_gives_them() -> None:
    notes = MemoryNotes()
    notes.keep(Checkpoint(scope="a", name="n", head={"seen": (1, 2)}, body=b"x"))
    notes.keep(Checkpoint(scope="b", name="n", head={}))
    notes.keep(None)
    assert list(notes.find(scope="a")) == [("a", "n", {"seen": [1, 2]})]
    assert [scope for scope, _, _ in notes.find(name="n")] == ["a", "b"]
    assert notes.body("a", "n") == b"x"
    notes.keep(Checkpoint(scope="a", name="n", head=None))
    notes.keep(Checkpoint(scope="a", name="m", head=None))
    assert [scope for scope, _, _ in notes.find()] == ["b"]


def said(generator: ScriptedGenerator, asked: Sequence[Message] = ()) -> list[Delta]:
    async def collect() -> list[Delta]:
        return [delta async for delta in generator.stream(asked, Sampling(), Route(affinity="c1"))]

    return asyncio.run(collect())


def test_a_generator_says_its_lines_and_counts_characters() -> None:
    generator = ScriptedGenerator("One. ", Delta(text="Two.", cut=True))
    assert said(generator, [Message(role="user", content="Hi")]) == [
        Delta(text="One. "), Delta(text="Two.", cut=True), Delta(usage=Usage(prompt_tokens=13, completion_tokens=9)),
    ]  # fmt: skip
    assert [each.route.affinity for each in generator.asked] == ["c1"]


def test_a_generator_reports_the_usage_that_it_is_given() -> None:
    assert said(ScriptedGenerator("One.", Delta(usage=Usage(cached_tokens=7))))[1:] == [
        Delta(usage=Usage(cached_tokens=7))
    ]


def test_a_generator_that_fails_says_so_when_it_is_checked() -> None:
    generator = ScriptedGenerator("One.", GeneratorUnavailable("down"))
    with pytest.raises(GeneratorUnavailable):
        said(generator)
    assert asyncio.run(generator.check()) == {"scripted": "down"}
    assert asyncio.run(ScriptedGenerator(window_tokens=99).window_tokens()) == 99


def test_a_reranker_puts_what_shares_words_first_unless_there_is_no_time() -> None:
    hits = [hit("green tea"), hit("black coffee beans"), hit("coffee")]
    ranked = OverlapReranker().rank("black coffee", hits, timeout_s=1)
    assert [each.chunk.id for each in ranked] == ["black coffee beans", "coffee", "green tea"]
    assert ranked[0].scores == {"dense": 0.5, "fused": 0.5, "rerank": 1.0}
    assert OverlapReranker().rank("black coffee", hits, timeout_s=0) == hits
    assert OverlapReranker().rank("", hits, timeout_s=1)[0].score == 0


def test_a_term_weighs_as_often_as_it_stands_and_in_a_query_once() -> None:
    (stored,), (asked,) = TermEncoder().encode(["tea tea cup"]), TermEncoder().encode(["tea tea cup"], query=True)
    assert sorted(stored.values) == [1.0, 2.0]
    assert asked.values == (1.0, 1.0)
    assert stored.indices == asked.indices == tuple(sorted(stored.indices))


def test_a_character_is_a_token() -> None:
    assert (CharacterCounter().count_text("ab中"), CharacterCounter().additive) == (3, True)
    assert not CharacterCounter(additive=False).additive

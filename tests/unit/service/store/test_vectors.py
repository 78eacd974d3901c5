"""What is remembered of vectors, for how long, and what it never costs."""

import sqlite3
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag.chunking import dense_text
from rag.documents import Chunk, Document, Point, SparseVector
from rag.fakes.index import MemoryIndex
from service.store.vectors import EncoderMemory, Remembering, VectorCache

MB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "vectors.sqlite"


@pytest.fixture
def cache(path: Path) -> Iterator[VectorCache]:
    made = VectorCache(path, limit_bytes=64 * MB)
    yield made
    made.close()


def point(text: str, vector: float = 0.5, *, name: str = "") -> Point:
    document = Document(id=name or text, source="s", title="", text=text, uri="")
    chunk = Chunk(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, name or text)),
        document=document,
        ordinal=0,
        text=text,
        start=0,
        end=len(text),
    )
    return Point(chunk=chunk, dense=[vector, 0.25], sparse=SparseVector(indices=(), values=()))


def told(point: Point) -> str:
    return dense_text(point.chunk)


def test_a_vector_is_found_by_its_text_and_its_encoder(cache: VectorCache) -> None:
    kept = point("a lamp")
    cache.keep("e5", [kept])
    assert cache.find("e5", [told(kept), "another"]) == {told(kept): [0.5, 0.25]}
    assert cache.find("minilm", [told(kept)]) == {}


def test_what_is_kept_is_found_by_the_next_process(cache: VectorCache, path: Path) -> None:
    cache.keep("e5", [point("a lamp")])
    cache.close()
    assert VectorCache(path, limit_bytes=MB).find("e5", [told(point("a lamp"))])
    assert path.stat().st_mode & 0o077 == 0


def test_a_vector_goes_with_the_last_chunk_that_holds_its_text(cache: VectorCache) -> None:
    one, twin = point("a lamp", name="1"), point("a lamp", name="2")
    cache.keep("e5", [one, twin])
    cache.forget([one.chunk.id])
    assert cache.find("e5", [told(one)])
    cache.forget([twin.chunk.id])
    assert cache.find("e5", [told(one)]) == {}


def test_it_goes_for_every_encoder_and_leaves_nothing_in_the_file(cache: VectorCache, path: Path) -> None:
    for encoder in ("e5", "minilm"):
        cache.keep(encoder, [point("a lamp")])
    cache.forget([point("a lamp").chunk.id])
    cache.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM vectors").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM chunks").fetchone() == (0,)


def test_a_chunk_whose_text_changed_holds_the_old_one_no_more(cache: VectorCache) -> None:
    before, after = point("a lamp", name="1"), point("a desk", name="1")
    cache.keep("e5", [before])
    cache.keep("e5", [after])
    assert cache.find("e5", [told(before), told(after)]) == {told(after): [0.5, 0.25]}


def test_a_chunk_keeps_what_another_encoder_made_of_it(cache: VectorCache) -> None:
    cache.keep("e5", [point("a lamp", 0.5)])
    cache.keep("minilm", [point("a lamp", 0.125)])
    assert cache.find("e5", [told(point("a lamp"))]) == {told(point("a lamp")): [0.5, 0.25]}


def test_what_was_used_longest_ago_goes_when_there_is_no_room(path: Path) -> None:
    cache = VectorCache(path, limit_bytes=MB // 2)
    cache.keep("e5", [point("the first")])
    for page in range(60):
        cache.keep("e5", [point(f"{page} {number}") for number in range(100)])
        assert cache.find("e5", [told(point("the first"))])  # it is used all along
    assert cache.find("e5", [told(point("0 0"))]) == {}
    assert cache.find("e5", [told(point("59 99"))])
    cache.close()
    assert path.stat().st_size < MB


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\1" * 5000])
def test_a_broken_file_is_made_anew(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    cache = VectorCache(path, limit_bytes=MB)
    cache.keep("e5", [point("a lamp")])
    assert cache.find("e5", [told(point("a lamp"))])


def test_a_file_that_breaks_while_it_is_used_is_made_anew(cache: VectorCache, path: Path) -> None:
    for number in range(300):
        cache.keep("e5", [point(f"{number}")])
    cache.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)  # its first page is whole
    path.write_bytes(content)
    for _ in range(3):
        cache.keep("e5", [point("a lamp")])
    assert cache.find("e5", [told(point("a lamp"))])


def test_what_is_embedded_anew_takes_the_place_of_what_was_kept(cache: VectorCache) -> None:
    for vector in (0.5, 0.125):
        cache.keep("e5", [point("a lamp", vector)])
    assert cache.find("e5", [told(point("a lamp"))]) == {told(point("a lamp")): [0.125, 0.25]}


def test_a_folder_that_cannot_be_written_costs_the_vectors_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache = VectorCache(tmp_path / "file" / "vectors.sqlite", limit_bytes=MB)
    for _ in range(3):
        cache.keep("e5", [point("a lamp")])
        assert cache.find("e5", [told(point("a lamp"))]) == {}
        cache.forget([point("a lamp").chunk.id])
    assert [record.message for record in caplog.records if "cannot be used" in record.message] == [
        record.message for record in caplog.records
    ]
    assert len(caplog.records) == 1


def test_threads_and_processes_may_share_it(path: Path) -> None:
    caches = [VectorCache(path, limit_bytes=MB * 64) for _ in range(3)]
    failures: list[BaseException] = []

    def work(cache: VectorCache, number: int) -> None:
        try:
            for page in range(10):
                cache.keep("e5", [point(f"{number} {page} {item}") for item in range(20)])
        except BaseException as err:  # noqa: BLE001 told by the test
            failures.append(err)

    threads = [threading.Thread(target=work, args=(cache, number)) for number, cache in enumerate(caches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = [told(point(f"{number} {page} {item}")) for number in range(3) for page in range(10) for item in range(20)]
    assert failures == []
    assert len(caches[0].find("e5", texts)) == 600


def test_a_store_that_remembers_keeps_what_it_stores_and_forgets_what_it_deletes(cache: VectorCache) -> None:
    memory = EncoderMemory(cache=cache, encoder="e5")
    store = Remembering(MemoryIndex(), memory)
    lamp = point("a lamp")
    store.upsert([lamp])
    assert memory.find([told(lamp)])
    assert store.count() == 1
    store.delete([lamp.chunk.id])
    assert memory.find([told(lamp)]) == {}
    assert store.count() == 0


def test_what_an_older_embedder_has_made_is_not_kept_as_this_one_s_and_forgotten_all_the_same(
    cache: VectorCache,
) -> None:
    memory, lamp, desk = EncoderMemory(cache=cache, encoder="e5"), point("a lamp"), point("a desk")
    memory.keep([lamp])
    store = Remembering(MemoryIndex(), memory, keeps=lambda: False)
    store.upsert([desk])
    store.delete([lamp.chunk.id])
    assert memory.find([told(lamp), told(desk)]) == {}

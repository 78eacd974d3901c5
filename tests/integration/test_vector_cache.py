"""A text is embedded once: not again after a re-index and back, in a new index, or in another file. It is forgotten with
the last document that holds it. All through the real index."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from indexes.embedders.load import load_embedder
from rag.fakes import HashEmbedder
from rag.ports import Embedder, Vectors
from service import wiring
from service.knowledge_base import KnowledgeBase, connect
from service.store.ledger.stored import StoredLedger
from tests.support.command import citewell, citewell_json
from tests.support.embedded import stop_engine

CONFIG = """
[sources.docs]
kind = "files"
paths = ["docs"]
"""
TEXTS = {
    f"{number}.md": f"# Product {number}\n\nIt costs {number} dollars and is sold on day {number}.\n"
    for number in range(1, 13)
}


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Passages that were embedded, by whichever embedder."""
    found: list[str] = []

    def loaded(*arguments: Any, **options: Any) -> Embedder:
        embedder = HashEmbedder() if arguments[0] == "other" else load_embedder(*arguments, **options)
        embed = embedder.embed

        def counting(texts: Sequence[str], *, query: bool = False) -> Vectors:
            if not query:
                found.extend(texts)
            return embed(texts, query=query)

        embedder.embed = counting  # type: ignore[method-assign]
        return embedder

    monkeypatch.setattr(wiring, "load_embedder", loaded)
    return found


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "docs").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "docs" / name).write_text(text)
    (tmp_path / "citewell.toml").write_text(CONFIG)
    yield tmp_path / "citewell.toml"
    stop_engine(tmp_path / ".citewell" / "qdrant")


@pytest.fixture
def kb(config: Path, embedded: list[str]) -> Iterator[KnowledgeBase]:
    with connect(config) as kb:
        kb.ingest()
        yield kb


def kept(config: Path) -> int:
    with sqlite3.connect(config.parent / ".citewell" / "vectors.sqlite") as connection:
        (count,) = connection.execute("SELECT count(*) FROM vectors").fetchone()
    return int(count)


def test_a_re_index_and_back_embeds_the_first_time_only(kb: KnowledgeBase, embedded: list[str]) -> None:
    assert len(embedded) == len(TEXTS)
    for model, expected in (("other", 2), ("multilingual-e5-small", 2), ("other", 2)):
        assert kb.services.reindexer.run(model=model)[0] == len(TEXTS)
        assert len(embedded) == expected * len(TEXTS)
    assert kb.retrieve("What does product 7 cost?")[0].chunk.document.id == "docs/7.md"


def test_a_lost_index_is_stored_again_and_another_prompt_is_another_embedder(
    kb: KnowledgeBase, config: Path, embedded: list[str]
) -> None:
    text = config.read_text()
    for prompt, expected in (("title: ", 2), (None, 2), ("title: ", 2)):
        config.write_text(text + (f'[embedder]\ndocument_prompt = "{prompt}"\n' if prompt else ""))
        with connect(config) as other:
            other.services.collection.current().index.drop()
            other.ingest()
            assert other.services.collection.current().index.count() == len(TEXTS)
        assert len(embedded) == expected * len(TEXTS)


def test_a_new_index_and_a_new_state_embed_nothing(config: Path, embedded: list[str]) -> None:
    vectors = config.parent / "vectors"
    config.write_text(f'{CONFIG}[embedder]\ncache_dir = "{vectors}"\n')
    for folder in ("one", "two"):
        config.write_text(f'data_dir = "{folder}"\n{CONFIG}[embedder]\ncache_dir = "vectors"\n')
        with connect(config) as kb:
            (report,) = kb.ingest()
        stop_engine(config.parent / folder / "qdrant")
        assert report.added == len(TEXTS)
        assert report.chunks_embedded + report.chunks_reused == len(TEXTS)
    assert len(embedded) == len(TEXTS)
    assert report.chunks_embedded == 0


def test_another_file_with_the_same_text_is_not_embedded(kb: KnowledgeBase, config: Path, embedded: list[str]) -> None:
    (config.parent / "docs" / "copies").mkdir()
    (config.parent / "docs" / "copies" / "1.md").write_text(TEXTS["1.md"])
    kb.ingest()
    assert len(embedded) == len(TEXTS)


def test_a_deleted_text_is_forgotten_and_embedded_again_when_it_comes_back(
    kb: KnowledgeBase, config: Path, embedded: list[str]
) -> None:
    assert kept(config) == len(TEXTS)
    (config.parent / "docs" / "1.md").unlink()
    kb.ingest()
    assert kept(config) == len(TEXTS) - 1
    (config.parent / "docs" / "2.md").write_text("# Product 2\n\nIt is sold out.\n")
    kb.ingest()
    assert kept(config) == len(TEXTS) - 1
    (config.parent / "docs" / "1.md").write_text(TEXTS["1.md"])
    kb.ingest()
    assert embedded.count(embedded[0]) <= 2
    assert len(embedded) == len(TEXTS) + 2


def test_full_embeds_every_text_again(kb: KnowledgeBase, embedded: list[str]) -> None:
    kb.ingest(full=True)
    assert len(embedded) == 2 * len(TEXTS)


def test_the_command_forgets_vectors_with_a_file(config: Path) -> None:
    assert citewell_json("ingest", config=config)["sources"][0]["chunks_embedded"] == len(TEXTS)
    assert kept(config) == len(TEXTS)
    (config.parent / "docs" / "1.md").unlink()
    assert citewell("forget", "docs", "docs/1.md", config=config).returncode == 0
    assert kept(config) == len(TEXTS) - 1


def test_nothing_is_kept_where_that_is_turned_off(config: Path) -> None:
    assert citewell("ingest", config=config).returncode == 0
    assert kept(config) == len(TEXTS)
    config.write_text(f"{CONFIG}[embedder]\ncache_mb = 0\n")
    assert citewell("ingest", config=config).returncode == 0
    assert not (config.parent / ".citewell" / "vectors.sqlite").exists()


def test_a_broken_cache_costs_the_embedding_alone(config: Path) -> None:
    (config.parent / ".citewell").mkdir()
    (config.parent / ".citewell" / "vectors.sqlite").write_bytes(b"not a database" * 1000)
    done = citewell("ingest", config=config)
    assert (done.returncode, "12 added" in done.stdout) == (0, True)
    assert kept(config) == len(TEXTS)


def test_a_run_that_broke_off_leaves_no_vector_of_a_text_that_went_meanwhile(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(*_: object, **__: object) -> None:
        raise RuntimeError("the power is gone")

    with monkeypatch.context() as broken, connect(config) as kb:
        broken.setattr(StoredLedger, "commit", broken_off)
        with pytest.raises(RuntimeError, match="power"):
            kb.ingest()
    assert kept(config) == len(TEXTS)  # its points are stored, and nothing is committed
    (config.parent / "docs" / "1.md").unlink()
    with connect(config) as kb:
        (report,) = kb.ingest()
    assert (report.added, report.chunks_embedded) == (len(TEXTS) - 1, 0)
    assert kept(config) == len(TEXTS) - 1

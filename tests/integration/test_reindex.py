"""Re-indexing: questions are answered throughout, and a run that is killed at any stage goes on where it stopped.

TEST_QUERIES sets how many questions are asked meanwhile (docs/benchmarks.md has the figure for 10,000).
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexes.embedders.unpacked import unpacked_model
from indexes.qdrant.new_version import NewVersion
from indexes.qdrant.schema import point_alias, target_of, versions_of
from rag.errors import CitewellError, IndexMismatch, ReindexRefused
from service.collection import Binding
from service.knowledge_base import KnowledgeBase, connect
from service.settings.edit import set_values
from service.syncing.reindex import Copied, compare
from service.wiring import opened, sharding
from tests.support.command import citewell_json
from tests.support.databases import sqlite_with
from tests.support.embedded import stop_engine
from tests.support.running import wait_until

QUERIES = int(os.environ.get("TEST_QUERIES", "200"))
ROWS = 600
CONFIG = """
[qdrant]
collection = "kb"  # a comment that stays
[sources.shop]
kind = "sql"
url = "sqlite:///source.sqlite"
"""


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its rows read in, to be copied for each test."""
    folder = tmp_path_factory.mktemp("reindex")
    rows = ", ".join(f"({i}, 'product {i}', 'A thing of colour {i % 7} and size {i % 11}')" for i in range(ROWS))
    sqlite_with(
        folder / "source.sqlite",
        "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT, description TEXT)",
        f"INSERT INTO products VALUES {rows}",
    )
    (folder / "citewell.toml").write_text(CONFIG)
    with connect(folder / "citewell.toml") as kb:
        kb.ingest()
    stop_engine(folder / ".citewell" / "qdrant")
    return folder


@pytest.fixture
def config(indexed: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(indexed, tmp_path, dirs_exist_ok=True)
    yield tmp_path / "citewell.toml"
    stop_engine(tmp_path / ".citewell" / "qdrant")


@pytest.fixture
def other_model(tmp_path: Path) -> str:
    """The bundled model under another name: another embedder as far as the index can tell."""
    (tmp_path / "other-e5").symlink_to(unpacked_model())
    return str(tmp_path / "other-e5")


def embedder_of(config: Path) -> str:
    model: str = tomllib.loads(config.read_text()).get("embedder", {}).get("model", "")
    return model


def versions(kb: KnowledgeBase) -> tuple[list[str], str]:
    return sorted(versions_of(kb.services.qdrant(), "kb").values()), target_of(kb.services.qdrant(), "kb")


def test_questions_are_answered_all_along_and_changes_followed(config: Path, other_model: str) -> None:
    done, failures, asked = threading.Event(), [], [0]

    def ask(kb: KnowledgeBase, first: int) -> None:
        number = first
        while not done.is_set() or asked[0] < QUERIES:
            try:
                if not any(f"product {number}" in hit.chunk.text for hit in kb.retrieve(f"product {number}")):
                    failures.append(f"product {number} was not found")
            except CitewellError as err:
                failures.append(repr(err))
            asked[0] += 1
            number = (number + 7) % ROWS

    with connect(config) as kb:
        kb.retrieve("product 1")
        threads = [threading.Thread(target=ask, args=(kb, first)) for first in range(2)]
        for thread in threads:
            thread.start()
        changed = False

        def change(told: Copied) -> None:
            nonlocal changed
            if not changed:
                changed = True
                sqlite_with(config.parent / "source.sqlite", "UPDATE products SET description = 'new' WHERE id = 5")
                sqlite_with(config.parent / "source.sqlite", f"DELETE FROM products WHERE id >= {ROWS - 10}")
                sqlite_with(
                    config.parent / "source.sqlite", "INSERT INTO products VALUES (9000, 'product 9000', 'late')"
                )
                with connect(config) as syncing:
                    syncing.ingest()

        failures_expected = {f"product {number} was not found" for number in range(ROWS - 10, ROWS)}
        with opened(config) as services:
            copied, _ = services.reindexer.run(model=other_model, progress=change)
        done.set()
        for thread in threads:
            thread.join()
        assert set(failures) <= failures_expected
        assert asked[0] >= QUERIES
        assert copied >= ROWS
        assert kb.services.collection.current().index.count() == ROWS - 10 + 1
        assert kb.retrieve("product 9000")[0].chunk.document.id == "products/9000"
        assert kb.services.collection.current().embedder.name == "other-e5/int8"
        assert versions(kb) == (["kb-2"], "kb-2")
    assert embedder_of(config) == other_model
    assert "a comment that stays" in config.read_text()
    assert citewell_json("ingest", config=config)["sources"][0]["chunks_embedded"] == 0


def test_an_embedder_that_was_changed_is_refused_until_the_index_is_built_anew(config: Path, other_model: str) -> None:
    config.write_text(config.read_text() + f'[embedder]\nmodel = "{other_model}"\n')
    with connect(config) as kb, pytest.raises(IndexMismatch, match="citewell reindex"):
        kb.retrieve("product 1")
    assert citewell_json("reindex", config=config)["reindexed"] == ROWS
    with connect(config) as kb:
        assert kb.retrieve("product 1")
    assert citewell_json("reindex", config=config) == {"reindexed": 0, "removed": []}


def test_a_killed_build_goes_on_where_it_stopped(config: Path, other_model: str) -> None:
    command = [str(Path(sys.executable).parent / "citewell"), "reindex", "--model", other_model, "-c", str(config)]
    with connect(config) as kb:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(
            lambda: "kb-2" in versions(kb)[0] and kb.services.qdrant().count("kb-2").count > 0,
            what="the first copied points",
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
        copied = kb.services.qdrant().count("kb-2").count
        assert versions(kb)[1] == "kb-1"
        assert kb.retrieve("product 7")
        assert embedder_of(config) == ""
    with connect(config) as fresh:
        assert fresh.retrieve("product 7")
    assert citewell_json("reindex", "--model", other_model, config=config)["reindexed"] == ROWS - copied


def with_embedder(kb: KnowledgeBase, model: str) -> Binding:
    return kb.services.bind(kb.settings.embedder.model_copy(update={"model": model}))


def test_a_run_that_ends_between_configuration_and_swap_is_finished_by_the_next(config: Path, other_model: str) -> None:
    with connect(config) as kb:
        target = with_embedder(kb, other_model)
        version = NewVersion(kb.services.qdrant(), "kb", target.encoders, sharding(kb.settings))
        assert sum(version.catch_up(target.embedder, target.sparse)) == ROWS
        set_values(config, "embedder", model=other_model)
        assert kb.retrieve("product 7")  # a service that runs goes on
    assert citewell_json("reindex", config=config)["reindexed"] == 0
    with connect(config) as kb:
        assert kb.retrieve("product 7")
        assert versions(kb) == (["kb-2"], "kb-2")


def test_a_run_that_ends_between_swap_and_removal_is_cleaned_up(config: Path, other_model: str) -> None:
    with connect(config) as kb:
        target = with_embedder(kb, other_model)
        version = NewVersion(kb.services.qdrant(), "kb", target.encoders, sharding(kb.settings))
        list(version.catch_up(target.embedder, target.sparse))
        assert kb.retrieve("product 7")
        set_values(config, "embedder", model=other_model)
        point_alias(kb.services.qdrant(), "kb", "kb-2")
        assert kb.retrieve("product 7")
    assert citewell_json("reindex", config=config) == {"reindexed": 0, "removed": ["kb-1"]}


def test_a_build_can_be_rolled_back(config: Path, other_model: str) -> None:
    with connect(config) as kb:
        target = with_embedder(kb, other_model)
        next(
            NewVersion(kb.services.qdrant(), "kb", target.encoders, sharding(kb.settings)).catch_up(
                target.embedder, target.sparse
            )
        )
        assert versions(kb) == (["kb-1", "kb-2"], "kb-1")
        assert citewell_json("reindex", "--abort", config=config)["removed"] == ["kb-2"]
        assert versions(kb) == (["kb-1"], "kb-1")


def test_a_model_that_finds_nothing_is_not_swapped_in(config: Path, other_model: str) -> None:
    class Blind:
        name = "other-e5/int8"
        dim = 384

        def embed(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
            vectors = np.zeros((len(texts), 384), dtype=np.float32)
            vectors[:, int(query)] = 1
            return vectors

    with connect(config) as kb:
        target = with_embedder(kb, other_model)
        version = NewVersion(kb.services.qdrant(), "kb", target.encoders, sharding(kb.settings))
        target = replace(target, embedder=Blind())
        list(version.catch_up(target.embedder, target.sparse))
        with pytest.raises(ReindexRefused, match="by meaning"):
            compare(target, version)
        assert kb.retrieve("product 7")


def test_a_re_index_in_mid_flight_changes_the_collection_and_nothing_else(config: Path, other_model: str) -> None:
    with connect(config) as kb:
        assert kb.retrieve("product 7")
        before = kb.settings
        text = config.read_text().replace(
            "[qdrant]", '[retrieval]\nthreshold = 0.99\n[identity]\ntenant = "x"\n[qdrant]'
        )
        config.write_text(text)  # for the next start
        citewell_json("reindex", "--model", other_model, config=config)
        assert kb.retrieve("product 7")
        assert versions(kb)[1] == "kb-2"
        assert kb.settings is before

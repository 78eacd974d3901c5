"""The embedded engine's process: started on demand, alone in its folder, losing nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from indexes.embedded.address import socket_path
from indexes.embedded.launch import ensure_running
from indexes.qdrant.connect import connect_embedded
from indexes.qdrant.index import QdrantIndex
from rag.errors import IndexUnavailable
from service.http.app import create_app
from service.knowledge_base import connect
from tests.contract.conftest import TEXTS, make_index, point, search
from tests.support.embedded import engine_pid, stop_engine
from tests.support.running import is_running, wait_until


def open_index(folder: Path, *, idle_s: float = 60) -> QdrantIndex:
    return make_index(connect_embedded(folder, idle_s=idle_s), "kb")


def test_it_starts_on_the_first_request_and_serves_every_client(engine_folder: Path) -> None:
    first, second = open_index(engine_folder), open_index(engine_folder)
    first.upsert([point(1, TEXTS[1])])
    assert second.count() == 1


def test_many_starters_get_one_engine(engine_folder: Path) -> None:
    starters = [threading.Thread(target=ensure_running, args=(engine_folder,), kwargs={"idle_s": 60}) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    pid = engine_pid(engine_folder)
    command = [sys.executable, "-m", "indexes.embedded.server", str(engine_folder)]
    late = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert late.returncode == 75
    assert "another engine holds" in late.stderr
    assert engine_pid(engine_folder) == pid


def test_killed_it_comes_back_with_all_that_was_acknowledged(engine_folder: Path) -> None:
    index = open_index(engine_folder)
    for number in range(40):
        index.upsert([point(number, f"record number {number}")])
    pid = engine_pid(engine_folder)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid))
    assert index.count() == 40
    assert search(index, "record number 39", near=39)[0].chunk.document.id == "d39"
    assert engine_pid(engine_folder) != pid


def test_killed_while_writing_it_loses_nothing_acknowledged(engine_folder: Path) -> None:
    index = open_index(engine_folder)
    index.prepare()
    acknowledged: list[int] = []
    killed = threading.Event()

    def write() -> None:
        for number in range(60):
            index.upsert([point(number, f"record number {number}")])
            acknowledged.append(number)
            if number == 25:
                killed.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert killed.wait(60)
    pid = engine_pid(engine_folder)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    writer.join()
    assert acknowledged == list(range(60))
    assert index.count() == 60


def test_it_ends_by_itself_when_idle_and_cleans_up(engine_folder: Path) -> None:
    index = open_index(engine_folder, idle_s=0.5)
    index.upsert([point(1, TEXTS[1])])
    pid = engine_pid(engine_folder)
    assert pid is not None
    wait_until(lambda: not is_running(pid), what="the idle engine's end")
    assert not socket_path(engine_folder).exists()
    assert index.count() == 1


def test_it_ends_on_sigterm_with_nothing_left_running(engine_folder: Path) -> None:
    index = open_index(engine_folder)
    index.upsert([point(1, TEXTS[1])])
    stop_engine(engine_folder)
    assert not socket_path(engine_folder).exists()
    assert index.count() == 1


def test_a_folder_whose_path_is_too_long_for_a_socket_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 20) / "qdrant"
    try:
        index = open_index(folder)
        index.upsert([point(1, TEXTS[1])])
        assert index.count() == 1
        assert len(os.fsencode(socket_path(folder))) < 108
    finally:
        stop_engine(folder)


def test_a_collection_whose_creation_was_cut_short_is_made_anew(engine_folder: Path) -> None:
    index = open_index(engine_folder)
    index.upsert([point(1, TEXTS[1])])
    stop_engine(engine_folder)
    (engine_folder / "half-made").mkdir()
    (engine_folder / "half-made" / "shard").mkdir()
    assert index.count() == 1
    assert not (engine_folder / "half-made").exists()


def test_an_engine_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "qdrant").mkdir()
    (tmp_path / "qdrant" / "aliases.json").write_text("not json")
    with pytest.raises(IndexUnavailable, match=r"ended at once[\s\S]*engine.log"):
        open_index(tmp_path / "qdrant").count()


def test_what_the_engine_does_not_serve_is_an_error(engine_folder: Path) -> None:
    client = connect_embedded(engine_folder)
    index = make_index(client, "kb")
    index.upsert([point(1, TEXTS[1])])
    from qdrant_client import models
    from qdrant_client.http.exceptions import UnexpectedResponse

    geo = models.GeoRadius(center=models.GeoPoint(lon=0, lat=0), radius=1)
    with pytest.raises(UnexpectedResponse, match="does not serve"):
        client.count("kb", models.Filter(must=[models.FieldCondition(key="x", geo_radius=geo)]))
    assert index.count() == 1


def test_it_stays_while_a_service_runs_and_ends_after_it(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "stores.md").write_text("The Edmonton store opens at eleven.")
    toml = '[qdrant]\nengine_idle_s = 0.6\n[sources.docs]\nkind = "files"\npaths = ["docs"]\n'
    (tmp_path / "citewell.toml").write_text(toml)
    folder = tmp_path / ".citewell" / "qdrant"
    with connect(tmp_path / "citewell.toml") as kb:
        kb.ingest()
        with TestClient(create_app(kb.services)):
            pid, until = engine_pid(folder), time.monotonic() + 2.5
            wait_until(lambda: time.monotonic() > until, what="four times its idle time")
            assert pid is not None
            assert is_running(pid)
    wait_until(lambda: not is_running(pid), what="the idle engine's end")

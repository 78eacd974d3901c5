"""What a collection is told to hold, by the embedded engine's files and by the engine where it runs."""

import json
from pathlib import Path

import httpx
import pytest

from indexes import summary
from indexes.summary import COUNTED, Summary, summary_of_engine
from rag.errors import IndexUnavailable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An engine's folder with a collection, as the engine leaves it."""
    (tmp_path / "kb-2").mkdir()
    (tmp_path / "aliases.json").write_text(json.dumps({"kb": "kb-2"}))
    (tmp_path / "kb-2" / "collection.json").write_text(json.dumps({"metadata": {"embedder": "e5"}}))
    return tmp_path


def told(folder: Path, alias: str = "kb") -> Summary:
    return summary_of_engine(folder, alias, timeout_s=1)


def answering(monkeypatch: pytest.MonkeyPatch, code: int) -> list[httpx.Request]:
    """An engine that runs, and what it is asked."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(code, json={"result": {"count": 7}})

    monkeypatch.setattr(summary, "listens", lambda folder: True)
    monkeypatch.setattr(httpx, "HTTPTransport", lambda **_: httpx.MockTransport(answer))
    return asked


def test_where_nothing_was_read_in_there_is_nothing(folder: Path) -> None:
    assert told(folder / "none") == Summary(points=0, embedder="")
    assert told(folder, "other") == Summary(points=0, embedder="")


def test_an_engine_that_does_not_run_is_not_started_and_its_files_name_the_embedder(folder: Path) -> None:
    assert told(folder) == Summary(points=None, embedder="e5")
    (folder / "kb-2" / "collection.json").write_text("{}")
    assert told(folder) == Summary(points=None, embedder="")
    assert not (folder / "engine.sock").exists()


def test_an_engine_that_runs_counts_all_points_but_the_marks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, 200)
    assert told(folder) == Summary(points=7, embedder="e5")
    (request,) = asked
    assert request.url.path == "/collections/kb-2/points/count"
    assert json.loads(request.content) == {"exact": True, "filter": COUNTED}


def test_an_engine_that_fails_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, 500)
    with pytest.raises(IndexUnavailable, match="embedded engine of"):
        told(folder)

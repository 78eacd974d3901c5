"""Child processes: nothing of the folder that one stands in runs, and one that does not start is no file's fault."""

import os
import re
import subprocess
import sys
from pathlib import Path

import docx
import httpx
import pytest

from connectors.files.source import FilesSource
from connectors.parsers import child
from rag.boundary.child import child_environment
from rag.errors import SourceError
from rag.events import SnapshotComplete, SourceEvent, Unreadable, Upsert
from tests.security.trap import lay, ran, run
from tests.support.command import ROOT
from tests.support.embedded import stop_engine
from tests.support.running import free_port, wait_until


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    return lay(tmp_path)


def test_no_module_of_the_folder_that_one_stands_in_runs(trap: Path) -> None:
    try:
        done = run(trap, "ingest")
        assert (done.returncode, ran(trap)) == (0, set()), done.stderr
        asked = run(trap, "retrieve", "When does the Edmonton store open?")
        assert "nine in the morning" in asked.stdout
        assert ran(trap) == set()
    finally:
        stop_engine(trap / ".citewell" / "qdrant")


def test_none_runs_in_the_service_s_workers_jobs_and_scheduled_reads(trap: Path) -> None:
    port = free_port()
    command = [str(Path(sys.executable).parent / "citewell"), "serve", "--port", str(port), "--workers", "2"]
    with (trap.parent / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=trap, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url), timeout_s=120, what="the service's start")
        started = httpx.post(f"{url}/v1/jobs", json={"sources": ["notes"]}).json()["id"]
        wait_until(
            lambda: httpx.get(f"{url}/v1/jobs/{started}").json()["status"] in ("done", "failed"),
            timeout_s=120,
            what="the job's end",
        )
        wait_until(lambda: _last_run(url) is not None, timeout_s=120, what="a scheduled read")
        assert ran(trap) == set()
    finally:
        process.terminate()
        process.wait(timeout=60)
        stop_engine(trap / ".citewell" / "qdrant")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def _last_run(url: str) -> object:
    (source,) = httpx.get(f"{url}/v1/sources", timeout=10).json()["sources"]
    return source["last_run"]


def test_a_child_gets_no_relative_place_to_import_from_and_no_secret_that_it_does_not_need() -> None:
    environ = {
        "PATH": "/bin", "LC_ALL": "C.UTF-8", "PYTHONPATH": f":.:lib{os.pathsep}/srv/lib", "PYTHONSTARTUP": "x.py",
        "REPORTS_PW": "Blue@Harbor77",
    }  # fmt: skip
    assert child_environment(secrets=False, environ=environ) == {
        "PATH": "/bin", "LC_ALL": "C.UTF-8", "PYTHONPATH": "/srv/lib", "PYTHONSAFEPATH": "1",
    }  # fmt: skip
    assert child_environment(secrets=True, environ=environ)["REPORTS_PW"] == "Blue@Harbor77"
    assert child_environment(secrets=True, environ=environ)["PYTHONPATH"] == "/srv/lib"


def test_a_parser_that_does_not_start_fails_the_read_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docx.Document().save(str(tmp_path / "a.docx"))
    (tmp_path / "b.md").write_text("The store opens at nine.")
    broken = [sys.executable, "-c", "raise SystemExit('the library libfoo.so is missing')"]
    monkeypatch.setattr(child, "python_child", lambda *a: broken)
    events: list[SourceEvent] = []
    with pytest.raises(SourceError, match=r"could not be started: the library libfoo\.so is missing"):
        events.extend(FilesSource(name="s", root=tmp_path, paths=(".",)).read())
    assert [event for event in events if isinstance(event, Unreadable | SnapshotComplete)] == []


def test_a_file_over_which_the_parser_dies_is_still_that_file_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docx.Document().save(str(tmp_path / "a.docx"))
    (tmp_path / "b.md").write_text("The store opens at nine.")
    dies = "print('{\"ready\": true}', flush=True); import sys; sys.stdin.readline(); raise SystemExit(9)"
    monkeypatch.setattr(child, "python_child", lambda *a: [sys.executable, "-c", dies])
    events = list(FilesSource(name="s", root=tmp_path, paths=(".",)).read())
    assert [event.document_id for event in events if isinstance(event, Unreadable)] == ["a.docx"]
    assert [event.document.id for event in events if isinstance(event, Upsert)] == ["b.md"]


def test_there_is_one_way_to_start_a_child() -> None:
    """Our own modules by `python_child`; a process of others (vLLM, nvidia-smi) by a path that was looked up."""
    started = re.compile(
        r"sys\.executable|[\"']-m[\"']|os\.(system|popen|exec|spawn|fork)|shell=True|[\"']python3?[\"']"
    )
    found = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in ("rag", "connectors", "indexes", "service")
        for path in (ROOT / package).rglob("*.py")
        for line in path.read_text().splitlines()
        if started.search(line)
    }
    assert found == {'rag/boundary/child.py: return [sys.executable, "-P", "-m", module, *arguments]'}

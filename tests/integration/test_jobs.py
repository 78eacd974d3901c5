"""Ingests started over REST: progress, cancelling, lists, quarantine."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from service.knowledge_base import KnowledgeBase, connect
from service.store.jobs import Jobs
from service.store.schema import jobs as jobs_table
from service.syncing.background.job_runner import JobRunner
from tests.support.command import Server
from tests.support.embedded import stop_engine
from tests.support.running import wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    for name, files in (("docs", 3), ("many", 3000)):
        (folder / name).mkdir()
        for number in range(files):
            (folder / name / f"{number}.md").write_text(
                f"# Page {number}\n\nThe number of page {number} is {number}.\n"
            )
    (folder / "docs" / "bad.pdf").write_bytes(b"%PDF-1.4 broken")
    (folder / "docs" / "worse.docx").write_bytes(b"no zip")
    sources = "".join(f'[sources.{name}]\nkind = "files"\npaths = ["{name}"]\n' for name in ("docs", "many"))
    (folder / "citewell.toml").write_text(sources)
    return folder


@pytest.fixture(scope="module")
def api(folder: Path) -> Iterator[httpx.Client]:
    with (
        Server(folder / "citewell.toml", "--workers", "2") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client
    stop_engine(folder / ".citewell" / "qdrant")


def ended(api: httpx.Client, job_id: int) -> Any:
    def look() -> Any:
        job = api.get(f"/v1/jobs/{job_id}").json()
        return job if job["status"] not in ("queued", "running") else None

    return wait_until(look, timeout_s=90, what="the job's end")


def test_a_job_reads_a_source_and_tells_how_it_goes(api: httpx.Client) -> None:
    started = api.post("/v1/jobs", json={"sources": ["docs"]})
    assert (started.status_code, started.headers["location"]) == (202, f"/v1/jobs/{started.json()['id']}")
    with api.stream("GET", f"/v1/jobs/{started.json()['id']}/events") as events:
        lines = [line for line in events.iter_lines() if line]
    assert lines[-2] == "event: done"
    done = json.loads(lines[-1].removeprefix("data: "))
    assert (done["status"], done["reports"][0]["added"], done["error"]) == ("done", 3, None)
    assert api.get(f"/v1/jobs/{done['id']}").json() == done
    answer = api.post("/v1/ask", json={"question": "What is the number of page 2?"}).json()
    assert "2" in answer["text"]
    assert answer["citations"]


def test_what_could_not_be_read_is_listed_by_pages_and_read_again(api: httpx.Client, folder: Path) -> None:
    ended(api, api.post("/v1/jobs", json={"sources": ["docs"]}).json()["id"])
    first = api.get("/v1/quarantine", params={"limit": 1}).json()
    second = api.get("/v1/quarantine", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    found = [row["document_id"] for page in (first, second) for row in page["documents"]]
    assert found == ["docs/bad.pdf", "docs/worse.docx"]
    assert second["next_cursor"] is None
    (folder / "docs" / "worse.docx").unlink()
    ended(api, api.post("/v1/jobs", json={"sources": ["docs"], "retry": True}).json()["id"])
    left = api.get("/v1/quarantine", params={"source": "docs"}).json()["documents"]
    assert [row["document_id"] for row in left] == ["docs/bad.pdf"]


def test_a_job_is_cancelled_by_any_worker_and_a_second_one_of_its_source_refused(api: httpx.Client) -> None:
    job = api.post("/v1/jobs", json={"sources": ["many"]}).json()
    twice = api.post("/v1/jobs", json={"sources": ["docs", "many"]})
    assert (twice.status_code, f"Job {job['id']} has source 'many'" in twice.json()["detail"]) == (409, True)
    wait_until(lambda: api.get(f"/v1/jobs/{job['id']}").json()["progress"], what="progress")
    assert api.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
    done = ended(api, job["id"])
    assert (done["status"], done["cancelled"]) == ("cancelled", True)
    assert api.get("/v1/sources/many").json()["last_run"]["status"] == "stopped"


def test_jobs_are_listed_newest_first_by_pages(api: httpx.Client) -> None:
    for _ in range(2):
        ended(api, api.post("/v1/jobs", json={"sources": ["docs"]}).json()["id"])
    first = api.get("/v1/jobs", params={"limit": 1}).json()
    second = api.get("/v1/jobs", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert first["jobs"][0]["id"] == second["jobs"][0]["id"] + 1
    assert api.get("/v1/jobs", params={"status": "failed"}).json() == {"jobs": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"sources": ["no"]}, 422, "no source 'no'"),
        ({"all": True}, 422, "all: Extra"),
        ({"sources": "docs"}, 422, "sources"),
    ],
)
def test_a_job_that_cannot_be_is_a_problem(api: httpx.Client, body: Any, status: int, told: str) -> None:
    answer = api.post("/v1/jobs", json=body)
    assert (answer.status_code, told in answer.json()["detail"]) == (status, True)
    assert api.get("/v1/jobs/999999").status_code == 404


def test_metrics_add_up_the_workers(api: httpx.Client) -> None:
    for _ in range(8):
        with httpx.Client(base_url=api.base_url) as fresh:  # each connection may come to another worker
            fresh.post("/v1/ask", json={"question": "What is the number of page 1?"}).raise_for_status()
    text = api.get("/metrics").text
    counted = [
        line for line in text.splitlines() if line.startswith("citewell_requests_total") and 'route="/v1/ask"' in line
    ]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in counted) >= 8
    assert 'citewell_sync_lag_seconds{source="docs"}' in text


def test_a_job_whose_process_is_gone_is_broken_and_holds_nothing(folder: Path, api: httpx.Client) -> None:
    with connect(folder / "citewell.toml") as kb:
        store: Jobs = kb.services.jobs()
        left = store.add({"sources": ["gone"]})
        with sa.create_engine(f"sqlite:///{folder / '.citewell' / 'state.sqlite'}").begin() as connection:
            connection.execute(
                sa.update(jobs_table).where(jobs_table.c.id == left.id).values(alive_at=time.time() - 60)
            )
        again = store.add({"sources": ["gone"]})
        found = store.get(left.id)
        assert found is not None
        assert found.status == "broken"
        store.end(again.id, "done", {})


def test_a_failed_job_says_why(folder: Path, tmp_path: Path, api: httpx.Client) -> None:
    import asyncio

    config = tmp_path / "citewell.toml"
    config.write_text('[sources.shop]\nkind = "sql"\nurl = "postgresql+psycopg://u:hunter2@127.0.0.1:1/none"\n')

    async def run(kb: KnowledgeBase) -> Any:
        runner = JobRunner(kb.services.jobs(), config)
        job = kb.services.jobs().add({"sources": ["shop"]})
        runner.submit(job)
        while (found := kb.services.jobs().get(job.id)) is not None and found.is_active:
            await asyncio.sleep(0.05)
        return found

    with connect(config) as kb:
        job = asyncio.run(run(kb))
    stop_engine(tmp_path / ".citewell" / "qdrant")
    assert job.status == "failed"
    assert "127.0.0.1" in json.dumps(dict(job.progress))
    assert "hunter2" not in json.dumps(dict(job.progress))

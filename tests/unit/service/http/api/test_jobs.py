"""/v1/jobs: who may start, see and cancel which."""

from pathlib import Path
from typing import Any

import pytest

from service.http.access.authenticator import Authenticator
from service.store.jobs import Job
from service.syncing.background.job_runner import JobRunner
from tests.unit.service.conftest import services_of, settings_of
from tests.unit.service.http.conftest import Client, Serve, events_of

SOURCES = {
    "docs": {"kind": "files", "paths": ["docs"]},
    "shop": {"kind": "files", "paths": ["shop"]},
    "theirs": {"kind": "files", "paths": ["x"], "tenant": "umbrella"},
}


class Noted(JobRunner):
    """submitted: the jobs that would be run."""

    def __init__(self, client: Client) -> None:
        super().__init__(client.parts.jobs, Path("c.toml"))
        self.submitted: list[Job] = []

    def submit(self, job: Job) -> None:
        self.submitted.append(job)


class Operated:
    def __init__(self, serve: Serve) -> None:
        self.client = serve(services_of(settings_of(sources=SOURCES)))
        self.runner = self.client.parts.runner = Noted(self.client)
        self.key = self.client.key("ingest")
        self.other = self.client.key("ingest", tenant="umbrella")
        self.admin = self.client.key("admin")

    def start(self, key: str = "", **body: Any) -> Any:
        return self.client("POST", "/v1/jobs", key=key or self.key, json=body)

    def get(self, path: str, key: str = "") -> Any:
        return self.client("GET", f"/v1/jobs{path}", key=key or self.key)


@pytest.fixture
def operated(serve: Serve) -> Operated:
    return Operated(serve)


def test_a_job_reads_the_sources_that_its_caller_operates(operated: Operated) -> None:
    response = operated.start(full=True)
    assert (response.status_code, response.headers["location"]) == (202, "/v1/jobs/1")
    assert response.json()["sources"] == ["docs", "shop"]
    [job] = operated.runner.submitted
    assert job.request == {"sources": ["docs", "shop"], "full": True, "retry": False, "allow_mass_delete": False}


def test_a_source_is_read_once_though_it_is_named_twice(operated: Operated) -> None:
    assert operated.start(sources=["shop", "shop"]).json()["sources"] == ["shop"]


@pytest.mark.parametrize("name", ["theirs", "blog"])
def test_a_source_that_is_not_theirs_is_as_one_that_is_not_there(operated: Operated, name: str) -> None:
    response = operated.start(sources=["docs", name])
    assert (response.status_code, "docs, shop" in response.json()["detail"]) == (422, True)
    assert operated.runner.submitted == []


def test_a_caller_of_no_source_starts_nothing(operated: Operated) -> None:
    key = operated.client.key("ingest", tenant="nobody")
    assert operated.start(key).status_code == 422
    assert operated.runner.submitted == []


def test_a_source_that_a_job_has_already_is_busy(operated: Operated) -> None:
    operated.start(sources=["docs"])
    assert operated.start(sources=["docs", "shop"]).status_code == 409
    assert len(operated.runner.submitted) == 1


def test_without_a_runner_and_while_the_service_ends_no_job_begins(operated: Operated) -> None:
    operated.client.parts.drain.begin(10)
    assert operated.start().headers["retry-after"] == "5"
    operated.client.parts.drain.ends_at = float("inf")
    operated.client.parts.runner = None
    assert operated.start().status_code == 503
    assert operated.client.parts.jobs.get(1) is None


def test_jobs_come_by_pages_newest_first(operated: Operated) -> None:
    for name in ("docs", "shop"):
        operated.start(sources=[name])
    first = operated.get("?limit=1").json()
    assert ([job["id"] for job in first["jobs"]], first["next_cursor"]) == ([2], "2")
    last = operated.get(f"?limit=1&cursor={first['next_cursor']}").json()
    assert ([job["id"] for job in last["jobs"]], last["next_cursor"]) == ([1], None)


def test_jobs_can_be_chosen_by_their_status(operated: Operated) -> None:
    operated.start(sources=["docs"])
    assert len(operated.get("?status=queued&status=done").json()["jobs"]) == 1
    assert operated.get("?status=done").json()["jobs"] == []


def test_a_job_of_others_is_not_seen(operated: Operated) -> None:
    operated.start(operated.other)
    assert operated.get("/1").status_code == 404
    assert operated.get("").json()["jobs"] == []
    assert operated.client("POST", "/v1/jobs/1/cancel", key=operated.key).status_code == 404
    assert operated.get("/1", operated.other).status_code == 200
    assert operated.get("/7", operated.admin).status_code == 404


def test_an_administrator_sees_jobs_of_sources_that_are_gone_but_one_for_some_sources_does_not(
    operated: Operated,
) -> None:
    operated.client.parts.jobs.add({"sources": ["gone"]})
    assert operated.get("/1", operated.admin).json()["sources"] == ["gone"]
    assert operated.get("/1", operated.client.key("admin", sources=("docs",))).status_code == 404


def test_a_job_is_asked_to_end(operated: Operated) -> None:
    operated.start()
    response = operated.client("POST", "/v1/jobs/1/cancel", key=operated.key)
    assert (response.status_code, response.json()["cancelled"], response.json()["status"]) == (202, True, "queued")


def test_a_job_that_has_ended_is_told_at_once_with_its_reports(operated: Operated) -> None:
    operated.start(sources=["docs"])
    operated.client.parts.jobs.end(1, "done", {"reports": [{"source": "docs"}]})
    [(name, job)] = events_of(operated.get("/1/events").text)
    assert (name, job["status"], job["reports"]) == ("done", "done", [{"source": "docs"}])


def test_a_job_is_watched_to_its_end(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.http.api.jobs._LOOK_S", 0.001)
    operated.start(sources=["docs"])
    jobs = operated.client.parts.jobs
    steps = iter([{}, {"sources": {"docs": {"read": 1}}}, {"sources": {"docs": {"read": 1}}}])

    class Told(type(jobs)):  # type: ignore[misc]
        def get(self, job_id: int) -> Job | None:
            progress = next(steps, None)
            self.tell(job_id, progress) if progress is not None else self.end(job_id, "done", {})
            found: Job | None = super().get(job_id)
            return found

    operated.client.parts.jobs = Told(operated.client.services.database())
    events = events_of(operated.get("/1/events").text)
    assert [name for name, _ in events] == ["progress", "progress", "done"]
    assert events[1][1]["progress"] == {"docs": {"read": 1}}


def test_a_watch_ends_with_the_service(operated: Operated) -> None:
    operated.start(sources=["docs"])
    operated.client.parts.drain.begin(0)
    events = events_of(operated.get("/1/events").text)
    assert [name for name, _ in events] == ["progress", "error"]
    assert events[-1][1]["status"] == 503


def test_a_key_that_only_asks_starts_nothing(operated: Operated) -> None:
    assert isinstance(operated.client.parts.authenticator, Authenticator)
    assert operated.start(operated.client.key("ask")).status_code == 403

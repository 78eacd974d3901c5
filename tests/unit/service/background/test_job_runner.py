"""Jobs of the service: how each ends, and how one is cancelled."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from service.store.database import Database
from service.store.jobs import Job, Jobs
from service.syncing.background.job_runner import JobRunner
from tests.unit.service.background.conftest import PROGRESS, REPORTS, Script, held, reported

Scenario = Callable[[JobRunner, Jobs], Coroutine[Any, Any, list[Job]]]


def run(state: Database, script: Script, scenario: Scenario, *, jobs: type[Jobs] = Jobs) -> list[Job]:
    """The jobs of a scenario, as they are stored when all have ended."""

    async def main() -> list[Job]:
        store = jobs(state)
        runner = JobRunner(store, Path("c.toml"), command=script, tell_every_s=0.005)
        submitted = await scenario(runner, store)
        await asyncio.gather(*runner._tasks)
        return [found for job in submitted if (found := store.get(job.id)) is not None]

    return asyncio.run(main())


def add(runner: JobRunner, jobs: Jobs, *names: str, **options: Any) -> Job:
    job = jobs.add({"sources": list(names or ["docs"]), **options})
    runner.submit(job)
    return job


async def one(runner: JobRunner, jobs: Jobs) -> list[Job]:
    return [add(runner, jobs)]


async def three(runner: JobRunner, jobs: Jobs) -> list[Job]:
    return [add(runner, jobs, name) for name in ("a", "b", "c")]


def test_a_job_that_ends_well_is_done_and_has_its_reports(state: Database) -> None:
    [job] = run(state, Script(reported()), one)
    assert (job.status, job.progress) == ("done", {"reports": REPORTS})
    assert job.started_at is not None
    assert job.ended_at is not None


@pytest.mark.parametrize(
    ("script", "status", "error"),
    [
        (reported(code=3), "done", None),
        (reported(code=1), "failed", None),
        (reported(code=75), "failed", None),
        (reported(code=143), "cancelled", None),
        ("echo 'Error: away' >&2; exit 1", "failed", "Error: away"),
        ("exit 1", "failed", "The ingest ended with exit code 1."),
        ("exit 0", "failed", "The ingest ended with exit code 0."),
        ("kill -KILL $$", "failed", "The ingest ended with exit code -9."),
    ],
)
def test_how_a_process_ends_says_how_its_job_did(state: Database, script: str, status: str, error: str | None) -> None:
    [job] = run(state, Script(script), one)
    assert (job.status, job.progress.get("error")) == (status, error)
    assert ("reports" in job.progress) is (error is None)


def test_what_was_asked_for_becomes_the_commands_flags(state: Database) -> None:
    async def scenario(runner: JobRunner, jobs: Jobs) -> list[Job]:
        return [add(runner, jobs, "docs", "shop", full=True, retry=False, allow_mass_delete=True)]

    script = Script(reported())
    run(state, script, scenario)
    assert script.asked == [(["docs", "shop"], ["full", "allow_mass_delete"])]


def test_the_last_progress_stays_with_the_job(state: Database) -> None:
    [job] = run(state, Script(reported(before=PROGRESS)), one)
    assert job.progress["sources"] == {"docs": {"event": "progress", "read": 1}}


class Noting(Jobs):
    """told: the progress of each call, until one that says something cancels the job."""

    def tell(self, job_id: int, progress: Any) -> bool:
        if progress:
            self.cancel(job_id)
        return super().tell(job_id, progress)


def test_a_job_under_way_tells_how_far_it_is_and_ends_when_it_is_cancelled(state: Database) -> None:
    [job] = run(state, Script(held(PROGRESS)), one, jobs=Noting)
    assert (job.status, job.cancelled) == ("cancelled", True)
    assert job.progress["sources"] == {"docs": {"event": "progress", "read": 1}}


def test_two_jobs_run_at_once_and_the_third_when_one_has_ended(state: Database) -> None:
    script = Script(reported(), reported(), reported())
    assert [job.status for job in run(state, script, three)] == ["done", "done", "done"]
    assert len(script.asked) == 3


class AllCancelled(Jobs):
    """The third job is cancelled at once, the others when it has ended."""

    def tell(self, job_id: int, progress: Any) -> bool:
        last = self.get(3)
        if job_id == 3 or (last is not None and not last.is_active):
            self.cancel(job_id)
        return super().tell(job_id, progress)


def test_a_job_that_is_cancelled_while_it_waits_never_begins(state: Database) -> None:
    script = Script(held())
    jobs = run(state, script, three, jobs=AllCancelled)
    assert [job.status for job in jobs] == ["cancelled"] * 3
    assert [names for names, _ in script.asked] == [["a"], ["b"]]
    assert jobs[2].started_at is None


class Broken(Jobs):
    """The first job cannot be started."""

    def start(self, job_id: int) -> None:
        if job_id == 1:
            raise OSError("disk full")
        super().start(job_id)


def test_a_job_that_cannot_be_started_has_failed_and_leaves_its_place(state: Database) -> None:
    async def four(runner: JobRunner, jobs: Jobs) -> list[Job]:
        return [*await three(runner, jobs), add(runner, jobs, "d")]

    first, *others = run(state, Script(reported()), four, jobs=Broken)
    assert (first.status, first.progress) == (
        "failed",
        {"error": "The job failed; the service's log has the reason."},
    )
    assert [job.status for job in others] == ["done"] * 3


def test_when_the_service_ends_jobs_under_way_finish_their_batch_and_those_that_wait_never_begin(
    state: Database,
) -> None:
    async def ended(runner: JobRunner, jobs: Jobs) -> list[Job]:
        submitted = await three(runner, jobs)
        while not all(job.started_at for job in map(jobs.get, (1, 2)) if job is not None):
            await asyncio.sleep(0)
        await runner.stop()
        return submitted

    script = Script(held())
    jobs = run(state, script, ended)
    assert [job.status for job in jobs] == ["cancelled"] * 3
    assert len(script.asked) == 2

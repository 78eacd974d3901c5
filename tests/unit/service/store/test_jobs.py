"""Jobs: who has a source, how far each is, and which are broken."""

import pytest
import sqlalchemy as sa

from rag.errors import SourceBusy
from service.store.database import Database
from service.store.jobs import Jobs
from service.store.schema import jobs as table


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


def silence(database: Database, job_id: int) -> None:
    """A job whose process was last heard of long ago."""
    with database.write() as connection:
        connection.execute(sa.update(table).where(table.c.id == job_id).values(alive_at=0.0))


def test_a_new_job_waits_with_what_was_asked(jobs: Jobs) -> None:
    job = jobs.add({"sources": ["shop"], "full": True})
    assert (job.status, job.sources, job.request["full"], job.is_active) == ("queued", ["shop"], True, True)
    assert jobs.get(job.id) == job


def test_an_unknown_job_is_none(jobs: Jobs) -> None:
    assert jobs.get(999) is None


@pytest.mark.parametrize("started", [False, True])
def test_a_source_that_another_job_has_is_refused(jobs: Jobs, started: bool) -> None:
    first = jobs.add({"sources": ["docs", "shop"]})
    if started:
        jobs.start(first.id)
    with pytest.raises(SourceBusy, match=f"Job {first.id} has source 'shop' already"):
        jobs.add({"sources": ["shop", "other"]})
    assert jobs.add({"sources": ["other"]}).id > first.id


@pytest.mark.parametrize("status", ["done", "failed", "cancelled"])
def test_a_job_that_has_ended_lets_its_sources_go(jobs: Jobs, status: str) -> None:
    first = jobs.add({"sources": ["shop"]})
    jobs.end(first.id, status, {"shop": {"read": 1}})
    assert jobs.add({"sources": ["shop"]}).is_active
    ended = jobs.get(first.id)
    assert ended is not None
    assert (ended.status, ended.progress, ended.is_active) == (status, {"shop": {"read": 1}}, False)
    assert ended.ended_at is not None


def test_a_job_tells_how_far_it_is_and_learns_that_it_is_to_end(jobs: Jobs) -> None:
    job = jobs.add({"sources": ["shop"]})
    jobs.start(job.id)
    assert jobs.tell(job.id, {"shop": {"read": 1}}) is False
    jobs.cancel(job.id)
    assert jobs.tell(job.id, {"shop": {"read": 2}}) is True
    told = jobs.get(job.id)
    assert told is not None
    assert (told.status, told.progress, told.started_at is not None) == ("running", {"shop": {"read": 2}}, True)


def test_a_job_that_has_ended_cannot_be_cancelled(jobs: Jobs) -> None:
    job = jobs.add({"sources": ["shop"]})
    jobs.end(job.id, "done", {})
    jobs.cancel(job.id)
    ended = jobs.get(job.id)
    assert ended is not None
    assert not ended.cancelled


def test_a_job_whose_process_is_silent_is_broken_and_holds_nothing(database: Database, jobs: Jobs) -> None:
    job = jobs.add({"sources": ["shop"]})
    silence(database, job.id)
    assert jobs.add({"sources": ["shop"]}).is_active
    broken = jobs.get(job.id)
    assert broken is not None
    assert (broken.status, broken.ended_at is not None) == ("broken", True)


def test_a_silent_job_is_shown_as_broken_and_one_that_has_ended_stays_as_it_was(database: Database, jobs: Jobs) -> None:
    for status in ("", "done"):
        job = jobs.add({"sources": [f"shop {status}"]})
        if status:
            jobs.end(job.id, status, {})
        silence(database, job.id)
    assert [job.status for job in jobs.page(limit=9)] == ["done", "broken"]


def test_jobs_are_shown_newest_first_a_page_at_a_time(jobs: Jobs) -> None:
    ids = [jobs.add({"sources": [f"shop {number}"]}).id for number in range(5)]
    first = [job.id for job in jobs.page(limit=2)]
    assert first == ids[:-3:-1]
    assert [job.id for job in jobs.page(limit=9, before=first[-1])] == ids[2::-1]


def test_jobs_of_some_states_only_are_shown(jobs: Jobs) -> None:
    first, second = (jobs.add({"sources": [name]}).id for name in ("a", "b"))
    jobs.end(first, "failed", {})
    assert [job.id for job in jobs.page(limit=9, statuses=("failed", "done"))] == [first]
    assert [job.id for job in jobs.page(limit=9, statuses=("queued",))] == [second]

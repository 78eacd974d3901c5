"""/v1/jobs: ingests that operators start, watch and cancel."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import Path, Query
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from rag.deadline import Deadline
from rag.errors import QuestionError
from service.catalogue import NO_SOURCES, no_source
from service.http.api.ask import EventStream, sse
from service.http.api.sources import Limit
from service.http.edge import Exchange
from service.http.guard import too_late
from service.http.parts import Parts, Shared, Under, Who
from service.http.problems import problem
from service.schemas import JobBody, JobOut, JobPage, JobStatus, job_out
from service.store.jobs import Job
from service.store.keys import Caller

_WATCH_S = 3600.0
_LOOK_S = 0.25
JobId = Annotated[int, Path(ge=1, le=2**53)]


async def start(body: JobBody, response: Response, parts: Shared, caller: Who) -> JobOut:
    """Read sources in, in a process of its own. 409 when a job has one of them already."""
    if parts.runner is None or parts.drain.begun:
        raise HTTPException(503, "This service cannot start jobs at the moment.", headers={"Retry-After": "5"})
    operated = parts.catalogue.operated(caller.rights)
    names = list(dict.fromkeys(body.sources)) or operated
    for name in names:
        if name not in operated:
            raise QuestionError(no_source(name, operated))
    if not names:
        raise QuestionError(NO_SOURCES)
    options = {"full": body.full, "retry": body.retry, "allow_mass_delete": body.allow_mass_delete}
    job = await parts.state_threads.run(parts.jobs.add, {"sources": names, **options})
    parts.runner.submit(job)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job_out(job)


async def page(
    parts: Shared,
    caller: Who,
    status: Annotated[list[JobStatus] | None, Query(description="Only with one of these")] = None,
    cursor: Annotated[str, Query(pattern=r"^[0-9]{0,15}$", description="next_cursor of the page before")] = "",
    limit: Limit = 50,
) -> JobPage:
    """Jobs, newest first."""
    before = int(cursor) if cursor else None
    own = [each.value for each in status or ()]
    found = await parts.state_threads.run(parts.jobs.page, limit=limit + 1, before=before, statuses=own)
    looked = found[:limit]
    shown = [job_out(each) for each in looked if _may_see(parts, caller, each)]
    return JobPage(jobs=shown, next_cursor=str(looked[-1].id) if len(found) > limit else None)


async def job(job_id: JobId, parts: Shared, caller: Who) -> JobOut:
    """A job, with its progress, or with its report once it has ended."""
    return job_out(await _job(parts, caller, job_id))


async def cancel(job_id: JobId, parts: Shared, caller: Who) -> JobOut:
    """Ask a job to end after its batch; what was committed stays. One that has ended stays as it is."""
    await _job(parts, caller, job_id)
    await parts.state_threads.run(parts.jobs.cancel, job_id)
    return job_out(await _job(parts, caller, job_id))


async def watch(job_id: JobId, parts: Shared, caller: Who, exchange: Under) -> Any:
    """A job's progress as server-sent events: `progress` when it changes, and `done` at the end."""
    job = await _job(parts, caller, job_id)
    exchange.deadline = Deadline(_WATCH_S)
    exchange.deadline.bring_forward(parts.drain.ends_at)
    return EventStream(_progress(job, parts, exchange))


async def _progress(job: Job, parts: Parts, exchange: Exchange) -> AsyncGenerator[bytes, None]:
    shown = None
    try:
        while True:
            told = job_out(job)
            if not job.is_active:
                yield sse("done", told)
                return
            if told != shown:
                yield sse("progress", told)
                shown = told
            await exchange.deadline.wait(asyncio.sleep(_LOOK_S))
            found = await parts.state_threads.run(parts.jobs.get, job.id)
            job = found or job
    except TimeoutError:
        yield sse("error", problem(503, str(too_late(parts))))


async def _job(parts: Parts, caller: Caller, job_id: int) -> Job:
    """Raises HTTPException (404) for a job that is not there, or reads a source that is not the caller's."""
    job: Job | None = await parts.state_threads.run(parts.jobs.get, job_id)
    if job is None or not _may_see(parts, caller, job):
        raise HTTPException(404, f"There is no job {job_id}.")
    return job


def _may_see(parts: Parts, caller: Caller, job: Job) -> bool:
    if caller.rights.may("admin") and not caller.rights.sources:
        return True  # a source of it may not be configured any more
    return set(job.sources) <= set(parts.catalogue.operated(caller.rights))

"""/v1/sources, /v1/jobs, /v1/quarantine and /v1/config: what operators see and start."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Annotated, Any

from fastapi import Path, Query
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from rag.boundary.secrets import masked_in
from rag.deadline import Deadline
from rag.errors import QuestionError
from rag.prompt.profiles import PROFILES
from service.health.status import source_status
from service.http.api.ask import EventStream, profile_of, sse
from service.http.edge import Exchange
from service.http.guard import too_late
from service.http.parts import Parts, Shared, Under, Who, operated_sources, visible_sources
from service.http.problems import problem
from service.schemas import (
    AskingOut,
    CallerOut,
    JobBody,
    JobOut,
    JobPage,
    JobStatus,
    QuarantineOut,
    QuarantinePage,
    SourcesOut,
    job_out,
)
from service.store.jobs import Job
from service.store.keys import Caller

_WATCH_S = 3600.0
_LOOK_S = 0.25
_WINDOW_S = 0.5  # an engine that does not say its context within it is taken as long enough
_QUARANTINED = 100
JobId = Annotated[int, Path(ge=1, le=2**53)]
Limit = Annotated[int, Query(ge=1, le=200, description="Most entries of a page")]
Cursor = Annotated[str, Query(max_length=500, description="next_cursor of the page before; empty for the first")]


async def me(parts: Shared, caller: Who) -> CallerOut:
    """Who the key belongs to, and what it may do."""
    closed = await parts.authenticator.is_closed()
    rights = caller.rights
    return CallerOut(
        name=caller.name,
        tenant=rights.tenant,
        groups=list(rights.groups),
        scopes=list(rights.scopes),
        sources=visible_sources(parts.kb, caller) if rights.scopes else [],
        profiles=list(rights.profiles),
        authenticated=closed,
        asking=await _asking(parts, caller),
    )


async def _asking(parts: Parts, caller: Caller) -> AskingOut:
    generator, window = parts.kb.generator, None
    if generator is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_WINDOW_S):
                window = await generator.window_tokens()
    fit = {name: tokens for name, tokens in PROFILES.items() if window is None or tokens <= window}
    allowed = {name: fit[name] for name in caller.rights.profiles or PROFILES if name in fit}
    llm = parts.kb.settings.llm
    return AskingOut(
        profiles=allowed,
        profile=profile_of(parts, caller, ""),
        max_tokens=llm.max_tokens,
        temperature=llm.temperature,
        top_p=llm.top_p,
        writes=generator is not None,
        max_question_chars=parts.kb.settings.retrieval.max_question_chars,
        keep_conversations_s=llm.keep_conversations,
    )


async def sources(parts: Shared, caller: Who) -> SourcesOut:
    """The sources that the caller may search; with the scope ingest, the state of those that they may read in."""
    operated = operated_sources(parts.kb, caller) if caller.rights.may("ingest") else []
    seen = {*operated, *visible_sources(parts.kb, caller)}
    configured = {name: source for name, source in parts.kb.settings.sources.items() if name in seen}

    def look(name: str) -> dict[str, Any]:
        return _status(parts, name) if name in operated else {"name": name, "kind": configured[name].kind}

    return SourcesOut(sources=await parts.state_threads.run(lambda: [look(name) for name in configured]))


async def source(source: Annotated[str, Path(max_length=255)], parts: Shared, caller: Who) -> dict[str, Any]:
    """One source: documents, tables, how changes are found, last and next run."""
    _operated(parts, caller, source)
    return await parts.state_threads.run(_status, parts, source)


async def quarantine(
    parts: Shared,
    caller: Who,
    source: Annotated[str, Query(max_length=255, description="Only of this source")] = "",
    cursor: Cursor = "",
    limit: Limit = 50,
) -> QuarantinePage:
    """Documents that could not be read, with the reason. A job with `retry` reads them again."""
    if source:
        _operated(parts, caller, source)
    names = [source] if source else sorted(operated_sources(parts.kb, caller))
    after = _after(cursor)
    found = await parts.state_threads.run(parts.kb.state.quarantine_page, names, after=after, limit=limit + 1)
    rows = [QuarantineOut(**row) for row in found[:limit]]
    following = f"{rows[-1].source}\n{rows[-1].document_id}" if len(found) > limit else None
    return QuarantinePage(documents=rows, next_cursor=following)


async def start_job(body: JobBody, response: Response, parts: Shared, caller: Who) -> JobOut:
    """Read sources in, in a process of its own. 409 when a job has one of them already."""
    if parts.runner is None or parts.drain.begun:
        raise HTTPException(503, "This service starts no jobs now.", headers={"Retry-After": "5"})
    names = list(dict.fromkeys(body.sources)) or operated_sources(parts.kb, caller)
    for name in names:
        if name not in operated_sources(parts.kb, caller):
            known = ", ".join(operated_sources(parts.kb, caller)) or "none"
            raise QuestionError(f"There is no source {name!r}. Configured sources: {known}.")
    if not names:
        raise QuestionError("No source is configured. Add one with `citewell add URL_OR_PATH`.")
    options = {"full": body.full, "retry": body.retry, "allow_mass_delete": body.allow_mass_delete}
    job = await parts.state_threads.run(parts.kb.jobs.add, {"sources": names, **options})
    parts.runner.submit(job)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job_out(job)


async def list_jobs(
    parts: Shared,
    caller: Who,
    status: Annotated[list[JobStatus] | None, Query(description="Only with one of these")] = None,
    cursor: Annotated[str, Query(pattern=r"^[0-9]{0,15}$", description="next_cursor of the page before")] = "",
    limit: Limit = 50,
) -> JobPage:
    """Jobs, newest first."""
    before = int(cursor) if cursor else None
    own = [each.value for each in status or ()]
    found = await parts.state_threads.run(parts.kb.jobs.page, limit=limit + 1, before=before, statuses=own)
    page = found[:limit]
    shown = [job_out(job) for job in page if _may_see(parts, caller, job)]
    return JobPage(jobs=shown, next_cursor=str(page[-1].id) if len(found) > limit else None)


async def get_job(job_id: JobId, parts: Shared, caller: Who) -> JobOut:
    """A job, with its progress, or with its report once it has ended."""
    return job_out(await _job(parts, caller, job_id))


async def cancel_job(job_id: JobId, parts: Shared, caller: Who) -> JobOut:
    """Ask a job to end after its batch; what was committed stays. One that has ended stays as it is."""
    await _job(parts, caller, job_id)
    await parts.state_threads.run(parts.kb.jobs.cancel, job_id)
    return job_out(await _job(parts, caller, job_id))


async def watch_job(job_id: JobId, parts: Shared, caller: Who, exchange: Under) -> Any:
    """A job's progress as server-sent events: `progress` when it changes, and `done` at the end."""
    job = await _job(parts, caller, job_id)
    exchange.deadline = Deadline(_WATCH_S)
    exchange.deadline.bring_forward(parts.drain.ends_at)
    return EventStream(_progress(job, parts, exchange))


async def config(parts: Shared, caller: Who) -> dict[str, Any]:
    """The configuration as it holds, secrets masked."""
    found: dict[str, Any] = masked_in(parts.kb.settings.model_dump(mode="json"))
    return found


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
            job = await parts.state_threads.run(parts.kb.jobs.get, job.id) or job
    except TimeoutError:
        yield sse("error", problem(503, str(too_late(parts))))


def _status(parts: Parts, name: str) -> dict[str, Any]:
    """A source's state; of its quarantine the beginning, which /v1/quarantine has by pages."""
    found = source_status(parts.kb, name)
    return found | {"quarantined": len(found["quarantine"]), "quarantine": found["quarantine"][:_QUARANTINED]}


async def _job(parts: Parts, caller: Caller, job_id: int) -> Job:
    """Raises HTTPException (404) for a job that is not there, or reads a source that is not the caller's."""
    job: Job | None = await parts.state_threads.run(parts.kb.jobs.get, job_id)
    if job is None or not _may_see(parts, caller, job):
        raise HTTPException(404, f"There is no job {job_id}.")
    return job


def _may_see(parts: Parts, caller: Caller, job: Job) -> bool:
    if caller.rights.may("admin") and not caller.rights.sources:
        return True  # a source of it may not be configured any more
    return set(job.sources) <= set(operated_sources(parts.kb, caller))


def _operated(parts: Parts, caller: Caller, name: str) -> None:
    if name not in operated_sources(parts.kb, caller):
        raise HTTPException(404, f"There is no source {name!r}.")


def _after(cursor: str) -> tuple[str, str] | None:
    source, _, document = cursor.partition("\n")
    return (source, document) if cursor else None

"""Runs jobs, each in a process of its own, and tells the state store how far they are."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from service.store.jobs import Job, Jobs
from service.syncing.background.child import ChildIngest, Command, ingest_command
from service.threads import Threads, in_own_thread

_AT_ONCE = 2
_TELL_EVERY_S = 0.5
_STOP_S = 20.0
_log = logging.getLogger("citewell")


class JobRunner:
    """Jobs of one worker of the service. Make and use it on one event loop.

    command: what each job runs. tell_every_s: how often the state store is told, and asked whether to go on.
    """

    def __init__(
        self, jobs: Jobs, config: Path, *, command: Command = ingest_command, tell_every_s: float = _TELL_EVERY_S
    ) -> None:
        self._jobs, self._config = jobs, config
        self._command, self._tell_every_s = command, tell_every_s
        self._state = Threads("jobs", _AT_ONCE + 1)
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, job: Job) -> None:
        task = asyncio.get_running_loop().create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Ask the jobs under way to finish their batch, and end."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job: Job) -> None:
        told: dict[str, Any] = {}
        status = "cancelled"
        try:
            if await self._may_start(job):
                status = await self._ingest(job, told)
        except Exception:  # noqa: BLE001 whatever it was, the job must not stay under way
            _log.exception("job %s failed", job.id)
            status = "failed"
            told["error"] = "The job failed; the service's log has the reason."
        finally:
            await asyncio.shield(self._state.run(self._jobs.end, job.id, status, told))

    async def _may_start(self, job: Job) -> bool:
        """Wait for a free place; whether the job was not cancelled meanwhile."""
        waiting = asyncio.create_task(self._free.acquire())
        try:
            while not (await asyncio.wait([waiting], timeout=self._tell_every_s))[0]:
                if await self._state.run(self._jobs.tell, job.id, {}):
                    waiting.cancel()
                    return False
        except asyncio.CancelledError:
            waiting.cancel()
            raise
        return True

    async def _ingest(self, job: Job, told: dict[str, Any]) -> str:
        """Run a job's process; how the job ended."""
        options = [name for name, on in job.request.items() if on is True]
        child = ChildIngest(self._command(self._config, job.sources, options))
        running = None
        try:
            await self._state.run(self._jobs.start, job.id)
            running = in_own_thread(child.run)
            while not (await asyncio.wait([running], timeout=self._tell_every_s))[0]:
                told |= {"sources": dict(child.progress)} if child.progress else {}
                if await self._state.run(self._jobs.tell, job.id, told):
                    child.stop()
            await running
        except asyncio.CancelledError:
            child.stop()
            if running is not None:
                await asyncio.wait([running], timeout=_STOP_S)
            raise
        finally:
            self._free.release()
        return _outcome(child, told)


def _outcome(child: ChildIngest, told: dict[str, Any]) -> str:
    if child.progress:
        told["sources"] = dict(child.progress)
    if child.reports is not None:
        told["reports"] = child.reports
    else:
        told["error"] = child.error or f"The ingest ended with exit code {child.code}."
    if child.reports is not None and child.ended_well:
        return "done"
    return "cancelled" if child.was_stopped else "failed"

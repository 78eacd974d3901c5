"""Runs jobs, each in a process of its own: embedding never takes the service's time."""

import asyncio
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from rag.boundary.child import child_environment, python_child
from service.store.jobs import Job, Jobs
from service.threads import Threads

_AT_ONCE = 2
_TELL_EVERY_S = 0.5
_STOP_S = 20.0
_CANCELLED = {130, 143}  # 128 + SIGINT, SIGTERM
_log = logging.getLogger("citewell")


class JobRunner:
    """Jobs of one worker of the service. Make and use it on one event loop."""

    def __init__(self, jobs: Jobs, config: Path) -> None:
        self._jobs, self._config = jobs, config
        self._threads = Threads("jobs", _AT_ONCE + 1)
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
            await asyncio.shield(self._threads.run(self._jobs.end, job.id, status, told))

    async def _may_start(self, job: Job) -> bool:
        """Wait for a free place; whether the job was not cancelled meanwhile."""
        waiting = asyncio.create_task(self._free.acquire())
        try:
            while not (await asyncio.wait([waiting], timeout=_TELL_EVERY_S))[0]:
                if await self._threads.run(self._jobs.tell, job.id, {}):
                    waiting.cancel()
                    return False
        except asyncio.CancelledError:
            waiting.cancel()
            raise
        return True

    async def _ingest(self, job: Job, told: dict[str, Any]) -> str:
        options = [f"--{name.replace('_', '-')}" for name, on in job.request.items() if on is True]
        command = python_child(
            "service.cli.main", "ingest", "--json", "--config", str(self._config), *options, "--", *job.sources
        )
        try:
            await self._threads.run(self._jobs.start, job.id)
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *command, env=child_environment(secrets=True), stdout=pipe, stderr=pipe
            )
            return await self._follow(job, process, told)
        finally:
            self._free.release()

    async def _follow(self, job: Job, process: asyncio.subprocess.Process, told: dict[str, Any]) -> str:
        errors: list[str] = []
        reading = asyncio.gather(_all(process.stdout), _read_progress(process.stderr, told, errors))
        ending, asked = asyncio.create_task(process.wait()), False
        try:
            while not (await asyncio.wait([ending], timeout=_TELL_EVERY_S))[0]:
                cancelled = await self._threads.run(self._jobs.tell, job.id, told)
                if cancelled and not asked and process.returncode is None:
                    process.terminate()  # once: a second signal would not let it finish its batch
                    asked = True
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(ending, _STOP_S)
            raise
        output = (await reading)[0]
        status = _outcome(process.returncode or 0, output, errors, told)
        return "cancelled" if asked and status == "failed" else status  # ended early, it may not tell why


def _outcome(code: int, output: bytes, errors: list[str], told: dict[str, Any]) -> str:
    try:
        told["reports"] = json.loads(output)["sources"]
    except (ValueError, KeyError):
        told["error"] = "\n".join(errors[-5:]) or f"The ingest ended with exit code {code}."
        return "cancelled" if code in _CANCELLED else "failed"
    return "done" if code in (0, 3) else "cancelled" if code in _CANCELLED else "failed"


async def _all(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.read() if stream is not None else b""


async def _read_progress(stream: asyncio.StreamReader | None, told: dict[str, Any], errors: list[str]) -> None:
    while stream is not None and (line := await stream.readline()):
        text = line.decode(errors="replace").strip()
        try:
            event = json.loads(text)
        except ValueError:
            errors.append(text)
            continue
        if isinstance(event, dict) and event.get("event") == "progress":
            told.setdefault("sources", {})[event.pop("source")] = event

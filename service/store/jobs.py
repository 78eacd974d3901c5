"""Jobs: ingests that were started over REST, kept in the state store, so that every worker can tell of them."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from rag.errors import SourceBusy
from service.store.database import Database
from service.store.schema import jobs

ACTIVE = ("queued", "running")
_SILENT_S = 30.0  # a job whose process has not been heard of for this long is broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An ingest of some sources. status: queued, running, done, failed, cancelled, or broken (its process is gone).

    progress: the last that was told of each source; its report once it has one.
    """

    id: int
    status: str
    request: Mapping[str, Any]
    progress: Mapping[str, Any]
    created_at: float
    started_at: float | None
    ended_at: float | None
    cancelled: bool

    @property
    def sources(self) -> list[str]:
        return list(self.request["sources"])

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE


class Jobs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, request: Mapping[str, Any]) -> Job:
        """Queue a job. Raises SourceBusy when another one has one of its sources."""
        now = time.time()
        with self._database.write() as connection:
            _end_silent(connection)
            active = connection.execute(sa.select(jobs).where(jobs.c.status.in_(ACTIVE))).all()
            for other in map(_job, active):
                if both := sorted(set(other.sources) & set(request["sources"])):
                    raise SourceBusy(f"Job {other.id} has source {both[0]!r} already. Wait for it, or cancel it.")
            row = {"status": "queued", "request": json.dumps(dict(request)), "progress": "{}", "created_at": now}
            done = connection.execute(sa.insert(jobs).values(**row, alive_at=now, cancelled=False))
            number = int((done.inserted_primary_key or (0,))[0])
            return _job(connection.execute(sa.select(jobs).where(jobs.c.id == number)).one())

    def get(self, job_id: int) -> Job | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).first()
        return _job(row) if row is not None else None

    def page(self, *, limit: int, before: int | None = None, statuses: Sequence[str] = ()) -> list[Job]:
        """Jobs, newest first, that are older than one of them."""
        with self._database.write() as connection:
            _end_silent(connection)
        query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(jobs.c.id < before)
        if statuses:
            query = query.where(jobs.c.status.in_(statuses))
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def cancel(self, job_id: int) -> None:
        """Ask a job to end after its batch; one that has ended stays as it is."""
        with self._database.write() as connection:
            here = sa.and_(jobs.c.id == job_id, jobs.c.status.in_(ACTIVE))
            connection.execute(sa.update(jobs).where(here).values(cancelled=True))

    def start(self, job_id: int) -> None:
        self._set(job_id, status="running", started_at=time.time())

    def tell(self, job_id: int, progress: Mapping[str, Any]) -> bool:
        """Say how far a job is; whether it has been asked to end."""
        self._set(job_id, progress=json.dumps(dict(progress)))
        with self._database.read() as connection:
            return connection.scalar(sa.select(jobs.c.cancelled).where(jobs.c.id == job_id)) is True

    def end(self, job_id: int, status: str, progress: Mapping[str, Any]) -> None:
        self._set(job_id, status=status, progress=json.dumps(dict(progress)), ended_at=time.time())

    def _set(self, job_id: int, **values: Any) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(**values, alive_at=time.time()))


def _end_silent(connection: sa.Connection) -> None:
    now = time.time()
    silent = sa.and_(jobs.c.status.in_(ACTIVE), jobs.c.alive_at < now - _SILENT_S)
    connection.execute(sa.update(jobs).where(silent).values(status="broken", ended_at=now))


def _job(row: Any) -> Job:
    return Job(
        id=row.id,
        status=row.status,
        request=json.loads(row.request),
        progress=json.loads(row.progress),
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        cancelled=row.cancelled,
    )

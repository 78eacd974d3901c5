"""Leases: one run at a time writes a source, and one that is paused too long finds that another has taken over."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from rag.errors import LeaseLost, SourceBusy, StateUnavailable
from service.store.ledger.ports import Lease
from service.store.schema import leases, runs

LEASE_S = 60.0


def acquire(connection: sa.Connection, source: str, *, lease_s: float) -> Lease:
    """Begin a run of a source and hold it. Raises SourceBusy, naming the holder, while another run lives."""
    holder, place = f"{socket.gethostname()}:{os.getpid()}", _place()
    row = connection.execute(sa.select(leases).where(leases.c.source == source)).first()
    now = _now(connection)
    if row is not None and row.expires_at > now and not (row.place == place and _ended(row.holder)):
        raise SourceBusy(
            f"Source {source!r} is being ingested by {row.holder}. Wait for it, or let its lease end "
            f"({row.expires_at - now:.0f} s)."
        )
    connection.execute(sa.delete(leases).where(leases.c.source == source))
    if row is not None:
        left = sa.and_(runs.c.source == source, runs.c.status == "running")
        connection.execute(sa.update(runs).where(left).values(status="broken", ended_at=time.time()))
    run = connection.execute(sa.insert(runs).values(source=source, started_at=time.time(), status="running"))
    lease = Lease(source=source, run=int((run.inserted_primary_key or (0,))[0]))
    values = {"source": source, "holder": holder, "place": place, "token": str(lease.run), "expires_at": now + lease_s}
    try:
        connection.execute(sa.insert(leases).values(**values))
    except sa.exc.IntegrityError as err:
        raise SourceBusy(f"Source {source!r} was taken by another run at the same moment. Try again.") from err
    return lease


def renew(connection: sa.Connection, lease: Lease, *, lease_s: float) -> None:
    """Extend a lease. Raises LeaseLost when another run has taken it over."""
    extended = sa.update(leases).where(_held_by(lease)).values(expires_at=_now(connection) + lease_s)
    if connection.execute(extended).rowcount != 1:
        raise LeaseLost(
            f"Another run has taken over source {lease.source!r}; this one stops and has changed nothing since."
        )


def release(connection: sa.Connection, lease: Lease) -> None:
    """Let a source go; a run that was never finished only held it, and is forgotten."""
    connection.execute(sa.delete(leases).where(_held_by(lease)))
    unfinished = sa.and_(runs.c.id == lease.run, runs.c.status == "running")
    connection.execute(sa.delete(runs).where(unfinished))


@contextmanager
def heartbeat(renew: Callable[[], None], *, lease_s: float) -> Iterator[None]:
    """Keep a lease alive through a slow batch; one that is lost is told by the next commit."""
    ended = threading.Event()

    def beat() -> None:
        wait_s = lease_s / 3
        while not ended.wait(wait_s):
            try:
                renew()
                wait_s = lease_s / 3
            except LeaseLost:
                return
            except (StateUnavailable, sa.exc.SQLAlchemyError):
                wait_s = lease_s / 30  # a store that is away for a moment costs no run

    thread = threading.Thread(target=beat, name="citewell-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _held_by(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(leases.c.source == lease.source, leases.c.token == str(lease.run))


def _now(connection: sa.Connection) -> float:
    """The store's own clock, so that machines whose clocks differ agree about a lease."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return time.time()


def _place() -> str:
    """Where process ids mean the same: a machine and its process namespace."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _ended(holder: str) -> bool:
    """Whether a lease's holder, a process of this machine, is seen to be gone."""
    pid = holder.rpartition(":")[2]
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return Path("/proc/self").exists()
    return state == "Z"

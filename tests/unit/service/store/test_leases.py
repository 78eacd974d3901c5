"""Whose run a source is, where its process may be gone."""

import os
import threading
import time

import pytest
import sqlalchemy as sa

from rag.errors import LeaseLost, SourceBusy, StateUnavailable
from service.store.database import Database
from service.store.ledger.leases import _place, acquire, heartbeat, release, renew
from service.store.overview import Overview
from service.store.schema import leases, runs

GONE = 2**22 + 1  # above what a process id can be


def hold(database: Database, *, pid: int, place: str = "", for_s: float = 3600) -> None:
    """A lease of another process, which began run 7."""
    with database.write() as connection:
        connection.execute(sa.insert(runs).values(id=7, source="shop", started_at=0.0, status="running"))
        row = {"source": "shop", "holder": f"host:{pid}", "place": place or _place(), "token": "7"}
        connection.execute(sa.insert(leases).values(**row, expires_at=time.time() + for_s))


def take(database: Database) -> int:
    with database.write() as connection:
        return acquire(connection, "shop", lease_s=60).run


def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_taken_over(database: Database) -> None:
    hold(database, pid=GONE)
    assert take(database) == 8


def test_the_lease_of_a_process_that_lives_is_not_taken_over_and_its_holder_is_named(database: Database) -> None:
    hold(database, pid=os.getpid())
    with pytest.raises(SourceBusy, match=rf"being ingested by host:{os.getpid()}\. Wait .* \(3\d\d\d s\)"):
        take(database)


def test_of_a_process_of_another_machine_nothing_is_known_until_its_lease_ends(database: Database) -> None:
    hold(database, pid=GONE, place="another machine")
    with pytest.raises(SourceBusy):
        take(database)


def test_a_lease_that_has_ended_is_taken_over_and_its_run_is_broken(database: Database) -> None:
    hold(database, pid=os.getpid(), for_s=-1)
    take(database)
    with database.read() as connection:
        status = connection.scalar(sa.select(runs.c.status).where(runs.c.id == 7))
    assert status == "broken"


def test_a_run_that_was_never_finished_leaves_no_run_behind(database: Database) -> None:
    with database.write() as connection:
        release(connection, acquire(connection, "shop", lease_s=60))
    assert Overview(database).summary("shop")["last_run"] is None


def test_a_renewal_puts_the_end_of_a_lease_off(database: Database) -> None:
    with database.write() as connection:
        lease = acquire(connection, "shop", lease_s=-1)
        renew(connection, lease, lease_s=60)
        with pytest.raises(SourceBusy):
            acquire(connection, "shop", lease_s=60)


def test_a_heartbeat_renews_until_the_lease_is_lost_and_then_no_more() -> None:
    beats: list[int] = []

    def lose_the_third() -> None:
        beats.append(len(beats))
        if len(beats) == 3:
            raise LeaseLost("taken over")

    with heartbeat(lose_the_third, lease_s=0.003):
        (thread,) = (thread for thread in threading.enumerate() if thread.name == "citewell-lease")
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert beats == [0, 1, 2]


def test_a_heartbeat_outlives_a_store_that_is_away_for_a_moment() -> None:
    beats: list[int] = []
    seen = threading.Event()

    def fail_first() -> None:
        beats.append(len(beats))
        if len(beats) == 1:
            raise StateUnavailable("away")
        if len(beats) == 3:
            seen.set()
            raise LeaseLost("the test has seen enough")

    with heartbeat(fail_first, lease_s=0.003):
        assert seen.wait(timeout=10)
    assert beats == [0, 1, 2]

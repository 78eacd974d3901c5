"""Reading ahead and writing behind."""

import threading
from collections.abc import Iterator

import pytest

from rag.errors import RunStopped
from service.syncing.threads import Behind, read_ahead


def test_items_come_in_order() -> None:
    assert list(read_ahead(iter(range(100)), size=2, stop=threading.Event())) == list(range(100))


def test_no_more_is_read_ahead_than_was_said() -> None:
    read: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            if number == 2:
                third.set()
            yield number

    ahead = read_ahead(items(), size=2, stop=threading.Event())
    assert next(ahead) == 0
    assert third.wait(10)
    ahead.close()
    assert max(read) <= 4  # one taken, two waiting, one that waits for room, and one that it went on to


def test_an_error_of_the_source_is_raised_behind_what_came_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    ahead = read_ahead(items(), size=2, stop=threading.Event())
    assert next(ahead) == 1
    with pytest.raises(ZeroDivisionError):
        next(ahead)


def test_a_run_that_is_to_stop_gets_no_more_items_and_the_source_is_closed() -> None:
    stop, closed = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.set()

    ahead = read_ahead(items(), size=2, stop=stop)
    next(ahead)
    stop.set()
    with pytest.raises(RunStopped, match="stopped on request"):
        next(ahead)
    assert closed.wait(10)


@pytest.fixture
def behind() -> Iterator[Behind]:
    made = Behind("test", size=1)
    yield made
    made.close()


def fail() -> None:
    raise ZeroDivisionError


def test_tasks_run_in_order_and_are_done_when_it_is_drained(behind: Behind) -> None:
    done: list[int] = []
    for number in range(20):
        behind.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    behind.drain()
    assert done == list(range(20))


def test_an_error_is_raised_by_what_comes_next_and_nothing_more_is_done(behind: Behind) -> None:
    done: list[int] = []
    behind.submit(fail)
    with pytest.raises(ZeroDivisionError):
        behind.submit(lambda: done.append(1))
    behind.submit(lambda: done.append(2))
    behind.drain()
    assert done == []


def test_an_error_is_raised_at_the_end_where_nothing_comes_next(behind: Behind) -> None:
    behind.submit(fail)
    with pytest.raises(ZeroDivisionError):
        behind.drain()


def test_what_writes_a_document_is_waited_for_and_what_writes_others_is_not(behind: Behind) -> None:
    go_on, done = threading.Event(), threading.Event()

    def write() -> None:
        go_on.wait(10)
        done.set()

    behind.submit(write, about={"t/1"})
    behind.settle({"t/2"})
    assert not done.is_set()
    go_on.set()
    behind.settle({"t/1", "t/2"})
    assert done.is_set()


def test_what_waits_is_still_done_when_it_is_closed() -> None:
    behind, done = Behind("test", size=2), threading.Event()
    behind.submit(done.set)
    behind.close()
    assert done.is_set()

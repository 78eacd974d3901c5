"""A value that is made when it is first asked for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rag.lazy import Lazy


def test_it_is_made_once_and_not_before_it_is_asked_for() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    lazy = Lazy(make)
    assert (made, lazy.is_made) == ([], False)
    assert lazy() is lazy()
    assert (len(made), lazy.is_made) == (1, True)


def test_a_value_that_is_none_is_made_once_too() -> None:
    made: list[int] = []
    lazy = Lazy(lambda: made.append(1))
    assert (lazy(), lazy(), made) == (None, None, [1])


def test_a_failure_is_raised_and_tried_again() -> None:
    outcomes = [ValueError("away"), "there"]

    def make() -> object:
        found = outcomes.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    lazy = Lazy(make)
    with pytest.raises(ValueError, match="away"):
        lazy()
    assert not lazy.is_made
    assert lazy() == "there"


def test_threads_that_ask_at_once_get_the_same_value() -> None:
    together, made = threading.Barrier(4), []

    def make() -> object:
        made.append(1)
        return object()

    lazy = Lazy(make)

    def ask(_: int) -> object:
        together.wait(5)
        return lazy()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1
    assert made == [1]

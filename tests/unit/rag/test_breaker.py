"""The circuit breaker."""

from rag.retrieval.breaker import Breaker


class Clock:
    """A clock that stands still until it is set."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(failures=2, clock=Clock())
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert (breaker.is_open, breaker.failures) == (False, 1)
    breaker.failed()
    assert (breaker.is_open, breaker.failures) == (True, 2)


def test_while_it_is_closed_every_attempt_is_let_through() -> None:
    breaker = Breaker(failures=2, clock=Clock())
    breaker.failed()
    assert [breaker.allow() for _ in range(3)] == [True, True, True]


def test_one_attempt_is_let_through_after_each_rest() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, rest_s=2, clock=clock)
    breaker.failed()
    allowed = []
    for now_s in (101.9, 102.0, 103.9, 104.0, 104.0):
        clock.now_s = now_s
        allowed.append(breaker.allow())
    assert allowed == [False, True, False, True, False]


def test_a_trial_that_fails_begins_another_rest() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, rest_s=2, clock=clock)
    breaker.failed()
    clock.now_s = 110
    assert breaker.allow()
    clock.now_s = 111
    breaker.failed()
    clock.now_s = 112.5
    assert not breaker.allow()


def test_a_trial_that_succeeds_closes_it() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, rest_s=2, clock=clock)
    breaker.failed()
    clock.now_s = 110
    assert breaker.allow()
    breaker.succeeded()
    assert (breaker.allow(), breaker.allow(), breaker.is_open) == (True, True, False)

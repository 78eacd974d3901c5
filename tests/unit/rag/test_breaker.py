"""The circuit breaker."""

import time

from rag.retrieval.breaker import Breaker
from tests.conftest import wait_until


def test_it_opens_after_failures_in_a_row_only():
    breaker = Breaker(failures=2, rest_s=60)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.allow()
    breaker.failed()
    assert breaker.is_open
    assert not breaker.allow()


def test_one_attempt_is_let_through_after_a_rest_and_its_success_closes():
    breaker = Breaker(failures=1, rest_s=0.05)
    breaker.failed()
    begun = time.monotonic()
    wait_until(breaker.allow, what="a trial")
    assert time.monotonic() - begun >= 0.05
    assert not breaker.allow()  # the trial is under way
    breaker.succeeded()
    assert breaker.allow()
    assert breaker.allow()


def test_a_trial_that_never_tells_is_followed_by_another():
    breaker = Breaker(failures=1, rest_s=0.02)
    breaker.failed()
    for _ in range(2):
        wait_until(breaker.allow, what="a trial")

"""A circuit breaker: what fails again and again is left alone for a while, so that callers are told at once."""

import threading
import time
from collections.abc import Callable


class Breaker:
    """Opens after `failures` in a row; then one attempt is let through every `rest_s` until one succeeds.

    Thread-safe. Ask `allow` before each attempt and tell how it went; an attempt that never tells does no harm.
    clock: seconds that only go up.
    The pattern: https://martinfowler.com/bliki/CircuitBreaker.html
    """

    def __init__(self, *, failures: int = 3, rest_s: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._rest_s, self._clock = failures, rest_s, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= self._most

    @property
    def failures(self) -> int:
        """How many attempts have failed since one last succeeded."""
        return self._failures

    def allow(self) -> bool:
        """Whether to try now."""
        with self._lock:
            now = self._clock()
            if self.is_open and now < self._until:
                return False
            self._until = now + self._rest_s
            return True

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._until = self._clock() + self._rest_s

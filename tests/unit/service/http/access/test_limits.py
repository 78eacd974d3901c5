"""Rates, and requests at once."""

import asyncio
from contextlib import ExitStack
from typing import Any

import pytest
from limits.aio.storage import MemoryStorage
from starlette.exceptions import HTTPException

from service.http.access.limits import Limits
from service.settings.sections import LimitSettings
from service.store.keys import Caller, Rights
from service.telemetry.metrics import Metrics


def caller(name: str = "a", *, subject: str = "a", **rights: Any) -> Caller:
    return Caller(name=name, subject=subject, rights=Rights(**rights))


def limits(**settings: Any) -> Limits:
    return Limits(LimitSettings(**settings), Metrics())


def refused(metrics: Metrics, limit: str) -> float:
    return float(metrics.refused.labels(limit)._value.get())


def hits(made: Limits, *callers: Caller) -> list[int]:
    """The status of a request of each, one after another; 200 where it is let in."""

    async def main() -> list[int]:
        return [await _status(made, each) for each in callers]

    return asyncio.run(main())


async def _status(made: Limits, each: Caller) -> int:
    try:
        await made.check_rate(each)
    except HTTPException as err:
        return err.status_code if int((err.headers or {})["Retry-After"]) >= 1 else 0
    return 200


def test_without_a_rate_nobody_is_limited() -> None:
    assert hits(limits(), *[caller()] * 50) == [200] * 50


def test_a_caller_has_the_configured_rate_each_their_own() -> None:
    a, b = caller("a"), caller("b")
    assert hits(limits(rate="2/hour"), a, a, a, b) == [200, 200, 429, 200]


def test_a_keys_own_rate_goes_before_the_configured_one() -> None:
    own = caller(rate="1/hour")
    assert hits(limits(rate="5/hour"), own, own) == [200, 429]


def test_each_of_several_rates_holds() -> None:
    assert hits(limits(rate="2/hour;100/day"), *[caller()] * 3) == [200, 200, 429]
    assert hits(limits(rate="100/hour;2/day"), *[caller()] * 3) == [200, 200, 429]


def test_a_refused_request_is_told_the_rate_and_counted() -> None:
    metrics = Metrics()
    made = Limits(LimitSettings(rate="1/hour"), metrics)
    hits(made, caller())
    with pytest.raises(HTTPException, match="More requests than 1 per 1 hour for this key"):
        asyncio.run(made.check_rate(caller()))
    assert refused(metrics, "rate") == 1


class Away(MemoryStorage):
    """What away:// stands for."""

    STORAGE_SCHEME = ["async+away"]  # noqa: RUF012 as the library has it

    async def acquire_sliding_window_entry(self, *arguments: Any, **options: Any) -> bool:
        raise ConnectionError("secret-host:6379")


def test_a_storage_that_is_away_limits_nobody_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    away = limits(rate="1/hour", storage="away://")
    assert hits(away, caller(), caller()) == [200, 200]
    assert "rates cannot be counted in limits.storage, and are not limited: ConnectionError" in caplog.text


def held(made: Limits, *callers: Caller) -> int:
    """How many requests at once are let in, one of each caller."""
    with ExitStack() as stack:
        for number, each in enumerate(callers):
            try:
                stack.enter_context(made.share(each))
            except HTTPException as err:
                return number if (err.status_code, err.headers) == (429, {"Retry-After": "1"}) else -1
    return len(callers)


def test_a_key_has_a_quarter_of_all_places_unless_that_is_configured() -> None:
    assert held(limits(in_flight=8), *[caller()] * 5) == 2
    assert held(limits(in_flight=8, concurrent=3), *[caller()] * 5) == 3
    assert held(limits(in_flight=8, concurrent=3), *[caller(concurrent=4)] * 5) == 4


def test_a_key_has_one_place_at_least() -> None:
    assert held(limits(in_flight=1), *[caller()] * 3) == 1


def test_where_there_are_no_keys_one_caller_may_have_all() -> None:
    assert held(limits(in_flight=8), *[caller("anybody", subject="")] * 50) == 50


def test_one_callers_requests_take_no_place_from_anothers() -> None:
    made = limits(concurrent=1)
    with made.share(caller("a")), made.share(caller("b")):
        assert held(made, caller("a")) == 0


def test_a_request_that_has_ended_leaves_its_share_and_its_place_however_it_ended() -> None:
    made = limits(concurrent=1, in_flight=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), made.share(caller()), made.place():
            raise ZeroDivisionError
    assert made._under_way == {}


def test_a_share_that_is_refused_is_counted_and_says_how_many_are_under_way() -> None:
    metrics = Metrics()
    made = Limits(LimitSettings(concurrent=1), metrics)
    with made.share(caller()):
        with pytest.raises(HTTPException, match="limit of 1 concurrent requests is reached"), made.share(caller()):
            pass
        with pytest.raises(HTTPException), made.share(caller()):
            pass
    assert refused(metrics, "concurrent") == 2


def test_the_places_of_all_are_counted_together() -> None:
    metrics = Metrics()
    made = Limits(LimitSettings(in_flight=2), metrics)
    with made.place(), made.place(), pytest.raises(HTTPException) as refusal, made.place():
        pass
    assert (refusal.value.status_code, refused(metrics, "in_flight")) == (503, 1)
    with made.place():
        pass

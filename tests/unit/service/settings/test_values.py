"""Times, groups and rates as they are written in the configuration."""

import pytest
from pydantic import TypeAdapter, ValidationError

from service.settings.values import Acl, Duration, Group, checked_rate, seconds


@pytest.mark.parametrize(
    ("written", "time_s"), [("6", 6), ("1.5", 1.5), ("6s", 6), ("2m", 120), ("1.5 h", 5400), (" 1d ", 86_400), (7, 7)]
)
def test_a_time_is_read_in_seconds(written: object, time_s: float) -> None:
    assert seconds(written) == time_s


@pytest.mark.parametrize("written", ["soon", "5 weeks", "-1s", "", "1m30s"])
def test_what_is_no_time_says_how_to_write_one(written: str) -> None:
    with pytest.raises(ValueError, match='is not a time; write "30s", "5m", "2h" or "1d"'):
        seconds(written)


def test_a_duration_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python([1])


@pytest.mark.parametrize("name", ["*", " * ", "", " "])
def test_all_and_nobody_are_no_groups(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Group).validate_python(name)


@pytest.mark.parametrize("groups", [["hr"], ["hr", "sales"], ["*"]])
def test_an_acl_lists_groups_or_everybody(groups: list[str]) -> None:
    assert TypeAdapter(Acl).validate_python(groups) == tuple(groups)


@pytest.mark.parametrize("groups", [[], ["*", "hr"], ["hr", ""]])
def test_an_acl_that_lets_nobody_in_or_mixes_everybody_with_groups_is_refused(groups: list[str]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Acl).validate_python(groups)


@pytest.mark.parametrize("rate", ["", "60/minute", "5/second;1000/day"])
def test_a_rate_is_given_back_as_it_was_written(rate: str) -> None:
    assert checked_rate(rate) == rate


def test_what_is_no_rate_says_how_to_write_one() -> None:
    with pytest.raises(ValueError, match="60/minute"):
        checked_rate("often")

"""JSON that others wrote."""

import pytest

from rag.boundary.json_values import MOST_LEVELS, flaw, is_unicode, parsed


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("value", [{"a": [1, "é", None, True, 2.5]}, "text", [], 10**400])
def test_what_json_can_say_has_no_flaw(value: object) -> None:
    assert flaw(value) == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": [float("nan")]}, "nan"),
        ([float("inf")], "inf"),
        ({"\ud800": 1}, "surrogate"),
        ([{"a": ("x", "\udfff")}], "surrogate"),
    ],
)
def test_what_json_cannot_say_is_named(value: object, said: str) -> None:
    assert said in flaw(value)


def test_a_value_may_have_so_many_levels_and_no_more() -> None:
    assert flaw(parsed(nested(MOST_LEVELS))) == ""
    for levels in (MOST_LEVELS + 1, 100_000):
        with pytest.raises(ValueError, match="levels"):
            parsed(nested(levels))


@pytest.mark.parametrize("text", ["", "{", "NaN", '"\\ud800"', "It is 5."])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed(text)


def test_json_is_read() -> None:
    assert parsed('{"a": [1, "\\u00e9"]}') == {"a": [1, "é"]}


def test_half_a_character_is_no_unicode() -> None:
    assert (is_unicode("é中"), is_unicode("\ud83d")) == (True, False)

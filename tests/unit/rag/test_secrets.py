"""Secrets do not show, in whatever form a text has them."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from rag.boundary.secrets import masked, masked_in, remember
from rag.boundary.urls import credentials_in, has_two_ats, without_credentials
from rag.errors import SourceError

ODD = [
    "Blue@Harbor77",
    "100%41x-long",
    'say "hi" \\ now',
    "a b+c/d?e#f",
    "秘密的密码啊",
    "<tag>&amp;",
    "tab\tand\nline",
    "x:y@z:w/1",
]


@pytest.mark.parametrize("value", ODD)
def test_a_value_is_masked_in_every_form_that_it_is_written_in(value: str) -> None:
    remember([value])
    forms = [
        value, quote(value, safe=""), quote(value), quote_plus(value), quote(value, safe="").lower(), json.dumps(value),
        json.dumps(value, ensure_ascii=False), repr(value), base64.b64encode(value.encode()).decode(), f"postgresql://u:{value}@h/d",
    ]  # fmt: skip
    for form in forms:
        assert value not in masked(f"before {form} after"), form
        assert "***" in masked(form), form
    assert masked_in({"a": [value, 1, None, {"b": f"x{value}x"}]}) == {"a": ["***", 1, None, {"b": "x***x"}]}


def test_short_values_are_words() -> None:
    remember(["a@b", "shop", "     "])
    assert masked("failed to reach a shop: a@b") == "failed to reach a shop: a@b"


def test_every_error_of_ours_is_masked() -> None:
    remember(["Tango-Whiskey-7"])
    assert str(SourceError("failed: Tango-Whiskey-7")) == "failed: ***"


@pytest.mark.parametrize(
    ("url", "shown", "held"),
    [
        ("postgresql://u:hunter22@h:5432/d", "postgresql://u:***@h:5432/d", {"hunter22"}),
        ("postgresql://u:hun%40ter@h/d?sslpassword=hunter33", "postgresql://u:***@h/d?sslpassword=***", {"hun%40ter", "hun@ter", "hunter33"}),
        ("https://token-abc@host/v1?api_key=k9&x=1", "https://***@host/v1?api_key=***&x=1", {"token-abc", "k9"}),
        ("postgresql://clerk@h/d", "postgresql://clerk@h/d", set()),
        ("sqlite:///shop.sqlite", "sqlite:///shop.sqlite", set()),
        ("redis://:pass-word@h:6379/0", "redis://:***@h:6379/0", {"pass-word"}),
        ("no url at all", "no url at all", set()),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_its_credentials(url: str, shown: str, held: set[str]) -> None:
    assert without_credentials(url) == shown
    assert set(credentials_in(url)) == held


@pytest.mark.parametrize("url", ["postgresql://u:a@b@h/d", "http://u@x:p@h/v1", "mysql+pymysql://a@b@c@d/e"])
def test_two_ats_are_found(url: str) -> None:
    assert has_two_ats(url)


@pytest.mark.parametrize("url", ["postgresql://u:a%40b@h/d?x=a@b", "sqlite:///a@b@c.sqlite", "http://h/a@b@c", "a@b@c"])
def test_an_at_elsewhere_is_none_of_them(url: str) -> None:
    assert not has_two_ats(url)

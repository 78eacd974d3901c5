"""Secrets do not show, in whatever form a text has them."""

import base64
import json
import logging
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from rag.boundary.secrets import masked, masked_in, remember
from rag.boundary.urls import credentials_in, has_two_ats, without_credentials
from rag.errors import ConfigError, SourceError
from service.settings.load import load_settings
from service.settings.sections import Settings
from service.syncing.connectors import make_source
from service.telemetry.logs import _JsonFormatter, _TextFormatter

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
def test_a_value_is_masked_in_every_form_that_it_is_written_in(value: str):
    remember([value])
    forms = [
        value, quote(value, safe=""), quote(value), quote_plus(value), quote(value, safe="").lower(), json.dumps(value),
        json.dumps(value, ensure_ascii=False), repr(value), base64.b64encode(value.encode()).decode(), f"postgresql://u:{value}@h/d",
    ]  # fmt: skip
    for form in forms:
        assert value not in masked(f"before {form} after"), form
        assert "***" in masked(form), form
    assert masked_in({"a": [value, 1, None, {"b": f"x{value}x"}]}) == {"a": ["***", 1, None, {"b": "x***x"}]}


def test_short_values_are_words():
    remember(["a@b", "shop", "     "])
    assert masked("failed to reach a shop: a@b") == "failed to reach a shop: a@b"


def test_every_error_of_ours_is_masked():
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
def test_a_url_is_shown_without_its_credentials(url: str, shown: str, held: set[str]):
    assert without_credentials(url) == shown
    assert set(credentials_in(url)) == held


@pytest.mark.parametrize("url", ["postgresql://u:a@b@h/d", "http://u@x:p@h/v1", "mysql+pymysql://a@b@c@d/e"])
def test_two_ats_are_found(url: str):
    assert has_two_ats(url)


@pytest.mark.parametrize("url", ["postgresql://u:a%40b@h/d?x=a@b", "sqlite:///a@b@c.sqlite", "http://h/a@b@c", "a@b@c"])
def test_an_at_elsewhere_is_none_of_them(url: str):
    assert not has_two_ats(url)


def configured(tmp_path: Path, toml: str, **environ: str) -> Settings:
    (tmp_path / "citewell.toml").write_text(toml)
    return load_settings(tmp_path / "citewell.toml", environ=environ)


@pytest.mark.parametrize("password", [*ODD, "a@b", "100%41x", "@@@", "%40"])
def test_a_variable_in_a_url_is_a_value_whatever_signs_it_has(tmp_path: Path, password: str):
    import sqlalchemy as sa

    toml = '[sources.s]\nkind = "sql"\nurl = "postgresql://clerk:${PW}@127.0.0.1:5432/reports"\n'
    found = sa.make_url(configured(tmp_path, toml, PW=password).sources["s"].url.get_secret_value())  # type: ignore[union-attr]
    assert (found.username, found.password, found.host, found.port, found.database) == (
        "clerk", password, "127.0.0.1", 5432, "reports",
    )  # fmt: skip
    toml = '[sources.s]\nkind = "sql"\nurl = "postgresql://clerk@127.0.0.1/reports"\npassword = "${PW}"\n'
    source = make_source("s", configured(tmp_path, toml, PW=password).sources["s"], tmp_path)
    assert sa.make_url(source.url).password == password  # type: ignore[union-attr]


def test_a_variable_that_is_a_whole_url_or_a_part_of_its_path_is_taken_as_it_is(tmp_path: Path):
    toml = (
        '[sources.s]\nkind = "sql"\nurl = "${URL}"\n[sources.t]\nkind = "sql"\nurl = "sqlite:///${DATA}/shop.sqlite"\n'
    )
    sources = configured(tmp_path, toml, URL="postgresql://u:p%40ss@h/d", DATA="/srv/data").sources
    assert [source.url.get_secret_value() for source in sources.values()] == [  # type: ignore[union-attr]
        "postgresql://u:p%40ss@h/d", "sqlite:////srv/data/shop.sqlite",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[sources.s]\nkind = "sql"\nurl = "postgresql://clerk:Blue@Harbor77@127.0.0.1/reports"\n', "two @"),
        ('[sources.s]\nkind = "sql"\nurl = "${URL}"\n', "two @"),
        ('[llm]\nurls = ["http://u:Blue@Harbor77@127.0.0.1/v1"]\n', "two @"),
        ('[state]\nurl = "postgresql://u:Blue@Harbor77@127.0.0.1/s"\n', "two @"),
        ('[sources.s]\nkind = "sql"\nurl = "postgresql://u:p1@h/d"\npassword = "Harbor77"\n', "either"),
    ],
)
def test_a_url_that_can_be_read_two_ways_is_refused_without_being_shown(tmp_path: Path, toml: str, said: str):
    with pytest.raises(ConfigError, match=said) as caught:
        configured(tmp_path, toml, URL="postgresql://clerk:Blue@Harbor77@127.0.0.1/reports")
    assert "Harbor77" not in str(caught.value)
    assert "%40" in str(caught.value) or "either" in said


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    trace = (type(error), error, None) if error is not None else None
    return logging.LogRecord("citewell", logging.INFO, "x.py", 1, message, arguments, trace)


FORGED = "why?\n2026-11-30 10:00:00,000 INFO citewell: key 12 was revoked\r\x1b[2Jnext\u2028more"


def test_no_text_can_look_like_another_line_of_the_log():
    text = _TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    line = text.format(record("question: %s", FORGED))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert r"\n2026-11-30" in line
    traced = text.format(record("failed", error=ValueError(FORGED)))
    assert all(each.startswith("  ") for each in traced.splitlines()[1:])
    structured = _JsonFormatter("%(asctime)s %(message)s").format(record("question: %s", FORGED))
    assert json.loads(structured)["message"] == f"question: {FORGED}"
    assert len(structured.splitlines()) == 1


def test_secrets_are_masked_in_the_log_and_in_its_tracebacks():
    remember(["Lima-Papa-42"])
    for formatter in (_TextFormatter("%(message)s"), _JsonFormatter("%(message)s")):
        told = formatter.format(record("it said %s", "Lima-Papa-42", error=ValueError("with Lima-Papa-42")))
        assert "Lima" not in told

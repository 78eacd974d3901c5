"""Credentials in the configuration: any sign may be in one, and none shows in an error."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.sql.source import SqlSource
from rag.boundary.secrets import masked
from rag.errors import ConfigError
from service.catalogue import connector_of
from service.settings.load import load_settings
from service.settings.sections import Settings
from service.settings.sources import SqlSettings

ODD = [
    "Blue@Harbor77",
    "100%41x-long",
    'say "hi" \\ now',
    "a b+c/d?e#f",
    "秘密的密码啊",
    "<tag>&amp;",
    "x:y@z:w/1",
    "%40",
]


def configured(tmp_path: Path, toml: str, **environ: str) -> Settings:
    (tmp_path / "citewell.toml").write_text(toml, encoding="utf-8")
    return load_settings(tmp_path / "citewell.toml", environ=environ)


def database(tmp_path: Path, lines: str, **environ: str) -> SqlSettings:
    """The settings of one database. lines: of its section."""
    found = configured(tmp_path, f'[sources.s]\nkind = "sql"\n{lines}\n', **environ).sources["s"]
    assert isinstance(found, SqlSettings)
    return found


@pytest.mark.parametrize("password", ODD)
def test_a_variable_in_a_url_is_a_value_whatever_signs_it_has(tmp_path: Path, password: str) -> None:
    url = database(tmp_path, 'url = "postgresql://clerk:${PW}@127.0.0.1:5432/reports"', PW=password).url
    found = sa.make_url(url.get_secret_value())
    assert (found.username, found.password, found.host, found.port) == ("clerk", password, "127.0.0.1", 5432)
    assert found.database == "reports"


@pytest.mark.parametrize("password", ODD)
def test_a_password_beside_the_url_is_taken_as_it_is(tmp_path: Path, password: str) -> None:
    lines = 'url = "postgresql://clerk@127.0.0.1/reports"\npassword = "${PW}"'
    source = connector_of("s", database(tmp_path, lines, PW=password), tmp_path)
    assert isinstance(source, SqlSource)
    assert sa.make_url(source.url).password == password


def test_a_variable_in_the_query_of_a_url_is_a_value(tmp_path: Path) -> None:
    url = database(tmp_path, 'url = "postgresql://u@h/d?sslpassword=${PW}"', PW="a&b=c").url.get_secret_value()
    assert sa.make_url(url).query == {"sslpassword": "a&b=c"}


@pytest.mark.parametrize(
    ("written", "read"),
    [("${URL}", "postgresql://u:p%40ss@h/d"), ("sqlite:///${DATA}/shop.sqlite", "sqlite:////srv/data/shop.sqlite")],
)
def test_a_variable_that_is_a_whole_url_or_a_part_of_its_path_is_taken_as_it_is(
    tmp_path: Path, written: str, read: str
) -> None:
    found = database(tmp_path, f'url = "{written}"', URL="postgresql://u:p%40ss@h/d", DATA="/srv/data")
    assert found.url.get_secret_value() == read


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[sources.s]\nkind = "sql"\nurl = "postgresql://clerk:Blue@Harbor77@127.0.0.1/reports"\n', "%40"),
        ('[sources.s]\nkind = "sql"\nurl = "${URL}"\n', "%40"),
        ('[llm]\nurls = ["http://u:Blue@Harbor77@127.0.0.1/v1"]\n', "%40"),
        ('[state]\nurl = "postgresql://u:Blue@Harbor77@127.0.0.1/s"\n', "%40"),
        ('[sources.s]\nkind = "sql"\nurl = "postgresql://u:p1@h/d"\npassword = "Harbor77"\n', "either in the url or"),
    ],
)
def test_a_url_that_can_be_read_two_ways_is_refused_without_being_shown(tmp_path: Path, toml: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        configured(tmp_path, toml, URL="postgresql://clerk:Blue@Harbor77@127.0.0.1/reports")
    assert "Harbor77" not in str(caught.value)


def test_a_password_without_one_in_the_url_is_right(tmp_path: Path) -> None:
    assert (
        database(tmp_path, 'url = "postgresql://u@h/d"\npassword = "Harbor78"').password.get_secret_value()
        == "Harbor78"
    )


@pytest.mark.parametrize(
    ("toml", "secret"),
    [
        ('[llm]\napi_key = "Kilo-Golf-71"\n', "Kilo-Golf-71"),
        ('[llm]\nmodel = "${KEY}"\n', "Kilo-Golf-72"),
        ('[qdrant]\nurl = "http://u:Kilo-Golf-73@h:6333"\n', "Kilo-Golf-73"),
    ],
)
def test_a_secret_is_masked_from_when_it_is_read(tmp_path: Path, toml: str, secret: str) -> None:
    settings = configured(tmp_path, toml, KEY="Kilo-Golf-72")
    assert secret not in masked(f"the server said {secret}")
    assert secret not in masked(repr(settings))

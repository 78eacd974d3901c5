from pathlib import Path

import pytest

from rag.errors import ConfigError
from service.settings.load import load_settings
from service.settings.sections import Settings
from service.settings.values import seconds


def load(tmp_path: Path, text: str, **environ: str) -> Settings:
    (tmp_path / "citewell.toml").write_text(text, encoding="utf-8")
    return load_settings(tmp_path / "citewell.toml", environ=environ)


def test_defaults_hold_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings.data_dir == tmp_path / ".citewell"
    assert settings.llm.profile == "chat"


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    text = '[llm]\nmodel = "a"\n[sources.shop]\nkind = "sql"\nurl = "sqlite:///a.db"\n'
    settings = load(
        tmp_path,
        text,
        CITEWELL_LLM__MODEL="b",
        CITEWELL_LLM__URLS='["http://x/v1"]',
        CITEWELL_SOURCES__SHOP__TABLES='["t"]',
    )
    assert settings.llm.model == "b"
    assert settings.llm.urls == ("http://x/v1",)
    assert settings.sources["shop"].tables == ("t",)


def test_variables_in_values_are_filled_in(tmp_path: Path) -> None:
    text = '[sources.shop]\nkind = "sql"\nurl = "postgresql://u:${SECRET}@h/d"\n'
    settings = load(tmp_path, text, SECRET="hunter2")
    assert settings.sources["shop"].url.get_secret_value() == "postgresql://u:hunter2@h/d"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[llm]\nmodle = "x"\n', r"citewell.toml, line 2: llm.modle: unknown key 'modle'; there are: urls, model"),
        ("data_dir = 3\n", r"line 1: data_dir"),
        ("[llm]\nmax_tokens = 5\n", r"line 2: llm.max_tokens: .*greater than or equal to 16"),
        ("[llm\n", r"not valid TOML: .*line 1"),
        ('[sources.a]\nkind = "ftp"\n', r'line 1: sources.a: a source needs kind = "sql" or kind = "files"'),
        ('[sources.a]\nkind = "sql"\n', r"line 1: sources.a.url: Field required"),
        ('[sources.a]\nkind = "sql"\nurl = "x"\nquery = "SELECT 1"\n', r"a query needs key"),
        ('[llm]\nmodel = "${NOPE}"\n', r"uses \$\{NOPE\}"),
        ("unknown = 1\n", r"line 1: unknown: unknown key"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="citewell init"):
        load_settings(tmp_path / "none.toml")


def test_a_mistyped_environment_variable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"environment variable CITEWELL_LLM__MODLE: llm\.modle: unknown key"):
        load(tmp_path, "", CITEWELL_LLM__MODLE="x")


def test_a_time_in_the_environment_may_be_a_plain_number() -> None:
    assert [seconds(text) for text in ("6", "1.5", "6s", "2m")] == [6, 1.5, 6, 120]

"""Changes to the configuration file."""

from pathlib import Path

import pytest

from rag.errors import ConfigError
from service.settings.edit import set_values
from service.settings.initial import write_initial
from service.settings.load import load_settings
from service.settings.sections import Settings

TEXT = '# ours\n[llm]\nmodel = "a"  # the old one\n\n[sources.shop]\nkind = "sql"\nurl = "sqlite:///a.db"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "citewell.toml"
    path.write_text(TEXT, encoding="utf-8")
    path.chmod(0o640)
    return path


def test_a_value_is_changed_and_all_else_stays(config: Path) -> None:
    set_values(config, "llm", model="b")
    assert config.read_text(encoding="utf-8") == TEXT.replace('"a"', '"b"')


def test_a_section_that_is_not_there_is_added(config: Path) -> None:
    set_values(config, "retrieval", threshold=0.3)
    assert config.read_text(encoding="utf-8").startswith(TEXT)
    assert load_settings(config, environ={}).retrieval.threshold == 0.3


def test_a_section_within_another_is_added_beside_those_there_are(config: Path) -> None:
    set_values(config, "sources.docs", kind="files", paths=["docs"])
    assert list(load_settings(config, environ={}).sources) == ["shop", "docs"]


def test_the_first_section_within_another_is_added(config: Path) -> None:
    config.write_text("", encoding="utf-8")
    set_values(config, "sources.docs", kind="files", paths=["docs"])
    assert config.read_text(encoding="utf-8").startswith("[sources.docs]")


def test_the_file_keeps_its_mode_and_nothing_is_left_beside_it(config: Path) -> None:
    set_values(config, "llm", model="b")
    assert config.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in config.parent.iterdir()] == ["citewell.toml"]


def test_a_new_configuration_has_the_defaults_and_is_its_owner_s(tmp_path: Path) -> None:
    path = tmp_path / "citewell.toml"
    write_initial(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_settings(path, environ={}).llm == Settings().llm


def test_a_configuration_that_is_there_is_not_written_over(config: Path) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        write_initial(config)
    assert config.read_text(encoding="utf-8") == TEXT


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_initial(tmp_path / "none" / "citewell.toml")

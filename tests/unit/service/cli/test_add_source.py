"""What `citewell add` makes of a URL, a file, a folder or a glob."""

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from rag.errors import ConfigError, SourceError
from service.cli.add_source import add_source, describe_source
from service.settings.load import load_settings


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "citewell.toml").write_text("# Mine.\n")
    (tmp_path / "My Docs").mkdir()
    (tmp_path / "My Docs" / "a.md").write_text("Text.")
    sqlite3.connect(tmp_path / "Shop.sqlite").execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").connection.close()
    return tmp_path / "citewell.toml"


def described(
    config: Path, given: str, *, name: str = "", tables: list[str] | None = None
) -> tuple[str, dict[str, Any]]:
    return describe_source(given, name=name, tables=tables or [], config=config)


def test_a_url_is_a_database_named_after_it(config: Path) -> None:
    url = "postgresql+psycopg://u@h/My-Shop"
    assert described(config, url, tables=["t"]) == ("my_shop", {"kind": "sql", "url": url, "tables": ["t"]})


def test_a_sqlite_file_is_a_database_relative_to_the_configuration(config: Path) -> None:
    assert described(config, "Shop.sqlite") == ("shop", {"kind": "sql", "url": "sqlite:///Shop.sqlite"})


def test_a_folder_is_all_that_is_in_it(config: Path) -> None:
    assert described(config, "My Docs") == ("my_docs", {"kind": "files", "paths": ["My Docs/**/*"]})


def test_a_glob_is_named_after_its_folder_and_an_absolute_path_stays(config: Path) -> None:
    assert described(config, "My Docs/*.md") == ("my_docs", {"kind": "files", "paths": ["My Docs/*.md"]})
    assert described(config, "/srv/all")[1]["paths"] == ["/srv/all"]


def test_a_name_can_be_given_and_there_is_always_one(config: Path) -> None:
    assert described(config, "My Docs", name="handbook")[0] == "handbook"
    assert described(config, "...")[0] == "source"


def test_files_have_no_tables(config: Path) -> None:
    with pytest.raises(ConfigError, match="--table"):
        described(config, "My Docs", tables=["t"])


def test_a_configuration_elsewhere_gets_paths_from_there(config: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    assert described(tmp_path / "etc" / "c.toml", "My Docs")[1]["paths"] == ["../My Docs/**/*"]


def test_a_source_that_can_be_read_is_added_and_the_rest_of_the_file_stays(config: Path) -> None:
    name, settings = described(config, "My Docs")
    assert "1" in add_source(config, name, settings)
    assert list(load_settings(config).sources) == ["my_docs"]
    assert config.read_text().startswith("# Mine.\n")
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_a_name_that_is_taken_and_a_source_that_cannot_be_read_change_nothing(config: Path) -> None:
    add_source(config, *described(config, "My Docs"))
    before = config.read_text()
    with pytest.raises(ConfigError, match="my_docs"):
        add_source(config, *described(config, "My Docs"))
    with pytest.raises(SourceError):
        add_source(config, *described(config, "missing"))
    assert config.read_text() == before


def test_to_check_a_source_opens_no_store(config: Path) -> None:
    add_source(config, *described(config, "My Docs"))
    assert not (config.parent / ".citewell").exists()

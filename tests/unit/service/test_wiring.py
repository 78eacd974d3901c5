"""The one place that makes and joins the parts: nothing is opened before it is asked for."""

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest

from rag.errors import ConfigError
from rag.lazy import Lazy
from service.settings.sections import Settings
from service.wiring import Services, build, opened, sharding


def settings_in(folder: Path, **sections: Any) -> Settings:
    return Settings.model_validate({"data_dir": folder / "data", "root": folder, **sections})


def lazies(services: Services) -> dict[str, Lazy[Any]]:
    fields = {field.name: getattr(services, field.name) for field in dataclasses.fields(services)}
    return {name: part for name, part in fields.items() if isinstance(part, Lazy)}


def test_to_join_the_parts_opens_no_file_and_makes_nothing(tmp_path: Path) -> None:
    services = build(settings_in(tmp_path))
    assert len(lazies(services)) > 10
    assert not any(part.is_made for part in lazies(services).values())
    assert list(tmp_path.iterdir()) == []


def test_parts_of_which_none_was_made_are_closed_without_opening_one(tmp_path: Path) -> None:
    services = build(settings_in(tmp_path))
    services.close()
    assert not any(part.is_made for part in lazies(services).values())
    assert list(tmp_path.iterdir()) == []


def test_a_state_store_that_was_opened_is_closed(tmp_path: Path) -> None:
    services = build(settings_in(tmp_path))
    pool = services.database().engine.pool
    services.close()
    assert services.database().engine.pool is not pool


def test_after_the_end_no_question_is_taken(tmp_path: Path) -> None:
    services = build(settings_in(tmp_path))
    services.close()
    for threads in (services.searches, services.turns):
        with pytest.raises(RuntimeError, match="shutdown"):
            threads._pool.submit(print)


def test_all_that_asks_for_the_state_store_gets_the_same_one(tmp_path: Path) -> None:
    services = build(settings_in(tmp_path))
    made: list[Any] = [part() for part in (services.keys, services.jobs, services.overview, services.ledger)]
    assert [path.name for path in (tmp_path / "data").glob("*.sqlite")] == ["state.sqlite"]
    assert {id(part._database) for part in made} == {id(services.database())}
    services.close()


def test_no_part_is_of_the_type_any() -> None:
    hints = typing.get_type_hints(Services)
    assert set(hints) == {field.name for field in dataclasses.fields(Services)}
    assert [name for name, kind in hints.items() if _has_any(kind)] == []


def _has_any(kind: Any) -> bool:
    parts = kind if isinstance(kind, list) else typing.get_args(kind)
    return kind is Any or any(_has_any(part) for part in parts)


def test_an_any_inside_a_type_would_be_found() -> None:
    assert all(map(_has_any, [Any, Lazy[Any], list[dict[str, Any]], typing.Callable[[Any], str]]))
    assert not any(map(_has_any, [int, Lazy[int], typing.Callable[[int], str]]))


def test_services_say_that_there_is_no_other_part() -> None:
    services: Any = build(Settings())
    with pytest.raises(AttributeError):
        services.nonsense  # noqa: B018


def test_without_servers_there_is_no_generator() -> None:
    assert build(Settings()).generator() is None
    assert build(Settings.model_validate({"llm": {"urls": ["http://gpu/v1"]}})).generator() is not None


def test_templates_come_from_the_configured_folder(tmp_path: Path) -> None:
    missing = {"llm": {"templates": "prompts"}}
    with pytest.raises(ConfigError, match=str(tmp_path / "prompts")):
        build(settings_in(tmp_path, **missing)).templates()


def test_the_state_is_a_file_in_the_data_folder_unless_it_has_a_url(tmp_path: Path) -> None:
    assert settings_in(tmp_path).state_url == f"sqlite:///{tmp_path}/data/state.sqlite"
    elsewhere = settings_in(tmp_path, state={"url": "postgresql+psycopg://h/d"})
    assert elsewhere.state_url == "postgresql+psycopg://h/d"


def test_a_new_collection_is_laid_out_as_configured() -> None:
    made = sharding(
        Settings.model_validate(
            {"qdrant": {"shard_number": 2, "replication_factor": 3, "write_consistency_factor": 1, "on_disk": False}}
        )
    )
    found = (made.shard_number, made.replication_factor, made.write_consistency_factor, made.on_disk)
    assert found == (2, 3, 1, False)


def test_a_re_index_writes_into_the_file_that_the_parts_came_from(tmp_path: Path) -> None:
    config = tmp_path / "citewell.toml"
    config.write_text('[qdrant]\ncollection = "shop"\n')
    with opened(config) as services:
        assert (services.reindexer.config, services.reindexer.alias) == (config, "shop")


def test_parts_are_closed_also_where_their_use_fails(tmp_path: Path) -> None:
    config = tmp_path / "citewell.toml"
    config.write_text("")
    with pytest.raises(ZeroDivisionError), opened(config) as services:
        raise ZeroDivisionError
    assert services.searches._pool._shutdown


def test_a_wrong_file_opens_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no configuration"), opened(tmp_path / "missing.toml"):
        pass

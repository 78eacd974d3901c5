"""`citewell doctor`: what is tried, in which order, and what it says of the language model."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rag.errors import GeneratorUnavailable, IndexUnavailable
from rag.fakes import ScriptedGenerator
from rag.types import Delta, Message, Route, Sampling, Usage
from service.health.doctor import Check, _examined, examine
from tests.unit.service.conftest import MemoryCollection, binding, services_of, settings_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Text.")
    return tmp_path


def examined(root: Path, generator: ScriptedGenerator | None = None, **parts: Any) -> dict[str, Check]:
    sources = {name: {"kind": "files", "paths": [f"{name}/*"]} for name in ("docs", "missing")}
    settings = settings_of(root=root, data_dir=root / "data", sources=sources)
    checks = _examined(services_of(settings, generator=generator, **parts))
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


PARTS = ["source docs", "source missing", "state store", "index", "embedder", "tokenizer", "language model"]


def test_sources_come_first_and_the_language_model_last(root: Path) -> None:
    found = examined(root)
    assert list(found) == PARTS
    assert [name for name, check in found.items() if not check.ok] == ["source missing"]


def test_of_a_model_that_answers_three_things_more_are_asked(root: Path) -> None:
    generator = ScriptedGenerator("x", window_tokens=9000)
    found = examined(root, generator)
    assert list(found) == [*PARTS, "context window", "token counts", "engine"]
    assert all(check.ok for name, check in found.items() if name != "source missing")


def test_of_one_that_does_not_nothing_more(root: Path) -> None:
    found = examined(root, ScriptedGenerator(GeneratorUnavailable("no answer")))
    assert list(found) == PARTS
    assert (found["language model"].ok, "no answer" in found["language model"].detail) == (False, True)


def test_what_fails_keeps_nothing_else_from_being_tried(root: Path) -> None:
    found = examined(root, bound=binding(index=MemoryCollection(fails=IndexUnavailable("away"))))
    assert list(found) == PARTS
    assert (found["index"].ok, found["embedder"].ok, found["tokenizer"].ok) == (False, True, True)


def test_the_index_is_told_with_its_place(root: Path) -> None:
    assert str(root / "data" / "qdrant") in examined(root)["index"].detail
    assert examined(root)["index"].detail.count("2 chunks") == 1


@pytest.mark.parametrize(("window_tokens", "ok"), [(8192, True), (8191, False), (None, True)])
def test_an_engine_whose_context_is_too_short_for_the_profile_is_told(
    root: Path, window_tokens: int | None, ok: bool
) -> None:
    check = examined(root, ScriptedGenerator("x", window_tokens=window_tokens))["context window"]
    assert check.ok is ok
    assert "8,192" in check.detail


class Counts(ScriptedGenerator):
    """Says that a prompt has 7 tokens."""

    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, route: Route
    ) -> AsyncGenerator[Delta, None]:
        yield Delta(usage=Usage(prompt_tokens=7))


def test_a_tokenizer_that_counts_otherwise_than_the_engine_is_told(root: Path) -> None:
    check = examined(root, Counts())["token counts"]
    assert (check.ok, "the engine as 7" in check.detail, "llm.tokenizer" in check.detail) == (False, True, True)


def test_a_wrong_configuration_is_the_only_thing_told(tmp_path: Path) -> None:
    [check] = examine(tmp_path / "missing.toml", engine_log=tmp_path / "vllm.log")
    assert (check.name, check.ok) == ("configuration", False)
    assert check.as_dict() == {"name": "configuration", "ok": False, "detail": check.detail}

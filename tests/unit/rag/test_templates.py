"""Prompt templates of a user's own."""

import re
from pathlib import Path

import pytest

from rag.errors import ConfigError
from rag.prompt.templates import load_templates

USER = "{passages}\n\nMost relevant first: {order}\n\nQ: {question}"


def load(folder: Path, **texts: str) -> str:
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    load_templates.cache_clear()
    return load_templates(folder).user


def test_a_template_of_a_folder_stands_in_place_of_the_built_in_one() -> None:
    assert "{passages}" in load_templates().user


def test_the_others_stay_and_the_version_tells(tmp_path: Path) -> None:
    assert load(tmp_path, user=USER) == USER
    own, built_in = load_templates(tmp_path), load_templates()
    assert (own.system, own.json) == (built_in.system, built_in.json)
    assert re.fullmatch("[0-9a-f]{8}", own.version)
    assert own.version != built_in.version


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("user", "{question}", r"\{passages\} once; .* 0 times"),
        ("user", USER + "{question}", r"\{question\} once; .* 2 times"),
        ("user", "Q: {question}\n\n{passages}\n\n", r"\{passages\} before \{question\}"),
        ("user", "Read: {passages}\n\n{question}", "in a paragraph of its own"),
        ("user", "{passages} {question}", "in a paragraph of its own"),
        ("user", "{passages}\n\n {question}", "in a paragraph of its own"),
        ("user", USER + "{date}", r"\{date\}; .* \{order\}, \{passages\}, \{question\}"),
        ("standalone", "{history}", r"\{question\} once"),
        ("standalone", "{history} {question} {order}", r"\{order\}; .* \{history\}, \{question\}\."),
        ("system", " \n", "is empty"),
        ("sistem", "x", r"no prompt template; .* json\.txt, standalone\.txt, system\.txt, user\.txt"),
    ],
)
def test_a_wrong_template_says_what_is_wrong(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, **{name: text})


@pytest.mark.parametrize(
    ("name", "text"),
    [("user", USER), ("user", "Read this.\n\n{passages}\n\n{question}"), ("system", "Answer with {braces}.")],
)
def test_a_right_template_is_taken(tmp_path: Path, name: str, text: str) -> None:
    load(tmp_path, **{name: text})
    assert getattr(load_templates(tmp_path), name) == text


def test_a_file_that_no_prompt_uses_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"notes\.txt, which no prompt uses"):
        load(tmp_path, user=USER, notes="x")


def test_a_folder_that_is_not_there_has_no_template(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no prompt template"):
        load(tmp_path / "absent")


def test_a_template_that_is_no_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "user.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)

"""Errors as exit codes, and what is printed of them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import typer

from rag import errors
from service.cli.command import command, note, print_json


def code_of(function: Callable[..., None], **options: Any) -> int:
    with pytest.raises(typer.Exit) as left:
        command(function)(**options)
    return left.value.exit_code


def fails(err: BaseException) -> Callable[..., None]:
    def run(**options: Any) -> None:
        raise err

    return run


@pytest.mark.parametrize(
    ("err", "code"),
    [
        (errors.ConfigError("x"), 2), (errors.QuestionError("x"), 2), (errors.FilterError("x"), 2),
        (errors.SourceBusy("x"), 75), (errors.LeaseLost("x"), 75), (errors.SourceError("x"), 1),
        (errors.IndexUnavailable("x"), 1), (KeyboardInterrupt(), 130),
    ],
)  # fmt: skip
def test_each_error_has_its_exit_code(err: BaseException, code: int) -> None:
    assert code_of(fails(err)) == code


def test_an_error_is_told_on_stderr_and_with_json_as_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    code_of(fails(errors.SourceError("The folder is away.")), as_json=True)
    said = capsys.readouterr()
    assert json.loads(said.out) == {"error": {"type": "SourceError", "message": "The folder is away."}}
    assert said.err == "Error: The folder is away.\n"
    code_of(fails(errors.SourceError("x")), as_json=False)
    assert capsys.readouterr().out == ""


def test_a_bug_is_not_dressed_up() -> None:
    with pytest.raises(ZeroDivisionError):
        command(fails(ZeroDivisionError()))()


def test_what_goes_well_goes_through(capsys: pytest.CaptureFixture[str]) -> None:
    command(lambda *names, **options: print_json([*names, options["as_json"]]))("Zürich", as_json=True)
    note("aside")
    said = capsys.readouterr()
    assert (said.out, said.err) == ('["Zürich", true]\n', "aside\n")

"""What the subcommands share: options, errors as exit codes, and JSON output."""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.boundary.exit_codes import ExitCode
from rag.errors import CitewellError, ConfigError, QuestionError, SourceBusy

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from service.wiring import Services

DEFAULT_CONFIG = Path("citewell.toml")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CITEWELL_CONFIG", help="The configuration file.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Errors of ours become a message and an exit code; with --json a JSON document too."""

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> None:
        try:
            function(*args, **options)
        except CitewellError as err:
            _fail(err, as_json=bool(options.get("as_json")))
        except BrokenPipeError:  # the reader of our output has gone: `citewell … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.FAILED) from None
        except KeyboardInterrupt:
            note("Interrupted; what was committed stays.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None

    return run


def _fail(err: CitewellError, *, as_json: bool) -> None:
    if as_json:
        print_json({"error": {"type": type(err).__name__, "message": str(err)}})
    note(f"Error: {err}")
    if isinstance(err, SourceBusy):
        raise typer.Exit(ExitCode.BUSY)
    raise typer.Exit(ExitCode.USAGE if isinstance(err, ConfigError | QuestionError) else ExitCode.FAILED)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A spinner while something loads or works, where a person looks on."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def note(text: str) -> None:
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def opened(config: Path) -> "AbstractContextManager[Services]":
    """The parts of a configuration file, for the length of a command."""
    from service import wiring  # the libraries behind it take a second

    return wiring.opened(config)

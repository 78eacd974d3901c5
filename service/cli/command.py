"""What the subcommands share: options, errors as exit codes, and JSON output."""

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.errors import CitewellError, ConfigError, QuestionError, SourceBusy

if TYPE_CHECKING:
    from service.knowledge_base import KnowledgeBase

EXIT_FAILED, EXIT_USAGE, EXIT_BUSY = 1, 2, 75
DEFAULT_CONFIG = Path("citewell.toml")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CITEWELL_CONFIG", help="The configuration file.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]


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
            raise typer.Exit(EXIT_FAILED) from None
        except KeyboardInterrupt:
            note("Interrupted; what was committed stays.")
            raise typer.Exit(130) from None

    return run


def _fail(err: CitewellError, *, as_json: bool) -> None:
    if as_json:
        print_json({"error": {"type": type(err).__name__, "message": str(err)}})
    note(f"Error: {err}")
    if isinstance(err, SourceBusy):
        raise typer.Exit(EXIT_BUSY)
    raise typer.Exit(EXIT_USAGE if isinstance(err, ConfigError | QuestionError) else EXIT_FAILED)


def note(text: str) -> None:
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def open_kb(config: Path) -> "KnowledgeBase":
    from service.knowledge_base import connect

    return connect(config)

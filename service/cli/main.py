"""The `citewell` command. Libraries are imported inside the commands, so that --help answers at once."""

import asyncio
import json
import os
import signal
import sys
import traceback
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer

from rag.boundary.exit_codes import ExitCode
from rag.boundary.secrets import masked
from rag.errors import ConfigError, FilterError
from service.cli.command import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    command,
    note,
    opened,
    print_json,
    waiting,
)
from service.cli.engine import engine
from service.cli.keys import app as keys_app

if TYPE_CHECKING:
    from rag.ports import Scope
    from service.wiring import Services

app = typer.Typer(
    name="citewell",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Ask your own databases and documents; every sentence of the answer is cited.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 done with quarantined documents, 75 another run holds the source.",
)

app.add_typer(keys_app, name="keys")
app.command()(engine)

SourcesOption = Annotated[list[str] | None, typer.Option("--source", "-s", help="Search only this source; repeatable.")]
FilterOption = Annotated[
    str,
    typer.Option(
        "--filter", "-f", help='Search only what passes this filter, as JSON: \'{"table": ["orders", "customers"]}\'.'
    ),
]


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"citewell {version('citewell')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.excepthook = _tell_masked
    os.environ["PYTHONSAFEPATH"] = "1"  # whatever a library starts, nothing of the folder that we stand in runs
    app()


def _tell_masked(kind: type[BaseException], err: BaseException, trace: TracebackType | None) -> None:
    """What Python prints of an error that nobody expected, without secrets."""
    print(masked("".join(traceback.format_exception(kind, err, trace))), end="", file=sys.stderr)


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _scope(services: "Services", sources: list[str] | None, where: str) -> "Scope":
    try:
        form = json.loads(where) if where.strip() else None
    except ValueError as err:
        raise FilterError(f"--filter is not valid JSON: {err}") from err
    return services.catalogue.scope(sources or (), where=form)


@app.command()
@command
def init(
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write a configuration to start from."""
    from service.settings.initial import write_initial

    write_initial(config)
    print(f"Wrote {config}. Add a database or a folder: citewell add URL_OR_PATH")


@app.command()
@command
def add(
    url_or_path: Annotated[str, typer.Argument(help="A database URL, a SQLite file, or a file, folder or glob.")],
    name: Annotated[str, typer.Option(help="The source's name; derived from the URL or path when empty.")] = "",
    table: Annotated[list[str] | None, typer.Option(help="Read only this table; repeatable.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Add a source to the configuration, after checking that it can be read."""
    from service.cli.add_source import add_source, describe_source

    chosen, settings = describe_source(url_or_path, name=name, tables=table or [], config=config)
    summary = add_source(config, chosen, settings)
    print(f"Added source {chosen!r} ({summary}) to {config}. Read it with: citewell ingest {chosen}")


@app.command()
@command
def ingest(
    sources: Annotated[list[str] | None, typer.Argument(help="Sources to read; all when none is named.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Re-index every document, changed or not.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", help="Delete even if much of a source, or a table of it, is gone.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Retry what was set aside, changed or not.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep running, and read the sources on their schedules.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Bring the index in step with the sources. With --json, progress goes to stderr as JSON lines.

    SIGINT and SIGTERM end it after the batch under way, with exit code 128 + the signal's number (0 with --watch).
    """
    from service.cli.ingest import Request, ingest_sources, watch_sources

    if watch and (full or dry_run or as_json):
        raise ConfigError("--watch cannot be combined with --full, --dry-run or --json.")
    request = Request(full=full, dry_run=dry_run, allow_mass_delete=allow_mass_delete, retry=retry, as_json=as_json)
    with opened(config) as services:
        names = services.catalogue.names(sources or ())
        code = watch_sources(services, names) if watch else ingest_sources(services.syncer, names, request)
    raise typer.Exit(code)


@app.command()
@command
def forget(
    source: Annotated[str, typer.Argument(help="The source.")],
    table: Annotated[str, typer.Argument(help="A table that was dropped, renamed or excluded; or a file.")],
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Delete a table's documents from the index. If the source still has the table, the next ingest reads it again."""
    from service.syncing.upkeep import forget

    with opened(config) as services:
        documents = forget(services.ledger(), services.collection.current().store, source, table)
    if as_json:
        print_json({"source": source, "table": table, "forgotten": documents})
    else:
        print(f"Removed {documents} documents of {table!r}.")


@app.command()
@command
def verify(
    sources: Annotated[list[str] | None, typer.Argument(help="Sources to verify; all when none is named.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Compare the index, point by point, with what was ingested. Exit code 1 when they differ; ingest makes it good."""
    from service.cli.terminal import print_verified
    from service.syncing.upkeep import verify

    with opened(config) as services:
        names, index = sources or services.overview().sources(), services.collection.current().index
        found = [verify(services.ledger(), index, name) for name in names]
    if as_json:
        print_json({"sources": [each.as_dict() for each in found]})
    else:
        print_verified(found)
    if not all(each.ok for each in found):
        raise typer.Exit(ExitCode.FAILED)


@app.command()
@command
def ask(
    question: Annotated[str, typer.Argument(help="The question, in any language.")],
    profile: Annotated[str, typer.Option(help="Context window: chat, document, log or book.")] = "",
    source: SourcesOption = None,
    where: FilterOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Answer a question, every sentence cited."""
    with waiting("Looking for an answer …"):
        from service.asking.asker import Ask, whole
        from service.cli.terminal import print_answer
        from service.schemas import answer_out

        with opened(config) as services:
            wanted = Ask(
                question=question,
                scope=_scope(services, source, where),
                profile=profile or services.settings.llm.profile,
            )
            answer = asyncio.run(whole(services.asker.events(wanted)))
    if as_json:
        print_json(answer_out(answer).model_dump())
    else:
        print_answer(answer)


@app.command()
@command
def retrieve(
    question: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="Number of hits.")] = 10,
    source: SourcesOption = None,
    where: FilterOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Show the best chunks for a question, without an answer."""
    with waiting("Searching …"):
        from service.cli.terminal import print_hits
        from service.schemas import RetrieveOut, hit_out

        with opened(config) as services:
            hits = services.searcher.retrieve(question, k=k, scope=_scope(services, source, where))
    if as_json:
        print_json(RetrieveOut(question=question, hits=[hit_out(hit) for hit in hits]).model_dump())
    else:
        print_hits(hits)


@app.command()
@command
def reindex(
    model: Annotated[str, typer.Option(help="The new embedder.model; written to the configuration.")] = "",
    abort: Annotated[bool, typer.Option("--abort", help="Remove what an interrupted re-index has built.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Build the index anew with another embedder or encoder, and swap it in; questions are answered meanwhile.

    Broken off, it goes on where it stopped when it is run again.
    """
    from service.cli.terminal import reindex_progress

    with opened(config) as services:
        if abort:
            copied, removed = 0, services.reindexer.abort()
        else:
            with reindex_progress() as progress:
                copied, removed = services.reindexer.run(model=model, progress=progress)
    if as_json:
        print_json({"reindexed": copied, "removed": removed})
    else:
        print(f"{copied} chunks were re-indexed." if copied else "Nothing had to be re-indexed.")
        if removed:
            print(f"Removed {', '.join(removed)}.")


@app.command("eval")
@command
def evaluate(
    file: Annotated[Path, typer.Argument(help="Questions as JSONL, or a BEIR folder with its own corpus.")],
    legs: Annotated[
        bool, typer.Option("--legs", help="Also measure keyword search alone and semantic search alone.")
    ] = False,
    profile: Annotated[str, typer.Option(help="Context window in which answers are looked for.")] = "",
    set_threshold: Annotated[
        bool,
        typer.Option(
            "--set-threshold", help="Write the threshold that refuses 5 % of these questions into the configuration."
        ),
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Measure retrieval with your own questions, and compare with the last run.

    A line of the file: {"text": "…", "documents": ["SOURCE/ID", …]} or {"text": "…", "answers": ["…", …]} or
    {"text": "…", "unanswerable": true}.
    """
    from service.cli.terminal import print_measures
    from service.evaluation.evaluate import LEGS, evaluate_file
    from service.settings.edit import set_values

    with opened(config) as services:
        found = evaluate_file(services, file, legs=list(LEGS) if legs else ("fused",), profile=profile)
    if set_threshold and found.threshold is None:
        raise ConfigError("--set-threshold needs questions that have an answer.")
    if set_threshold:
        set_values(config, "retrieval", threshold=found.threshold)
        note(f"Wrote retrieval.threshold = {found.threshold} to {config}.")
    if as_json:
        print_json({"name": found.name, "measures": found.measures, "before": found.before, "plot": str(found.plot)})
    else:
        print_measures(found.measures, found.before)
        print(f"Plot: {found.plot}")


@app.command()
@command
def status(as_json: JsonOption = False, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Show sources, documents, the last runs, and what could not be read."""
    from service.cli.terminal import print_status
    from service.health.status import status as status_of
    from service.settings.load import load_settings
    from service.store.database import Database
    from service.store.overview import Overview

    settings = load_settings(config)
    with closing(Database.open(settings.state_url)) as database:
        found = status_of(settings, Overview(database))
    if as_json:
        print_json(found)
    else:
        print_status(found)


@app.command()
@command
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; server.host when empty.")] = "",
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; server.port when not given.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Processes; server.workers when 0.")] = 0,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Serve the REST API and the web page."""
    from service.http.server import run

    run(config, host=host, port=port, workers=workers)


@app.command()
@command
def doctor(
    engine_log: Annotated[Path | None, typer.Option(help="A vLLM log to search for known problems.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Check the configuration, sources, index, embedder and language model; say how to mend what fails.

    Of a running vLLM it checks the context window, that both count tokens alike, and its load.
    """
    from service.cli.terminal import print_checks
    from service.health.doctor import examine

    checks = examine(config, engine_log=engine_log)
    if as_json:
        print_json({"ok": all(check.ok for check in checks), "checks": [check.as_dict() for check in checks]})
    else:
        print_checks(checks)
    if not all(check.ok for check in checks):
        raise typer.Exit(ExitCode.FAILED)


if __name__ == "__main__":
    main()

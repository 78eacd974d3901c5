"""The `citewell` command. Libraries are imported inside the commands, so that --help answers at once."""

import json
import os
import signal
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer

from rag.boundary.secrets import masked
from rag.errors import ConfigError, FilterError
from service.cli.command import (
    DEFAULT_CONFIG,
    EXIT_FAILED,
    ConfigOption,
    JsonOption,
    command,
    note,
    open_kb,
    print_json,
)
from service.cli.keys import app as keys_app

if TYPE_CHECKING:
    from rag.documents import Hit
    from rag.ports import Scope
    from rag.types import Answer
    from service.knowledge_base import KnowledgeBase

app = typer.Typer(
    name="citewell",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Ask your own databases and documents; every sentence of the answer is cited.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 done with quarantined documents, 75 another run holds the source.",
)

app.add_typer(keys_app, name="keys")

SourcesOption = Annotated[list[str] | None, typer.Option("--source", "-s", help="Search only this source; repeatable.")]
FilterOption = Annotated[
    str,
    typer.Option("--filter", "-f", help='Search only what passes, as JSON: \'{"table": ["orders", "customers"]}\'.'),
]


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


def _scope(kb: "KnowledgeBase", sources: list[str] | None, where: str) -> "Scope":
    try:
        form = json.loads(where) if where.strip() else None
    except ValueError as err:
        raise FilterError(f"--filter is no JSON: {err}") from err
    return kb.scope(sources or (), where=form)


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
    name: Annotated[str, typer.Option(help="The source's name; made from the URL or path when empty.")] = "",
    table: Annotated[list[str] | None, typer.Option(help="Read only this table; repeatable.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Add a source to the configuration, after checking that it can be read."""
    from service.cli.add_source import add_source, describe_source

    chosen, settings = describe_source(url_or_path, name=name, tables=table or [], config=config)
    summary = add_source(config, chosen, settings)
    print(f"Added source {chosen!r} ({summary}) to {config}. Read it in with: citewell ingest {chosen}")


@app.command()
@command
def ingest(
    sources: Annotated[list[str] | None, typer.Argument(help="Sources to read; all when none is named.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Index every document again, changed or not.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", help="Delete even if much of a source, or a table of it, is gone.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Read what was set aside again, changed or not.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and read the sources by their schedules.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Bring the index in step with the sources. With --json, progress goes to stderr as JSON lines.

    SIGINT and SIGTERM end it after the batch under way, with exit code 128 + the signal's number (0 with --watch).
    """
    from service.cli.ingest import Request, ingest_sources, watch_sources

    if watch and (full or dry_run or as_json):
        raise ConfigError("--watch goes with neither --full nor --dry-run nor --json.")
    request = Request(full=full, dry_run=dry_run, allow_mass_delete=allow_mass_delete, retry=retry, as_json=as_json)
    with open_kb(config) as kb:
        names = sources or list(kb.settings.sources)
        if not names:
            raise ConfigError("No source is configured. Add one with `citewell add URL_OR_PATH`.")
        for name in names:
            kb.source(name)
        raise typer.Exit(watch_sources(kb, names) if watch else ingest_sources(kb, names, request))


@app.command()
@command
def forget(
    source: Annotated[str, typer.Argument(help="The source.")],
    table: Annotated[str, typer.Argument(help="A table that was dropped, renamed or left out; or a file.")],
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Delete a table's documents from the index. If the source still has the table, the next ingest reads it again."""
    from service.syncing.upkeep import forget

    with open_kb(config) as kb:
        documents = forget(kb.state, kb.index, source, table)
    if as_json:
        print_json({"source": source, "table": table, "forgotten": documents})
    else:
        print(f"Forgot {documents} documents of {table!r}.")


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

    with open_kb(config) as kb:
        names = sources or list(kb.state.sources())
        found = [verify(kb.state, kb.index, name) for name in names]
    if as_json:
        print_json({"sources": [each.as_dict() for each in found]})
    else:
        print_verified(found)
    if not all(each.ok for each in found):
        raise typer.Exit(EXIT_FAILED)


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
    from service.cli.terminal import print_answer
    from service.schemas import answer_out

    with open_kb(config) as kb:
        answer: Answer = kb.ask(question, profile=profile, scope=_scope(kb, source, where))
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
    from service.cli.terminal import print_hits
    from service.schemas import RetrieveOut, hit_out

    with open_kb(config) as kb:
        hits: list[Hit] = kb.retrieve(question, k=k, scope=_scope(kb, source, where))
    if as_json:
        print_json(RetrieveOut(question=question, hits=[hit_out(hit) for hit in hits]).model_dump())
    else:
        print_hits(hits)


@app.command()
@command
def reindex(
    model: Annotated[str, typer.Option(help="The new embedder.model; written into the configuration.")] = "",
    abort: Annotated[bool, typer.Option("--abort", help="Remove what a broken-off re-index has built.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Build the index anew with another embedder or encoder, and swap it in; questions are answered meanwhile.

    Broken off, it goes on where it stopped when it is run again.
    """
    from service.cli.terminal import reindex_progress
    from service.syncing import reindex as work

    if abort:
        copied, removed = 0, work.abort(config)
    else:
        with reindex_progress() as progress:
            copied, removed = work.reindex(config, model=model, progress=progress)
    if as_json:
        print_json({"reindexed": copied, "removed": removed})
    else:
        print(f"{copied} chunks were made anew." if copied else "Nothing was to be made anew.")
        if removed:
            print(f"Removed {', '.join(removed)}.")


@app.command("eval")
@command
def evaluate(
    file: Annotated[Path, typer.Argument(help="Questions as JSONL, or a BEIR folder with its own corpus.")],
    legs: Annotated[bool, typer.Option("--legs", help="Measure words alone and meaning alone as well.")] = False,
    profile: Annotated[str, typer.Option(help="Context window that answers should be in.")] = "",
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
    from service.evaluation.evaluate import LEGS, SUGGESTED, corpus_index, evaluate, keep, read_cases
    from service.settings.edit import set_values

    cases, corpus = read_cases(file)
    with open_kb(config) as kb:
        chosen = list(LEGS) if legs else ["fused"]
        with corpus_index(kb, corpus) if corpus is not None else nullcontext() as index:
            found = {leg: evaluate(kb, cases, index=index, leg=leg, profile=profile) for leg in chosen}
        name = file.resolve().name.partition(".")[0]
        before = keep(kb.settings.data_dir / "eval", name, found)
        plot = kb.settings.data_dir / "eval" / f"{name}.svg"
    threshold = found["fused"].get(SUGGESTED)
    if set_threshold and threshold is None:
        raise ConfigError("--set-threshold needs questions that have an answer.")
    if set_threshold:
        set_values(config, "retrieval", threshold=threshold)
        note(f"Wrote retrieval.threshold = {threshold} into {config}.")
    if as_json:
        print_json({"name": name, "measures": found, "before": before, "plot": str(plot)})
    else:
        print_measures(found, before)
        print(f"Plot: {plot}")


@app.command()
@command
def status(as_json: JsonOption = False, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Show sources, documents, the last runs, and what could not be read."""
    from service.cli.terminal import print_status
    from service.health.status import status as status_of

    with open_kb(config) as kb:
        found = status_of(kb)
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
def engine(
    profile: Annotated[
        str, typer.Option(help="Longest context: chat, document, log or book; llm.profile if empty.")
    ] = "",
    load: Annotated[str, typer.Option(help="What is asked most: questions, documents or conversations.")] = "questions",
    model: Annotated[str, typer.Option(help="Folder or hub name of the weights; llm.model when empty.")] = "",
    gpus: Annotated[int | None, typer.Option(min=1, help="How many GPUs; those of this machine if not given.")] = None,
    gpu_memory: Annotated[float | None, typer.Option(min=1, help="GiB of each; this machine's if not given.")] = None,
    parallel: Annotated[str, typer.Option(help="auto, tensor or data.")] = "auto",
    quantization: Annotated[str, typer.Option(help="none, fp8, awq, gptq or int8.")] = "none",
    fp8_cache: Annotated[bool, typer.Option("--fp8-cache", help="Keep the KV cache in 8 bits.")] = False,
    memory_share: Annotated[float, typer.Option(min=0.1, max=0.99, help="Share of the GPUs' memory to use.")] = 0.92,
    fast_load: Annotated[bool, typer.Option("--fast-load", help="Load weights with fastsafetensors.")] = False,
    host: Annotated[str, typer.Option(help="Address that vLLM listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the first process.")] = 8001,
    run: Annotated[bool, typer.Option("--run", help="Run it instead of printing it.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Print, or run, the vLLM command that fits the model, the GPUs and the profile, and say why.

    Weights and KV cache are reckoned first, and what does not fit is refused with the arithmetic.
    """
    from service.settings.load import load_settings
    from service.vllm.launch import run as engine_command
    from service.vllm.launch.plan import plan
    from service.vllm.launch.shape import read_shape
    from service.vllm.launch.wish import wish_of

    settings = load_settings(config)
    found = engine_command.gpus_here() if gpus is None or gpu_memory is None else None
    weights = model or settings.llm.model
    wish = wish_of(
        {"load": load, "parallel": parallel, "quantization": quantization},
        model=weights,
        served_name=settings.llm.model,
        shape=read_shape(weights),
        gpus=gpus or (found.count if found else 1),
        gpu_gib=gpu_memory or (found.gib if found else 0),
        profile=profile or settings.llm.profile,
        fp8_cache=fp8_cache,
        memory_share=memory_share,
        fast_load=fast_load,
        host=host,
        port=port,
        cache_folder=str(settings.data_dir / "vllm"),
    )
    made = plan(wish)
    if as_json:
        engines = [{"arguments": e.arguments, "environment": e.environment, "url": e.url} for e in made.engines]
        print_json({"engines": engines, "reasons": made.reasons, "figures": made.figures})
    else:
        for reason in made.reasons:
            note(f"# {reason}")
    if run:
        raise typer.Exit(engine_command.run(made))
    if not as_json:
        print("\n".join(each.shell() for each in made.engines))


@app.command()
@command
def doctor(
    engine_log: Annotated[Path | None, typer.Option(help="vLLM's log, to be read for known troubles.")] = None,
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
        raise typer.Exit(EXIT_FAILED)


if __name__ == "__main__":
    main()

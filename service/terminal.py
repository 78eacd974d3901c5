"""What people read on the terminal. Progress goes to stderr; bars only where stderr is a terminal."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from rag.types import Answer, Citation, Hit

if TYPE_CHECKING:
    from service.doctor import Check
    from service.ingest import Report

_out = Console(highlight=False, soft_wrap=True)


@contextmanager
def ingest_progress() -> Iterator[Callable[["Report"], None]]:
    """A line that counts while an ingest runs."""
    if not sys.stderr.isatty():
        yield lambda report: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(report: "Report") -> None:
            if report.source not in tasks:
                tasks[report.source] = bars.add_task(report.source, total=None)
            task = tasks[report.source]
            elapsed = bars.tasks[task].elapsed or 0.0
            rate = report.chunks_embedded / elapsed if elapsed else 0.0
            text = f"{report.source}: {report.read} read, {report.chunks_embedded} chunks embedded ({rate:.0f}/s)"
            bars.update(task, description=text)

        yield show


def print_report(report: "Report") -> None:
    mode = " (dry run, nothing was changed)" if report.dry_run else ""
    _out.print(
        f"[bold]{escape(report.source)}[/]: {report.read} read, {report.added} added, {report.updated} updated, "
        f"{report.unchanged} unchanged, {report.deleted} deleted in {report.seconds:.1f} s{mode}"
    )
    for entry in report.unreadable:
        _out.print(f"  [red]could not be read:[/] {escape(entry['document_id'])}: {escape(entry['reason'])}")
    for entry in report.ignored:
        _out.print(f"  [dim]left out: {escape(entry['document_id'])}: {escape(entry['reason'])}[/]")


def print_answer(answer: Answer) -> None:
    if answer.degraded:
        _out.print(
            f"[yellow]The language model did not answer, so sentences are quoted. {escape(answer.degraded_reason)}[/]"
        )
    _out.print(escape(answer.text))
    if not answer.citations:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for citation in answer.citations:
        table.add_row(
            f"\\[{citation.label}]", escape(citation.source), escape(place(citation)), f"[dim]{escape(citation.uri)}[/]"
        )
    _out.print()
    _out.print(table)


def place(citation: Citation) -> str:
    """Title with page or key, as people would cite it."""
    if citation.page is not None:
        return f"{citation.title}, page {citation.page}"
    return citation.title


def print_hits(hits: Sequence[Hit]) -> None:
    if not hits:
        _out.print("Nothing found.")
    for hit in hits:
        chunk = hit.chunk
        page = f", page {chunk.page}" if chunk.page is not None else ""
        _out.print(f"[bold]{hit.score:.4f}[/] {escape(chunk.document.source)}: {escape(chunk.document.title)}{page}")
        _out.print(f"  [dim]{escape(' '.join(chunk.text.split())[:200])}[/]")


def print_status(found: Mapping[str, Any]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("source", "kind", "documents", "last run", "ended", "unreadable"):
        table.add_column(column)
    for source in found["sources"]:
        run = source["last_run"] or {}
        ended = datetime.fromtimestamp(run["ended_at"]).strftime("%Y-%m-%d %H:%M:%S") if run.get("ended_at") else ""
        table.add_row(
            escape(source["name"]), source["kind"], str(source["documents"]), run.get("status", "never"), ended,
            str(len(source["quarantine"])),
        )  # fmt: skip
    _out.print(table)
    _out.print(
        f"{found['points']} chunks in the index ({escape(found['index'])}), embedded by {escape(found['embedder'])}"
    )
    for source in found["sources"]:
        for entry in source["quarantine"]:
            where = f"{source['name']}: {entry['document_id']}"
            _out.print(f"  [red]could not be read:[/] {escape(where)}: {escape(entry['reason'])}")


def print_checks(checks: Sequence["Check"]) -> None:
    for check in checks:
        mark = "[green]ok  [/]" if check.ok else "[red]fail[/]"
        _out.print(f"{mark} {escape(check.name)}: {escape(check.detail)}")

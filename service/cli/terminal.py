"""What people read on the terminal. Progress goes to stderr; bars only where stderr is a terminal."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from rag.documents import Hit
from rag.types import Answer, Citation

if TYPE_CHECKING:
    from service.health.doctor import Check
    from service.store.keys import Key
    from service.syncing.reindex import Copied
    from service.syncing.report import TableReport
    from service.syncing.sync import Report
    from service.syncing.upkeep import Verified

_out = Console(highlight=False, soft_wrap=True)
_JSON_EVERY_S = 1.0
_LINE_EVERY_S = 10.0
_COUNTS = (
    "read", "expected", "bytes_read", "bytes_expected", "added", "updated", "deleted", "chunks_embedded",
    "chunks_reused",
)  # fmt: skip


@contextmanager
def ingest_progress(*, as_json: bool = False) -> Iterator[Callable[["Report"], None]]:
    """Tells on stderr how an ingest goes: a bar on a terminal, JSON lines when asked for, else a line now and then."""
    if as_json:
        yield _JsonProgress()
        return
    if not sys.stderr.isatty():
        yield _LineProgress()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _BarProgress(bars)


@contextmanager
def reindex_progress() -> Iterator[Callable[["Copied"], None]]:
    """Tells on stderr how far a re-index is, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda told: None
        return
    columns = (TextColumn("chunks re-indexed"), BarColumn(bar_width=20), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("")
        yield lambda told: bars.update(task, completed=told.copied, total=told.total)


class _Rate:
    """Documents a second, and the seconds that are left, of each source."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._last = time.monotonic()

    def of(self, report: "Report") -> tuple[float, float | None]:
        started = self._started.setdefault(report.source, self._last)  # when the source before it was last told of
        self._last = time.monotonic()
        elapsed = self._last - started
        rate = report.fetched / elapsed if elapsed > 0 else 0.0
        left = (report.expected - report.fetched) / rate if rate and report.expected > report.fetched else None
        return rate, left


class _JsonProgress:
    def __init__(self) -> None:
        self._rate = _Rate()
        self._last = 0.0

    def __call__(self, report: "Report") -> None:
        if time.monotonic() - self._last < _JSON_EVERY_S:
            return
        self._last = time.monotonic()
        rate, left = self._rate.of(report)
        counts = {name: getattr(report, name) for name in _COUNTS} | {"read": report.fetched}
        line = {"event": "progress", "source": report.source, **counts, "documents_per_s": round(rate, 1)}
        print(json.dumps(line | {"eta_s": left if left is None else round(left)}), file=sys.stderr, flush=True)


class _LineProgress:
    """For logs: of a run that takes so long, a line every 10 s."""

    def __init__(self) -> None:
        self._rate = _Rate()
        self._last = time.monotonic()

    def __call__(self, report: "Report") -> None:
        rate, left = self._rate.of(report)
        if time.monotonic() - self._last < _LINE_EVERY_S:
            return
        self._last = time.monotonic()
        of = f" of about {report.expected:,}" if report.expected > report.fetched else ""
        rest = f", about {left:.0f} s left" if left is not None else ""
        print(f"{report.source}: {report.fetched:,}{of} read, {rate:.0f}/s{rest}", file=sys.stderr, flush=True)


class _BarProgress:
    def __init__(self, bars: Progress) -> None:
        self._bars, self._rate = bars, _Rate()
        self._tasks: dict[str, Any] = {}

    def __call__(self, report: "Report") -> None:
        if report.source not in self._tasks:
            self._tasks[report.source] = self._bars.add_task(report.source, total=None)
        rate, left = self._rate.of(report)
        text = f"{report.source}: {report.fetched} read ({rate:.0f}/s), {report.chunks_embedded} chunks embedded"
        text += f", about {left:.0f} s left" if left is not None else ""
        total = report.expected if report.expected >= report.fetched > 0 else None
        self._bars.update(self._tasks[report.source], description=text, completed=report.fetched, total=total)


def print_report(report: "Report") -> None:
    mode = " (dry run, nothing was changed)" if report.dry_run else ""
    _out.print(
        f"[bold]{escape(report.source)}[/]: {report.fetched} read, {report.added} added, {report.updated} updated, "
        f"{report.unchanged} unchanged, {report.deleted} deleted in {report.seconds:.1f} s{mode}"
    )
    for note in report.notes:
        _out.print(f"  {escape(note)}")
    if len(report.tables) > 1:
        _print_lines(report.tables)
    for failed in report.error.splitlines():
        _out.print(f"  [red]not synced:[/] {escape(failed)}")
    for entry in report.unreadable:
        _out.print(f"  [red]could not be read:[/] {escape(entry['document_id'])}: {escape(entry['reason'])}")
    for entry in report.ignored:
        _out.print(f"  [dim]left out: {escape(entry['document_id'])}: {escape(entry['reason'])}[/]")
    earlier = report.quarantined - len(report.unreadable)
    if earlier > 0:
        _out.print(f"  [red]{earlier} documents that could not be read before are unchanged:[/] citewell status")


def _print_lines(lines: Sequence["TableReport"]) -> None:
    """A line for each table in which something happened."""
    table = Table(box=None, padding=(0, 2, 0, 2), show_header=False)
    for line in lines:
        if line.added or line.updated or line.deleted or line.quarantined or line.error:
            counts = (f"{getattr(line, name)} {name}" for name in ("added", "updated", "unchanged", "deleted"))
            aside = f"{line.quarantined} set aside" if line.quarantined else ""
            table.add_row(escape(line.table), *counts, aside, "[red]failed[/]" if line.error else "")
    if table.row_count:
        _out.print(table)


def print_verified(found: Sequence["Verified"]) -> None:
    for each in found:
        what = (
            f"{each.documents_without_points} documents lack chunks, {each.documents_of_another_version} have chunks "
            f"of another version, {each.points_without_document} chunks belong to no document"
        )
        mark = "[green]ok[/]" if each.ok else "[red]differs[/]"
        _out.print(
            f"[bold]{escape(each.source)}[/]: {mark}, {each.documents} documents, {each.chunks} chunks"
            + ("" if each.ok else f": {what}. Repair it with: citewell ingest {escape(each.source)}")
        )
        for document_id in each.examples:
            _out.print(f"  {escape(document_id)}")


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
    for column in ("source", "kind", "documents", "last run", "ended", "next run", "unreadable"):
        table.add_column(column)
    for source in found["sources"]:
        run = source["last_run"] or {}
        table.add_row(
            escape(source["name"]), source["kind"], str(source["documents"]), run.get("status", "never"),
            _time(run.get("ended_at")), _time(source["next_run_at"]), str(len(source["quarantine"])),
        )  # fmt: skip
    _out.print(table)
    _print_tables(found["sources"])
    _out.print(
        f"{found['points']} chunks in the index ({escape(found['index'])}), embedded by {escape(found['embedder'])}"
    )
    for source in found["sources"]:
        for entry in source["quarantine"]:
            where = f"{source['name']}: {entry['document_id']}"
            _out.print(f"  [red]could not be read:[/] {escape(where)}: {escape(entry['reason'])}")


def print_keys(keys: Sequence["Key"]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("id", "name", "scopes", "tenant", "groups", "sources", "made", "expires", "state"):
        table.add_column(column)
    for key in keys:
        r, state = key.rights, "valid" if key.is_valid else "revoked" if key.revoked_at else "expired"
        table.add_row(
            key.id, escape(key.name), ", ".join(r.scopes), escape(r.tenant), escape(", ".join(r.groups)),
            escape(", ".join(r.sources) or "all"), _time(key.created_at), _time(key.expires_at) or "never", state,
        )  # fmt: skip
    _out.print(table)


def _time(at: float | None) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def _print_tables(sources: Sequence[Mapping[str, Any]]) -> None:
    """How the changes of each table are found."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("table", "documents", "changes found by", "why"):
        table.add_column(column)
    for source in sources:
        for entry in source["tables"]:
            method = f"{entry['method']} {entry['column']}".strip()
            where = escape(f"{source['name']}: {entry['table']}")
            table.add_row(where, str(entry["documents"]), escape(method), escape(entry["why"]))
    if table.row_count:
        _out.print(table)


def print_checks(checks: Sequence["Check"]) -> None:
    for check in checks:
        mark = "[green]ok  [/]" if check.ok else "[red]fail[/]"
        _out.print(f"{mark} {escape(check.name)}: {escape(check.detail)}")


def print_measures(found: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]) -> None:
    """A column for each retriever; behind a figure, how it moved since the last run."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for leg in found:
        table.add_column(leg, justify="right")
    for name in dict.fromkeys(name for measures in found.values() for name in measures):
        moved = (_moved(measures.get(name), before.get(leg, {}).get(name)) for leg, measures in found.items())
        table.add_row(name.replace("_", " "), *moved)
    _out.print(table)


def _moved(now: float | None, before: float | None) -> str:
    if now is None:
        return "-"
    return f"{now:g}" + (f" ({now - before:+.4g})" if before is not None and now != before else "")

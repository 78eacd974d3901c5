"""The end of a table, and of the source: what is gone goes, and the report says what was done."""

from rag.errors import MassDeleteRefused, SourceError
from rag.events import ScopeComplete, ScopeFailed, SnapshotComplete
from service.store.ledger.ports import Changes, StoredDocument
from service.syncing.deletions import Unit, refusal
from service.syncing.report import TableReport
from service.syncing.run import Run, is_kept, remove


def end_unit(run: Run, end: ScopeComplete | ScopeFailed | SnapshotComplete) -> None:
    match end:
        case ScopeComplete():
            _finish_table(run, end)
        case ScopeFailed():
            unit, run.unit = run.unit, Unit()
            _fail(run, end.scope, SourceError(end.reason))
            _tell(run, unit, end.scope, None)
        case SnapshotComplete():
            _finish_source(run, end)


def _fail(run: Run, scope: str, err: SourceError) -> None:
    run.failures[scope] = err
    run.report.mass_delete_refused |= isinstance(err, MassDeleteRefused)


def _finish_table(run: Run, end: ScopeComplete) -> None:
    """Bring one table in step: what is gone of it goes, and its notes are kept."""
    ledger, source, scope = run.parts.ledger, run.lease.source, end.scope
    unit, run.unit = run.unit, Unit()
    deleted = run.report.deleted
    gone = _gone(run, unit) if not is_kept(run, scope) else {}
    before = ledger.counts_of(source, scope).documents
    if why := _bring_in_step(run, unit, gone, before=before):
        _fail(run, scope, _refused(run, f"Table {scope!r} of source", why))
    _tell(run, unit, scope, end.documents, deleted=run.report.deleted - deleted)


def _tell(run: Run, unit: Unit, scope: str, documents: int | None, *, deleted: int = 0) -> None:
    """A table's line of the report. Where the table holds other documents than the index, that is an error of it."""
    ledger, source = run.parts.ledger, run.lease.source
    run.done.add(scope)
    counts = ledger.counts_of(source, scope)
    held = counts.documents + counts.absent
    if documents not in (None, held) and scope not in run.failures and not run.options.dry_run:
        _fail(run, scope, SourceError(_disagree("table", documents, held)))
        ledger.forget_scopes(run.lease, {scope}, [])
    failed = scope in run.failures
    read = unit.fetched if failed else held if documents is None else documents
    line = TableReport(
        table=scope,
        read=read,
        added=unit.added,
        updated=unit.updated,
        unchanged=max(read - unit.added - unit.updated - counts.quarantined, 0),
        deleted=deleted,
        quarantined=counts.quarantined,
        error=str(run.failures[scope]) if failed else "",
    )
    run.report.tables.append(line)
    run.report.read += line.read
    run.report.unchanged += line.unchanged


def _finish_source(run: Run, complete: SnapshotComplete) -> None:
    """What is left when all has been read: scopes that are no more, and documents that belong to no table."""
    ledger, source = run.parts.ledger, run.lease.source
    covered = {scope for scope, root in complete.covered.items() if root in run.done and root not in run.failures}
    documents = [d for scope in sorted(covered) for d in ledger.of_scope(source, scope)]
    remove(run, documents)
    missing = ledger.scopes(source) - complete.scopes - run.done - complete.covered.keys()
    missing = {scope for scope in missing if not is_kept(run, scope)}
    if complete.fixed_scopes:
        for scope in sorted(missing):
            _fail(run, scope, SourceError(_was_here(source, scope, ledger.counts_of(source, scope).documents)))
            run.report.tables.append(TableReport(table=scope, error=str(run.failures[scope])))
        missing = set()
    rest = not complete.fixed_scopes or not complete.scopes <= run.done
    unit = _finish_rest(run, complete, missing) if rest else run.unit
    if not run.options.dry_run:
        others = ledger.quarantined_scopes(source) - complete.scopes - run.failures.keys()
        ledger.drop_scope_notes(run.lease, {*covered, *(scope for scope in others if not is_kept(run, scope))})
        if not run.failures:
            ledger.read_anew(run.lease)
        if not complete.changes_only:
            ledger.clear_quarantine(run.lease)
    if rest:
        _tell_rest(run, unit, complete.documents)


def _disagree(what: str, documents: int | None, held: int) -> str:
    return (
        f"The {what} holds {documents} documents according to this read, and {held} are indexed or set aside. The "
        "next run reads and compares all of it; if this happens again, please report it."
    )


def _was_here(source: str, scope: str, documents: int) -> str:
    return (
        f"Table {scope!r} was indexed before and is not read now (dropped, renamed, or left out of the "
        f"configuration?). Its {documents} documents stay until `citewell forget {source} {scope}`."
    )


def _finish_rest(run: Run, complete: SnapshotComplete, missing: set[str]) -> Unit:
    """Bring in step what is no table's: a folder, whose scopes come and go, as a whole."""
    ledger, lease = run.parts.ledger, run.lease
    unit, run.unit = run.unit, Unit()
    gone = _gone(run, unit)
    unmet = ledger.left_over(lease) if complete.changes_only else ledger.unseen(lease)
    gone |= {d.document_id: d for d in unmet}
    gone |= {d.document_id: d for scope in missing for d in ledger.of_scope(lease.source, scope)}
    gone = {
        i: d for i, d in gone.items() if not is_kept(run, d.scope) and d.scope not in run.done and i not in run.seen
    }
    before = ledger.counts(lease.source)[0]
    if why := _bring_in_step(run, unit, gone, before=before):
        _fail(run, "", _refused(run, "Source", why))
    elif not run.options.dry_run:
        ledger.drop_scope_notes(lease, missing)
    return unit


def _tell_rest(run: Run, unit: Unit, documents: int | None) -> None:
    """The counts of what is no table's. Where it holds other documents than the index, that is an error."""
    ledger, source = run.parts.ledger, run.lease.source
    aside = ledger.quarantined(source)
    known = ledger.known(source, [entry["document_id"] for entry in aside])
    held = ledger.counts(source)[0] + len(aside) - len(known)
    read = held if documents is None else documents
    if read != held and not run.failures and not run.options.dry_run:
        _fail(run, "", SourceError(_disagree("source", read, held)))
        ledger.forget_scopes(run.lease, ledger.scopes(source), [])
    run.report.read += read
    run.report.unchanged += max(read - unit.added - unit.updated - len(aside), 0)


def _gone(run: Run, unit: Unit) -> dict[str, StoredDocument]:
    """Documents that a table said were gone, or that a listing of it did not meet."""
    ledger, lease = run.parts.ledger, run.lease
    gone = {d.document_id: d for listed in unit.listed for d in ledger.unlisted(lease, listed.scope)}
    gone |= ledger.known(lease.source, list(unit.gone))
    return {i: d for i, d in gone.items() if i not in run.seen}


def _refused(run: Run, what: str, why: str) -> MassDeleteRefused:
    source = run.lease.source
    return MassDeleteRefused(
        f"{what} {source!r}: {why}. Nothing of it was deleted. If that is right, run "
        f"`citewell ingest {source} --allow-mass-delete`."
    )


def _bring_in_step(run: Run, unit: Unit, gone: dict[str, StoredDocument], *, before: int) -> str:
    """Delete what is gone, and keep the notes that say so. Returns why not, where that would be too much."""
    ledger, lease = run.parts.ledger, run.lease
    why = refusal(gone, unit, before=before, share=run.parts.mass_delete_share)
    if why and not run.options.allow_mass_delete:
        return why
    remove(run, list(gone.values()))
    if not run.options.dry_run:
        ledger.remove(lease, [document_id for document_id in unit.gone if document_id not in gone])  # only quarantined
        ledger.commit(lease, Changes(checkpoints=unit.deferred))
        ledger.listed(lease, [listed for listed in unit.listed if not is_kept(run, listed.scope)])
    return ""

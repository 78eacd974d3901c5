"""A ledger in memory, for tests: what tests/contract/test_ledger.py asks of the stored one, it does too."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from rag.boundary.secrets import masked
from rag.errors import LeaseLost, SourceBusy
from rag.events import Checkpoint, Listed, Unreadable
from rag.ports import LISTING
from service.store.ledger.ports import Changes, Lease, Moved, ScopeCounts, StoredDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """How a run ended."""

    run: int
    status: str
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aside:
    """What could not be read; since: seconds since 1970."""

    scope: str
    reason: str
    since: float
    seen_run: int


@dataclass(slots=True, kw_only=True)
class _Source:
    """All that is known of a source. holder: the run that holds it, or held it last until it expired."""

    holder: int | None = None
    expired: bool = False
    format: str = ""
    format_since: int | None = None
    generation: str = ""
    documents: dict[str, StoredDocument] = field(default_factory=dict)
    quarantine: dict[str, _Aside] = field(default_factory=dict)
    notes: dict[tuple[str, str], Checkpoint] = field(default_factory=dict)


class MemoryLedger:
    """A `Ledger` (service/store/ledger/ports.py) that is gone with its process; threads may share it.

    before: called with the name of each call that writes ('commit', 'remove' …); what it raises, the call raises.
    finished: runs that have ended, oldest first. moved: all chunks that were said to have moved.
    """

    def __init__(self, *, before: Callable[[str], None] = lambda call: None) -> None:
        self.before = before
        self.finished: list[FinishedRun] = []
        self.moved: list[Moved] = []
        self._sources: dict[str, _Source] = {}
        self._runs = itertools.count(1)
        self._lock = threading.RLock()

    def expire(self, source: str) -> None:
        """End a lease as time does: another run may take the source over, until the holder renews it."""
        self._of(source).expired = True

    @contextmanager
    def lease(self, source: str) -> Iterator[Lease]:
        with self._lock:
            held = self._of(source)
            if held.holder is not None and not held.expired:
                raise SourceBusy(f"Source {source!r} is being ingested by run {held.holder}. Wait for it.")
            lease = Lease(source=source, run=next(self._runs))
            held.holder, held.expired = lease.run, False
        try:
            yield lease
        finally:
            if held.holder == lease.run:
                held.holder = None

    def renew(self, lease: Lease) -> None:
        with self._writing(lease, "renew"):
            pass

    def finish(self, lease: Lease, *, status: str, report: Mapping[str, Any]) -> None:
        self.before("finish")
        self.finished.append(FinishedRun(run=lease.run, status=status, report=json.loads(json.dumps(report))))

    def known(self, source: str, document_ids: Sequence[str]) -> dict[str, StoredDocument]:
        held = self._of(source).documents
        return {document_id: held[document_id] for document_id in document_ids if document_id in held}

    def of_scope(self, source: str, scope: str) -> list[StoredDocument]:
        return [d for d in self._documents(source) if d.scope == scope]

    def pages(self, source: str, *, size: int = 1000) -> Iterator[list[StoredDocument]]:
        documents = self._documents(source)
        for start in range(0, len(documents), size):
            yield documents[start : start + size]

    def scopes(self, source: str) -> set[str]:
        return {d.scope for d in self._documents(source)}

    def counts(self, source: str) -> tuple[int, int]:
        documents = self._documents(source)
        return len(documents), sum(len(d.chunk_ids) for d in documents)

    def counts_of(self, source: str, scope: str) -> ScopeCounts:
        with self._lock:
            held = self._of(source)
            aside = [document_id for document_id, entry in held.quarantine.items() if entry.scope == scope]
            absent = [document_id for document_id in aside if document_id not in held.documents]
            documents = len(self.of_scope(source, scope))
        return ScopeCounts(documents=documents, quarantined=len(aside), absent=len(absent))

    def has_pending(self, source: str) -> bool:
        return any(not d.version for d in self._documents(source))

    def commit(self, lease: Lease, changes: Changes) -> None:
        with self._writing(lease, "commit") as held:
            _begin_listings(held, changes.listings, since=lease.run)
            _put_notes(held, [_listing(scope, lease.run) for scope in changes.resumed])
            changed = [document.document_id for document in changes.changed]
            _drop(held.documents, [*changed, *changes.withdrawn])
            held.documents |= {d.document_id: replace(d, seen_run=lease.run) for d in changes.changed}
            unreadable = [event.document_id for event in changes.unreadable]
            _stamp(held.documents, lease, [*changes.unchanged, *unreadable, *changes.met])
            _stamp(held.quarantine, lease, changes.met)
            _drop(held.quarantine, [*changed, *changes.unchanged])
            for event in changes.unreadable:
                held.quarantine[event.document_id] = _aside(held, lease, event)
            _put_notes(held, changes.checkpoints)
            self.moved += changes.moved
            held.generation = changes.generation or held.generation

    def remove(self, lease: Lease, document_ids: Sequence[str], *, generation: str = "") -> None:
        with self._writing(lease, "remove") as held:
            held.generation = generation or held.generation
            _drop(held.documents, document_ids)
            _drop(held.quarantine, document_ids)

    def forget_scopes(self, lease: Lease, scopes: Iterable[str], lost: Sequence[str]) -> None:
        with self._writing(lease, "forget_scopes") as held:
            for document_id in held.documents.keys() & set(lost):
                held.documents[document_id] = replace(held.documents[document_id], version="", chunk_ids=())
            _begin_listings(held, scopes, since=lease.run)

    def drop_scope_notes(self, lease: Lease, scopes: Iterable[str]) -> None:
        with self._writing(lease, "drop_scope_notes") as held:
            for scope in scopes:
                _drop(held.notes, [key for key in held.notes if key[0] == scope])
                _drop(held.quarantine, [i for i, entry in held.quarantine.items() if entry.scope == scope])

    def notes(self, source: str, *, ignore: bool = False) -> "LedgerNotes":
        return LedgerNotes({} if ignore else self._of(source).notes)

    def listed(self, lease: Lease, listings: Sequence[Listed]) -> None:
        with self._writing(lease, "listed") as held:
            for listing in listings:
                since = _listing_since(held, listing.scope) or lease.run
                stale = [i for i, e in held.quarantine.items() if e.scope == listing.scope and e.seen_run < since]
                _drop(held.quarantine, stale)
                held.notes.pop((listing.scope, LISTING), None)
                if listing.checkpoint is not None:
                    _put_notes(held, [listing.checkpoint])

    def unlisted(self, lease: Lease, scope: str) -> list[StoredDocument]:
        since = _listing_since(self._of(lease.source), scope) or lease.run
        return [d for d in self.of_scope(lease.source, scope) if d.seen_run < since]

    def unseen(self, lease: Lease) -> list[StoredDocument]:
        return [d for d in self._documents(lease.source) if d.seen_run != lease.run]

    def quarantined(self, source: str) -> list[dict[str, Any]]:
        with self._lock:
            found = sorted(self._of(source).quarantine.items())
        return [{"document_id": i, "reason": entry.reason, "since": entry.since} for i, entry in found]

    def quarantined_scopes(self, source: str) -> set[str]:
        with self._lock:
            return {entry.scope for entry in self._of(source).quarantine.values()}

    def clear_quarantine(self, lease: Lease) -> None:
        with self._writing(lease, "clear_quarantine") as held:
            _drop(held.quarantine, [i for i, entry in held.quarantine.items() if entry.seen_run != lease.run])

    def retry(self, source: str) -> None:
        with self._lock:
            self.before("retry")
            _begin_listings(self._of(source), self.quarantined_scopes(source), since=0)

    def format_of(self, source: str) -> str:
        return self._of(source).format

    def start_format(self, lease: Lease, fmt: str) -> None:
        with self._writing(lease, "start_format") as held:
            held.notes.clear()
            held.format, held.format_since = fmt, lease.run

    def left_over(self, lease: Lease) -> list[StoredDocument]:
        since = self._of(lease.source).format_since
        return [d for d in self._documents(lease.source) if since is not None and d.seen_run < since]

    def read_anew(self, lease: Lease) -> None:
        with self._writing(lease, "read_anew") as held:
            held.format_since = None

    def generation(self, source: str) -> str:
        return self._of(source).generation

    def set_generation(self, lease: Lease, generation: str) -> None:
        with self._writing(lease, "set_generation") as held:
            held.generation = generation

    def _of(self, source: str) -> _Source:
        with self._lock:
            return self._sources.setdefault(source, _Source())

    def _documents(self, source: str) -> list[StoredDocument]:
        """By id."""
        with self._lock:
            return [document for _, document in sorted(self._of(source).documents.items())]

    @contextmanager
    def _writing(self, lease: Lease, call: str) -> Iterator[_Source]:
        with self._lock:
            self.before(call)
            held = self._of(lease.source)
            if held.holder != lease.run:
                raise LeaseLost(f"Another run has taken over source {lease.source!r}; this one stops.")
            held.expired = False
            yield held


class LedgerNotes:
    """A source's notes; heads come back as they would from JSON, in which they are stored."""

    def __init__(self, kept: Mapping[tuple[str, str], Checkpoint]) -> None:
        self._kept = kept

    def find(self, *, scope: str | None = None, name: str | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for (kept_scope, kept_name), note in list(self._kept.items()):
            if scope in (None, kept_scope) and name in (None, kept_name):
                yield kept_scope, kept_name, json.loads(json.dumps(note.head))

    def body(self, scope: str, name: str) -> bytes:
        note = self._kept.get((scope, name))
        return note.body if note is not None else b""


def _begin_listings(held: _Source, scopes: Iterable[str], *, since: int) -> None:
    for scope in scopes:
        _drop(held.notes, [key for key in held.notes if key[0] == scope])
        _put_notes(held, [_listing(scope, since)])


def _listing(scope: str, since: int) -> Checkpoint:
    return Checkpoint(scope=scope, name=LISTING, head={"since": since})


def _listing_since(held: _Source, scope: str) -> int | None:
    note = held.notes.get((scope, LISTING))
    return note.head["since"] if note is not None and note.head is not None else None


def _put_notes(held: _Source, notes: Sequence[Checkpoint]) -> None:
    for note in notes:
        held.notes.pop((note.scope, note.name), None)
        if note.head is not None:
            held.notes[note.scope, note.name] = note


def _aside(held: _Source, lease: Lease, event: Unreadable) -> _Aside:
    before = held.quarantine.get(event.document_id)
    since = before.since if before is not None else time.time()
    return _Aside(scope=event.scope, reason=masked(event.reason), since=since, seen_run=lease.run)


def _stamp(entries: dict[str, Any], lease: Lease, document_ids: Iterable[str]) -> None:
    for document_id in entries.keys() & set(document_ids):
        entries[document_id] = replace(entries[document_id], seen_run=lease.run)


def _drop(entries: dict[Any, Any], keys: Iterable[Any]) -> None:
    for key in keys:
        entries.pop(key, None)

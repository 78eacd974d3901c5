"""A source's events in batches, each document with the version of its content."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace

from rag.documents import Document
from rag.errors import SourceError
from rag.events import ScopeComplete, ScopeFailed, SnapshotComplete, SourceEvent, Upsert

FORMAT = 3  # of a document's text and chunks; a change has every source read and compared anew
_BATCH_CHARS = 4_000_000
_BATCH_EVENTS = 2048


def in_batches(events: Iterator[SourceEvent], *, documents: int, max_tokens: int) -> Iterator[list[SourceEvent]]:
    """Events in groups of a bounded number of documents and characters, none over the end of a table.

    Documents get their version. What was read before an error is still given.
    """
    batch: list[SourceEvent] = []
    num_documents = chars = 0
    try:
        for event in events:
            if isinstance(event, Upsert):
                event = _versioned(event, max_tokens)
                num_documents += 1
                chars += len(event.document.text)
            batch.append(event)
            ends = isinstance(event, ScopeComplete | ScopeFailed | SnapshotComplete)
            if ends or num_documents >= documents or chars >= _BATCH_CHARS or len(batch) >= _BATCH_EVENTS:
                yield batch
                batch, num_documents, chars = [], 0, 0
    except SourceError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _versioned(event: Upsert, max_tokens: int) -> Upsert:
    return replace(event, document=replace(event.document, version=version_of(event.document, max_tokens)))


def version_of(document: Document, max_tokens: int) -> str:
    """Hash of all that is stored of a document: when it is the same, nothing needs to be done."""
    content = [
        FORMAT, max_tokens, document.title, document.text, document.uri, document.scope, document.kind,
        document.key_text,
        dict(document.primary_key) if document.primary_key is not None else None, document.tenant, document.acl,
        document.tags,
        dict(document.metadata),
        [(s.start, s.page, s.heading) for s in document.sections],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()[:32]

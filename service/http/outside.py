"""What callers without rights of an operator see: documents by name, and nothing of hosts, paths or other programs."""

from dataclasses import replace
from urllib.parse import quote

from rag.answer.answering import Event, Finished, PassagesFound, Restarted
from rag.documents import Document, Hit, Passage
from rag.errors import CitewellError, for_callers
from rag.types import Answer, Citation
from service.store.keys import Caller


def text_for(caller: Caller | None, err: CitewellError) -> str:
    """An error as a caller is told it."""
    return str(err) if caller is not None and caller.rights.may("admin") else for_callers(err)


def event_for(caller: Caller, event: Event) -> Event:
    """An event of an answer as a caller sees it."""
    if caller.rights.may("admin"):
        return event
    match event:
        case PassagesFound():
            return replace(event, passages=tuple(map(_passage, event.passages)))
        case Restarted():
            return replace(event, reason=event.public)
        case Finished():
            return replace(event, answer=_answer(event.answer))
    return event


def hit_for(caller: Caller, hit: Hit) -> Hit:
    if caller.rights.may("admin"):
        return hit
    return replace(hit, chunk=replace(hit.chunk, document=_document(hit.chunk.document)))


def _answer(answer: Answer) -> Answer:
    return replace(
        answer,
        citations=tuple(map(_citation, answer.citations)),
        passages=tuple(map(_passage, answer.passages)),
        degraded_reason=answer.degraded_public,
    )


def _passage(passage: Passage) -> Passage:
    return replace(passage, document=_document(passage.document))


def _citation(citation: Citation) -> Citation:
    return replace(citation, uri=_uri(citation.source, citation.document_id))


def _document(document: Document) -> Document:
    return replace(document, uri=_uri(document.source, document.id))


def _uri(source: str, document_id: str) -> str:
    return f"citewell:{quote(source, safe='')}/{quote(document_id, safe='/')}"

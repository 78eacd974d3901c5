"""/v1/sources, /v1/quarantine and /v1/config: what operators see of the sources and of the configuration."""

from typing import Annotated, Any

from fastapi import Path, Query
from starlette.exceptions import HTTPException

from rag.boundary.secrets import masked_in
from service.health.status import source_status
from service.http.parts import Parts, Shared, Who
from service.schemas import QuarantineOut, QuarantinePage, SourcesOut
from service.store.keys import Caller

_QUARANTINED = 100
Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of entries of a page")]
Cursor = Annotated[str, Query(max_length=500, description="next_cursor of the page before; empty for the first")]


async def sources(parts: Shared, caller: Who) -> SourcesOut:
    """The sources that the caller may search; with the scope ingest, the state of those that they may read in."""
    operated = parts.catalogue.operated(caller.rights) if caller.rights.may("ingest") else []
    seen = {*operated, *parts.catalogue.visible(caller.rights)}
    configured = {name: source for name, source in parts.catalogue.sources.items() if name in seen}

    def look(name: str) -> dict[str, Any]:
        return _status(parts, name) if name in operated else {"name": name, "kind": configured[name].kind}

    return SourcesOut(sources=await parts.state_threads.run(lambda: [look(name) for name in configured]))


async def source(source: Annotated[str, Path(max_length=255)], parts: Shared, caller: Who) -> dict[str, Any]:
    """One source: documents, tables, how changes are found, last and next run."""
    _operated(parts, caller, source)
    return await parts.state_threads.run(_status, parts, source)


async def quarantine(
    parts: Shared,
    caller: Who,
    source: Annotated[str, Query(max_length=255, description="Only of this source")] = "",
    cursor: Cursor = "",
    limit: Limit = 50,
) -> QuarantinePage:
    """Documents that could not be read, with the reason. A job with `retry` reads them again."""
    if source:
        _operated(parts, caller, source)
    names = [source] if source else sorted(parts.catalogue.operated(caller.rights))
    after = _after(cursor)
    found = await parts.state_threads.run(parts.overview.quarantine_page, names, after=after, limit=limit + 1)
    rows = [QuarantineOut(**row) for row in found[:limit]]
    following = f"{rows[-1].source}\n{rows[-1].document_id}" if len(found) > limit else None
    return QuarantinePage(documents=rows, next_cursor=following)


async def config(parts: Shared, caller: Who) -> dict[str, Any]:
    """The configuration as it holds, secrets masked."""
    found: dict[str, Any] = masked_in(parts.settings.model_dump(mode="json"))
    return found


def _status(parts: Parts, name: str) -> dict[str, Any]:
    """A source's state; of its quarantine the beginning, which /v1/quarantine has by pages."""
    found = source_status(parts.overview, parts.catalogue.sources, name)
    return found | {"quarantined": len(found["quarantine"]), "quarantine": found["quarantine"][:_QUARANTINED]}


def _operated(parts: Parts, caller: Caller, name: str) -> None:
    if name not in parts.catalogue.operated(caller.rights):
        raise HTTPException(404, f"There is no source {name!r}.")


def _after(cursor: str) -> tuple[str, str] | None:
    source, _, document = cursor.partition("\n")
    return (source, document) if cursor else None

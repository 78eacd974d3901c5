"""What the routes share, and how they get at it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from service.health.checks import Checks
from service.http.access.access import Authenticator
from service.http.access.limits import Admission, Limits
from service.http.edge import Drain, Exchange, exchange_of
from service.knowledge_base import KnowledgeBase
from service.settings.sources import FilesSettings, SqlSettings
from service.store.keys import Caller, Rights
from service.syncing.background.job_runner import JobRunner
from service.threads import Threads


@dataclass(slots=True, kw_only=True)
class Parts:
    """One worker's parts. runner: None where no jobs can be run."""

    kb: KnowledgeBase
    authenticator: Authenticator
    limits: Limits
    admission: Admission
    readiness: Callable[[], Awaitable[dict[str, Any]]]
    checks: Checks
    runner: JobRunner | None = None
    drain: Drain = field(default_factory=Drain)
    state_threads: Threads = field(default_factory=lambda: Threads("state", 8))  # what routes ask of the state store


# Asynchronous, so that FastAPI takes no thread for them.


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


async def _exchange(request: Request) -> Exchange:
    return exchange_of(request.scope)


async def _caller(request: Request) -> Caller:
    caller = exchange_of(request.scope).caller
    if caller is None:
        raise LookupError("a public route asked who calls")
    return caller


Shared = Annotated[Parts, Depends(_parts)]
Who = Annotated[Caller, Depends(_caller)]
Under = Annotated[Exchange, Depends(_exchange)]


def visible_sources(kb: KnowledgeBase, caller: Caller) -> list[str]:
    """Configured sources that a caller may know of: theirs by key, and with documents for their tenant."""
    return [
        name
        for name, source in kb.settings.sources.items()
        if (not caller.rights.sources or name in caller.rights.sources)
        and (not source.tenants or caller.rights.tenant in source.tenants)
    ]


def operated_sources(kb: KnowledgeBase, caller: Caller) -> list[str]:
    """Configured sources that a caller may read in, and see the state of.

    With the scope admin all, unless the key names some. Else those of the caller's tenant alone; one that several
    tenants share only where the key names it.
    """
    return [
        name
        for name, source in kb.settings.sources.items()
        if (not caller.rights.sources or name in caller.rights.sources)
        and (caller.rights.may("admin") or _is_theirs(name, source, caller.rights))
    ]


def _is_theirs(name: str, source: SqlSettings | FilesSettings, rights: Rights) -> bool:
    tenants = set(source.tenants)  # none where each row names its own
    return tenants == {rights.tenant} or (name in rights.sources and (not tenants or rights.tenant in tenants))

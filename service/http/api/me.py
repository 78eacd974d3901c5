"""/v1/me: what the caller may do, and how they may ask."""

import asyncio
from contextlib import suppress

from rag.prompt.profiles import PROFILES
from service.http.api.ask import profile_of
from service.http.parts import Parts, Shared, Who
from service.schemas import AskingOut, CallerOut
from service.store.keys import Caller

_WINDOW_S = 0.5  # an engine that does not say its context within it is taken as long enough


async def me(parts: Shared, caller: Who) -> CallerOut:
    """Who the key belongs to, and what it may do."""
    closed = await parts.authenticator.is_closed()
    rights = caller.rights
    return CallerOut(
        name=caller.name,
        tenant=rights.tenant,
        groups=list(rights.groups),
        scopes=list(rights.scopes),
        sources=parts.catalogue.visible(caller.rights) if rights.scopes else [],
        profiles=list(rights.profiles),
        authenticated=closed,
        asking=await _asking(parts, caller),
    )


async def _asking(parts: Parts, caller: Caller) -> AskingOut:
    generator, window = parts.generator, None
    if generator is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_WINDOW_S):
                window = await generator.window_tokens()
    fit = {name: tokens for name, tokens in PROFILES.items() if window is None or tokens <= window}
    allowed = {name: fit[name] for name in caller.rights.profiles or PROFILES if name in fit}
    llm = parts.settings.llm
    return AskingOut(
        profiles=allowed,
        profile=profile_of(parts, caller, ""),
        max_tokens=llm.max_tokens,
        temperature=llm.temperature,
        top_p=llm.top_p,
        writes=generator is not None,
        max_question_chars=parts.settings.retrieval.max_question_chars,
        keep_conversations_s=llm.keep_conversations,
    )

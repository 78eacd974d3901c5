"""How a caller is known."""

import hashlib
import time
from collections import OrderedDict
from typing import Literal

from starlette.exceptions import HTTPException

from service.http.access.oidc import Oidc
from service.settings.sections import Settings
from service.store.keys import RIGHTS, Caller, Keys, Right, Rights
from service.threads import Threads

_KEPT_S = 1.0  # how long a key is taken as it was read: one that is revoked still answers for as long
_KEPT = 10_000
_THREADS = 2

Access = Literal["public", "known", "ask", "ingest", "admin"]  # known: by any key, whatever its rights


class Authenticator:
    """Knows callers by API key or by a token of an OpenID Connect provider.

    Until a first key is made or a provider is configured, everybody is the configured identity with every right;
    `citewell serve` then listens on this machine only.
    """

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._keys = keys
        self._oidc = Oidc(settings.auth.oidc) if settings.auth.oidc is not None else None
        identity = settings.identity
        rights = Rights(scopes=RIGHTS, tenant=identity.tenant, groups=identity.groups)
        self._anybody = Caller(name="anybody", rights=rights)
        self._closed = self._oidc is not None
        self._looked = -_KEPT_S
        self._threads = Threads("keys", _THREADS)
        self._known: OrderedDict[str, tuple[float, Caller | None]] = OrderedDict()

    async def is_closed(self) -> bool:
        """Whether a request needs a key or a token; looked up at most once a second, and closed for good once so."""
        if not self._closed and time.monotonic() - self._looked >= _KEPT_S:
            self._closed = await self._threads.run(self._keys.any)
            self._looked = time.monotonic()
        return self._closed

    async def caller(self, authorization: str, needs: Right | None = None) -> Caller:
        """The caller, who has the right if one is needed. Raises HTTPException: 401 if unknown, 403 without it."""
        if not await self.is_closed():
            return self._anybody
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise _unknown("Send an API key as `Authorization: Bearer KEY`; `citewell keys create` creates one.")
        caller = await self._caller_of(token.strip())
        if caller is None:
            raise _unknown("The key or token is unknown, expired or revoked.", error="invalid_token")
        if needs is not None and not caller.rights.may(needs):
            raise HTTPException(403, f"This needs the scope {needs!r}; the key has: {', '.join(caller.rights.scopes)}.")
        return caller

    async def _caller_of(self, token: str) -> Caller | None:
        if not token.startswith("cwk_"):
            return await self._oidc.caller(token) if self._oidc is not None else None
        name = hashlib.sha256(token.encode()).hexdigest()
        looked, caller = self._known.get(name, (-_KEPT_S, None))
        if time.monotonic() - looked >= _KEPT_S:
            key = await self._threads.run(self._keys.find, token)
            valid = key is not None and key.is_valid
            caller = Caller(name=key.id, rights=key.rights, subject=key.id) if key is not None and valid else None
            self._known[name] = (time.monotonic(), caller)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return caller


def _unknown(detail: str, *, error: str = "") -> HTTPException:
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return HTTPException(401, detail, headers={"WWW-Authenticate": challenge})

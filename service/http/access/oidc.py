"""Bearer tokens of an OpenID Connect provider, checked by PyJWT."""

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import jwt
from starlette.exceptions import HTTPException

from service.settings.sections import OidcSettings
from service.store.keys import RIGHTS, Caller, Rights
from service.threads import Threads

_TIMEOUT_S = 5.0
_MOST_BYTES = 1 << 20
_KEPT_S = 300.0
_EARLY_S = 150.0  # when keys are fetched again, beside the requests: nobody waits while the provider answers
_REST_S = 30.0  # between two fetches, whatever came of the first

_Keys = Mapping[str, jwt.PyJWK]


class Oidc:
    """Takes tokens of one issuer, for one audience, signed with one of the configured algorithms.

    All of it runs in threads of its own, so that callers with another kind of key never wait for the provider. Who
    sends tokens with made-up key ids makes no more than one fetch in 30 s, also while those fail.
    """

    def __init__(self, settings: OidcSettings, *, get: Callable[[str], Any] | None = None) -> None:
        """get: gives the JSON document at a URL, and raises where it cannot; over the network when left out."""
        self._settings, self._get = settings, get or _get
        self._threads = Threads("tokens", 2)
        self._fetching = ThreadPoolExecutor(1, thread_name_prefix="citewell-token-keys")
        self._keys: _Keys = {}
        self._fetched = self._tried = -math.inf
        self._fetch: Future[_Keys] | None = None

    async def caller(self, token: str) -> Caller | None:
        """The token's user; None when it is not valid. Raises HTTPException (503) when the provider does not answer."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            return None
        if header.get("alg") not in self._settings.algorithms or not isinstance(header.get("kid"), str):
            return None
        key = await self._key(header["kid"])
        if key is None:
            return None
        claims = await self._threads.run(self._claims, token, key)
        if claims is None:
            return None
        tenant = self._settings.tenant or claims.get(self._settings.tenant_claim)
        if not isinstance(tenant, str) or not tenant:
            return None  # a user of no tenant sees nothing
        subject = str(claims["sub"])
        rights = Rights(
            scopes=self._scopes(claims), tenant=tenant, groups=_texts(claims.get(self._settings.groups_claim))
        )
        return Caller(name=f"oidc:{subject}", rights=rights, subject=f"{self._settings.issuer}|{subject}")

    async def _key(self, kid: str) -> jwt.PyJWK | None:
        """The provider's key of an id; None where it has none. Raises HTTPException (503) when it cannot be known."""
        age_s = time.monotonic() - self._fetched
        if kid in self._keys and age_s < _KEPT_S:
            if age_s > _EARLY_S:
                self._start_fetch()
            return self._keys[kid]
        self._start_fetch()
        if self._fetch is not None:
            await asyncio.wait([asyncio.wrap_future(self._fetch)], timeout=_TIMEOUT_S)
        if time.monotonic() - self._fetched < _KEPT_S:
            return self._keys.get(kid)
        wait_s = max(1, math.ceil(self._tried + _REST_S - time.monotonic()))
        raise HTTPException(503, "The identity provider does not respond.", headers={"Retry-After": str(wait_s)})

    def _start_fetch(self) -> None:
        """Fetch the keys in a thread, unless that was done a moment ago or is under way."""
        is_under_way = self._fetch is not None and not self._fetch.done()
        if is_under_way or time.monotonic() - self._tried < _REST_S:
            return
        self._tried = time.monotonic()
        self._fetch = self._fetching.submit(self._fetched_keys)

    def _fetched_keys(self) -> _Keys:
        try:
            document = self._get(self._settings.jwks_url or self._discovered())
            keys = {
                key.key_id: key for key in jwt.PyJWKSet.from_dict(document).keys if key.public_key_use in ("sig", None)
            }
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            jwt.PyJWTError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ):
            return self._keys
        self._keys = {kid: key for kid, key in keys.items() if kid is not None}
        self._fetched = time.monotonic()
        return self._keys

    def _discovered(self) -> str:
        return str(self._get(f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")["jwks_uri"])

    def _claims(self, token: str, key: jwt.PyJWK) -> Mapping[str, Any] | None:
        s = self._settings
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(s.algorithms),
                audience=s.audience,
                issuer=s.issuer,
                leeway=s.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except Exception:  # noqa: BLE001 whatever a claim breaks (exp = 1e400, say), the token is not valid
            return None
        return claims

    def _scopes(self, claims: Mapping[str, Any]) -> tuple[Any, ...]:
        named = _texts(claims.get(self._settings.scope_claim))
        return tuple(right for right in RIGHTS if f"{self._settings.scope_prefix}{right}" in named)


def _get(url: str) -> Any:
    """A document in JSON. Nothing is followed elsewhere, and neither its size nor its slowness holds us for long."""
    until, parts = time.monotonic() + _TIMEOUT_S, list[bytes]()
    with httpx.stream("GET", url, timeout=_TIMEOUT_S, follow_redirects=False) as response:
        response.raise_for_status()
        for part in response.iter_bytes(65_536):
            parts.append(part)
            if len(parts) * 65_536 > _MOST_BYTES or time.monotonic() > until:
                raise ValueError("the provider's document is too large, or takes too long")
    return json.loads(b"".join(parts))


def _texts(value: Any) -> tuple[str, ...]:
    """A claim that is a list, or words in one text."""
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(str(each) for each in value) if isinstance(value, list) else ()

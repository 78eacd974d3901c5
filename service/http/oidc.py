"""Bearer tokens of an OpenID Connect provider, checked by PyJWT."""

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt
from starlette.exceptions import HTTPException

from service.keys import RIGHTS, Caller, Rights
from service.settings import OidcSettings

_TIMEOUT_S = 5.0


class Oidc:
    """Takes tokens of one issuer, for one audience, signed with one of the configured algorithms."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._jwks: jwt.PyJWKClient | None = None
        self._retry_at = 0.0

    async def caller(self, token: str) -> Caller | None:
        """The token's user; None when it is not valid. Raises HTTPException (503) when the provider does not answer."""
        claims = await asyncio.to_thread(self._claims, token)
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

    def _claims(self, token: str) -> Mapping[str, Any] | None:
        s = self._settings
        try:
            if jwt.get_unverified_header(token).get("alg") not in s.algorithms:
                return None
            key = self._keys().get_signing_key_from_jwt(token)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(s.algorithms),
                audience=s.audience,
                issuer=s.issuer,
                leeway=s.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWKClientConnectionError, httpx.HTTPError, json.JSONDecodeError) as err:
            raise HTTPException(503, "The identity provider does not answer.", headers={"Retry-After": "5"}) from err
        except (jwt.PyJWTError, ValueError, KeyError):
            return None
        return claims

    def _keys(self) -> jwt.PyJWKClient:
        """The provider's keys; its unknown ones are looked up again at most every 30 s."""
        with self._lock:
            if self._jwks is None:
                if time.monotonic() < self._retry_at:
                    raise httpx.ConnectError("asked a moment ago")
                self._retry_at = time.monotonic() + 1.0
                self._jwks = jwt.PyJWKClient(self._settings.jwks_url or self._discovered(), timeout=_TIMEOUT_S)
            return self._jwks

    def _discovered(self) -> str:
        url = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        return str(httpx.get(url, timeout=_TIMEOUT_S).raise_for_status().json()["jwks_uri"])

    def _scopes(self, claims: Mapping[str, Any]) -> tuple[Any, ...]:
        named = _texts(claims.get(self._settings.scope_claim))
        return tuple(right for right in RIGHTS if f"{self._settings.scope_prefix}{right}" in named)


def _texts(value: Any) -> tuple[str, ...]:
    """A claim that is a list, or words in one text."""
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(str(each) for each in value) if isinstance(value, list) else ()

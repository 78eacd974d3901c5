"""The web page's sign-in: the key goes into a cookie that no script can read."""

from fastapi import Request
from fastapi.responses import Response

from service.http.access.credentials import COOKIE
from service.http.parts import Shared
from service.schemas import SessionBody

_KEPT_S = 12 * 3600


async def sign_in(body: SessionBody, request: Request, response: Response, parts: Shared) -> None:
    """Keep a key in a cookie for 12 hours, if it is known. For the web page; programs send their key themselves."""
    await parts.authenticator.caller(f"Bearer {body.key}")
    response.set_cookie(
        COOKIE, body.key, max_age=_KEPT_S, httponly=True, samesite="strict", secure=_is_encrypted(request)
    )


async def sign_out(request: Request, response: Response) -> None:
    """Remove the cookie. The key itself stays valid until it ends or is revoked."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=_is_encrypted(request))


def _is_encrypted(request: Request) -> bool:
    """Whether the browser speaks HTTPS, to us or to a proxy before us; then the cookie never leaves without."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))

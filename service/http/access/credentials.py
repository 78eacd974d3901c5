"""What a request says of its caller: a header of its own, or the page's cookie."""

from fastapi import Request

COOKIE = "citewell_key"
_PAGE = "x-citewell-page"  # a header that no other site's page can send, so that the cookie is of no use to it


def credentials(request: Request) -> str:
    """What a request says of its caller, as an Authorization header; a cookie counts with the page's header only."""
    cookie = request.cookies.get(COOKIE) if _PAGE in request.headers else None
    return request.headers.get("authorization") or (f"Bearer {cookie}" if cookie else "")

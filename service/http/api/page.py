"""The web page's files, served from memory, compressed, and kept by browsers until they change."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

_WEB = Path(__file__).parents[2] / "web"
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}
# No script but the page's own files, none made from text (Trusted Types), nothing from elsewhere.
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    packed: bytes
    media_type: str
    etag: str


class Page:
    """The files have their common version in their path; the page that names them is asked for again each time."""

    def __init__(self) -> None:
        files = {path.relative_to(_WEB).as_posix(): path for path in sorted(_WEB.rglob("*")) if path.is_file()}
        contents = {name: path.read_bytes() for name, path in files.items()}
        self._version = hashlib.sha256(b"\0".join(contents.values())).hexdigest()[:12]
        for name in ("index.html", "docs.html"):
            contents[name] = contents[name].replace(b"{version}", self._version.encode())
        self._files = {name: _file(name, content) for name, content in contents.items()}

    async def index(self, request: Request) -> Response:
        return _response(request, self._files["index.html"], "no-cache")

    async def docs(self, request: Request) -> Response:
        return _response(request, self._files["docs.html"], "no-cache")

    async def file(self, request: Request, version: str, file: str) -> Response:
        """A file; not to be kept under another version, as a page of before an update asks for it."""
        found = self._files.get(file)
        if found is None:
            raise HTTPException(404, "The web page has no such file.")
        return _response(request, found, _FOR_EVER if version == self._version else "no-cache")


def _file(name: str, content: bytes) -> _File:
    media_type = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    packed = gzip.compress(content, mtime=0)
    return _File(content, packed, media_type, hashlib.sha256(content).hexdigest()[:16])


def _response(request: Request, file: _File, cache: str) -> Response:
    packed = "gzip" in request.headers.get("accept-encoding", "")
    etag = f'"{file.etag}-gz"' if packed else f'"{file.etag}"'
    headers = {**_HEADERS, "Cache-Control": cache, "ETag": etag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(file.packed if packed else file.content, media_type=file.media_type, headers=headers)

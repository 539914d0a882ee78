"""The page for microphone and uploads: the files of the folder `page`, as they are, for browsers.

They load nothing from elsewhere, and the policy that is sent with them forbids it: a text that was recognized, the name
of a file or an answer of the server can never become code.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Of the files that are sent; others in the folder are not."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src blob:; connect-src {connect}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")


@dataclass(frozen=True)
class _File:
    data: bytes
    type: str
    etag: str


def routes() -> list[BaseRoute]:
    """The page at `/`, its parts below `/page/`. Files are read once, and only these names exist."""
    files = {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}

    async def index(request: Request) -> Response:
        return _answer(request, files[INDEX])

    async def part(request: Request) -> Response:
        file = files.get(request.path_params["name"])
        return Response(status_code=404) if file is None else _answer(request, file)

    return [Route("/", index), Route("/page/{name}", part)]


def _read(path: Path) -> _File:
    data = path.read_bytes()
    return _File(data, TYPES[path.suffix], f'"{hashlib.sha256(data).hexdigest()[:32]}"')


def _answer(request: Request, file: _File) -> Response:
    headers = {**HEADERS, "ETag": file.etag, "Content-Security-Policy": _policy(request.headers.get("host", ""))}
    if file.etag in re.findall(r'"[^"]*"', request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return Response(file.data, headers=headers, media_type=file.type)


def _policy(host: str) -> str:
    """The Content-Security-Policy. In older browsers 'self' does not include WebSockets, so they are named."""
    connect = "'self'" + (f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else "")
    return POLICY.format(connect=connect)

"""`/` and `/console/…`: the console, a page and its files. They hold no data; what it shows it asks the API for."""

from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from runlane.errors import NotFound

from .console_files import Console, ConsoleFile, own_console

#: Nothing inline, nothing from elsewhere, and no way for a script to turn text into markup.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "vary": "Accept-Encoding",
}
_ASK_AGAIN = "no-cache"
_FOR_EVER = "public, max-age=31536000, immutable"


class ConsoleDoor:
    """Both open: who has no key yet needs the page to enter one."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = own_console() if console is None else console

    def routes(self) -> APIRouter:
        router = APIRouter()
        add = partial(router.add_api_route, methods=["GET"], response_class=Response, include_in_schema=False)
        add("/", self.page)
        add("/console/{digest}/{name}", self.file)
        add("/console/{digest}/{folder}/{name}", self.file_in)
        return router

    async def page(self, request: Request) -> Response:
        """The page, which names the other files by the digest of this version."""
        return _sent(request, self._console.page, _ASK_AGAIN)

    async def file_in(self, request: Request, digest: str, folder: str, name: str) -> Response:
        """A file of a folder."""
        return await self.file(request, digest, f"{folder}/{name}")

    async def file(self, request: Request, digest: str, name: str) -> Response:
        """A file. Of another version than this gateway's, while gateways are replaced, it may not be kept."""
        found = self._console.files.get(name)
        if found is None:
            raise NotFound("There is nothing here.")
        return _sent(request, found, _FOR_EVER if digest == self._console.digest else _ASK_AGAIN)


def _sent(request: Request, file: ConsoleFile, caching: str) -> Response:
    headers = {**_HEADERS, "etag": file.etag, "cache-control": caching}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.body, headers=headers, media_type=file.type)
    return Response(file.compressed, headers={**headers, "content-encoding": "gzip"}, media_type=file.type)

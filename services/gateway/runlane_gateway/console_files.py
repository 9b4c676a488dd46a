"""The console's files as the gateway holds them: read, made compact and compressed once, named by a digest of them all.

Used by `console_door`. The page names every other file below `/console/{digest}/`, so those may be kept for ever.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from msgspec import Struct

from .console_compact import compact_script, compact_sheet

FOLDER = Path(__file__).parent / "console"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"
_FIRST_PAGES = ("pages/sign-in.js", "pages/workflows.js", "parts/provider.js")


class ConsoleFile(Struct, frozen=True):
    """One file, plain and compressed. `etag` is of the plain one."""

    type: str
    body: bytes
    compressed: bytes
    etag: str


class Console(Struct, frozen=True):
    """`page` is what `/` answers, `files` the rest by path; `digest` names all of them together."""

    digest: str
    page: ConsoleFile
    files: dict[str, ConsoleFile]

    @property
    def base(self) -> str:
        return f"/console/{self.digest}/"


@cache
def own_console() -> Console:
    """The console of this package: made once in a process, however many gateways are in it."""
    return read_console()


def read_console(folder: Path = FOLDER) -> Console:
    """Raises `FileNotFoundError` for a folder without its page."""
    bodies = {
        path.relative_to(folder).as_posix(): _compact(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in _TYPES and path.is_file()
    }
    index = bodies.pop(_INDEX, None)
    if index is None:
        raise FileNotFoundError(f"{folder / _INDEX}")
    told = {name: hashlib.sha256(body).hexdigest() for name, body in bodies.items()}
    digest = hashlib.sha256(json.dumps(told).encode() + index).hexdigest()[:16]
    page = index.replace(b"{base}", f"/console/{digest}/".encode()).replace(b"{preloads}", _preloads(digest, bodies))
    return Console(digest, _file(_INDEX, page), {name: _file(name, body) for name, body in bodies.items()})


def _compact(path: Path) -> bytes:
    made = {".js": compact_script, ".css": compact_sheet}.get(path.suffix)
    return made(path.read_text("utf-8")).encode() if made else path.read_bytes()


def _preloads(digest: str, names: Iterable[str]) -> bytes:
    """What the first page needs, asked for at once instead of one import after the other."""
    first = [name for name in names if name.endswith(".js") and _is_first(name)]
    return "\n".join(f'<link rel="modulepreload" href="/console/{digest}/{name}">' for name in first).encode()


def _is_first(name: str) -> bool:
    return name.startswith("core/") or name in ("app.js", "pages/index.js", *_FIRST_PAGES)


def _file(name: str, body: bytes) -> ConsoleFile:
    compressed = gzip.compress(body, 9, mtime=0)
    return ConsoleFile(_TYPES[Path(name).suffix], body, compressed, f'"{hashlib.sha256(body).hexdigest()[:24]}"')
